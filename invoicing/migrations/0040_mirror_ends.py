from django.db import migrations, models


class Migration(migrations.Migration):
    """What is told of ends; a revision again where Stripe surely never heard of it."""

    dependencies = [
        ('invoicing', '0039_parked_events'),
        ('metering', '0028_customer_locale'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='mirroredusage',
            name='mirrored_usage_once',
        ),
        migrations.AlterField(
            model_name='stripecall',
            name='kind',
            field=models.CharField(choices=[('customer', 'Customer'), ('setup', 'Setup'), ('payment', 'Payment'), ('refund', 'Refund'), ('meter', 'Meter'), ('usage', 'Usage'), ('grant', 'Grant'), ('copy', 'Copy'), ('copy_lines', 'Copy Lines'), ('note', 'Note'), ('end', 'End')], max_length=10),
        ),
        migrations.AddIndex(
            model_name='mirroredusage',
            index=models.Index(fields=['window', 'revision'], name='mirrored_usage_window'),
        ),
    ]
