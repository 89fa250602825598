from django.db import migrations, models


class Migration(migrations.Migration):
    """Count quickly what waits in quarantine of each customer."""

    dependencies = [
        ('metering', '0029_quarantine_try'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='quarantinedevent',
            index=models.Index(condition=models.Q(('state', 'open')), fields=['customer_external_id', 'received_at'], name='quarantined_event_waiting'),
        ),
    ]
