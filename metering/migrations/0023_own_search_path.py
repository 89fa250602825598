from django.db import migrations

from billing_project.kernel.guards import own_search_path


class Migration(migrations.Migration):
    """What stores events, and what moves their partitions, finds the project's own tables only."""

    dependencies = [("metering", "0022_invoiced_span"), ("kernel", "0009_own_search_path")]
    operations = [
        own_search_path(
            "meter_event_store_plain",
            "meter_event_open_plain_batch",
            "meter_event_attach_partition",
            "meter_event_detach_partition",
            "meter_event_drop_detached",
        ),
    ]
