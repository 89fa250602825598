from django.db import migrations

from billing_project.kernel.guards import joins_own_change, own_search_path


class Migration(migrations.Migration):
    """Rules of metering join their own change; guards find their tables whoever calls."""

    dependencies = [("metering", "0019_inactive_meter_version"), ("kernel", "0009_own_search_path")]
    operations = [
        joins_own_change("late_event_policy", "late_events"),
        joins_own_change("backfill_proposal", "backfill"),
        joins_own_change("window_repair", "window_repair"),
        own_search_path(
            "meter_version_in_order",
            "meter_event_ensure_partition",
            "meter_deactivation_was_idle",
            "meter_event_refuse_archived",
        ),
    ]
