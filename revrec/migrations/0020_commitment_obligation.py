from django.db import migrations, models


class Migration(migrations.Migration):
    """Promises of commitments that are paid ahead."""

    dependencies = [
        ('revrec', '0019_loss_estimate'),
    ]

    operations = [
        migrations.AlterField(
            model_name='performanceobligation',
            name='kind',
            field=models.CharField(choices=[('fee', 'Fee'), ('credits', 'Credits'), ('overage', 'Overage'), ('arrears', 'Arrears'), ('outcome', 'Outcome'), ('commitment', 'Commitment'), ('shortfall', 'Shortfall')], max_length=12),
        ),
    ]
