from pathlib import Path

from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """A meter may be inactive for a span; one that nobody read meanwhile may go on without a gap."""

    dependencies = [("metering", "0018_store_plain_events")]
    operations = [
        migrations.AddField(
            model_name="meterversion",
            name="is_active",
            field=models.BooleanField(default=True),
        ),
        migrations.RemoveConstraint(
            model_name="meterversion", name="meter_version_withdrawn_before_effect"
        ),
        migrations.AddConstraint(
            model_name="meterversion",
            constraint=models.CheckConstraint(
                condition=Q(
                    withdrawn_at__isnull=True, withdrawn_by__isnull=True, withdrawal_reason=""
                )
                | (
                    Q(effective_at__isnull=False, withdrawn_at__isnull=False)
                    & (Q(withdrawn_at__lt=F("effective_at")) | Q(is_active=False))
                    & Q(withdrawn_by__isnull=False)
                    & ~Q(withdrawal_reason="")
                ),
                name="meter_version_withdrawn_before_effect",
            ),
        ),
        migrations.AddConstraint(
            model_name="meterversion",
            constraint=models.CheckConstraint(
                condition=Q(is_active=True) | Q(number__gt=1), name="meter_version_first_is_active"
            ),
        ),
        migrations.RunSQL(
            (SQL / "inactive_meter_version.sql").read_text(),
            (SQL / "meter_version_back.sql").read_text()
            + "DROP FUNCTION meter_deactivation_was_idle",
        ),
    ]
