from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Find what waits by its sender's key alone."""

    dependencies = [
        ('metering', '0013_archived_month'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='quarantinedevent',
            index=models.Index(fields=['identifier'], name='quarantined_event_identifier'),
        ),
    ]
