from django.db import migrations, models


class Migration(migrations.Migration):
    """More reasons of notes, and notes that a person requests."""

    dependencies = [
        ('invoicing', '0026_billing_hold'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='creditnote',
            options={'ordering': ['-id'], 'permissions': [('issue_creditnote', 'Can issue a credit note'), ('issue_large_creditnote', "Can issue a credit note above the policy's limit")]},
        ),
        migrations.AlterField(
            model_name='creditnote',
            name='reason',
            field=models.CharField(choices=[('billing_error', 'Billing Error'), ('duplicate', 'Duplicate'), ('cancel_future', 'Cancel Future'), ('service_failure', 'Service Failure'), ('goodwill', 'Goodwill'), ('price_concession', 'Price Concession'), ('fraudulent', 'Fraudulent'), ('order_change', 'Order Change'), ('product_unsatisfactory', 'Product Unsatisfactory')], max_length=24),
        ),
        migrations.AlterField(
            model_name='proposedcreditnote',
            name='cause',
            field=models.CharField(choices=[('overcharge', 'Overcharge'), ('requested', 'Requested'), ('late_usage', 'Late Usage')], max_length=12),
        ),
    ]
