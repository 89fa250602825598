from django.db import migrations, models


class Migration(migrations.Migration):
    """What lost disputes and write-offs take of what was delivered; balances shown once paid."""

    dependencies = [
        ('revrec', '0028_breakage_of_commitments'),
    ]

    operations = [
        migrations.AddField(
            model_name='recognitionpolicy',
            name='bad_debt',
            field=models.CharField(choices=[('expense', 'an expense'), ('concession', 'a concession')], db_default='expense', default='expense', max_length=10),
        ),
        migrations.AddField(
            model_name='recognitionpolicy',
            name='dispute_loss',
            field=models.CharField(choices=[('by_reason', 'by its reason'), ('concession', 'a concession'), ('impairment', 'an impairment')], db_default='by_reason', default='by_reason', max_length=10),
        ),
        migrations.AlterField(
            model_name='recognitionpolicy',
            name='presentation',
            field=models.CharField(choices=[('finalise', 'with the invoice'), ('due', 'once due or paid'), ('paid', 'once paid')], max_length=8),
        ),
        migrations.AddConstraint(
            model_name='recognitionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('bad_debt__in', ['expense', 'concession']), ('dispute_loss__in', ['by_reason', 'concession', 'impairment'])), name='recognition_policy_losses'),
        ),
    ]
