from pathlib import Path

import django.db.models.functions.comparison
from django.db import migrations, models

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Webhooks that were sent long ago may be forgotten."""

    dependencies = [
        ('kernel', '0014_user_time_zone'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(django.db.models.functions.comparison.Coalesce('delivered_at', 'given_up_at'), condition=models.Q(('next_try_at__isnull', True)), name='webhook_delivery_ended'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('body', ''), _negated=True), fields=['at'], name='webhook_event_remembered'),
        ),
        migrations.RunSQL(
            (SQL / "forgotten_webhooks.sql").read_text(),
            (SQL / "forgotten_webhooks_back.sql").read_text(),
        ),
        own_search_path("webhook_event_keep", "webhook_delivery_keep_waiting"),
    ]
