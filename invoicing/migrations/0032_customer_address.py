import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only

class Migration(migrations.Migration):
    """Customers' postal addresses, for what is issued from then on."""

    dependencies = [
        ('invoicing', '0031_note_void'),
        ('metering', '0027_late_events_are_finances'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CustomerAddress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('address', models.TextField(blank=True)),
                ('recorded_at', models.DateTimeField()),
                ('customer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='metering.customer')),
                ('recorded_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'customer addresses',
                'db_table': 'customer_address',
                'ordering': ['-id'],
                'permissions': [('record_customeraddress', "Can record a customer's postal address")],
            },
        ),
        append_only("customer_address"),
    ]
