from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state

_STATE = (
    "state", "read_bytes", "byte_offset", "line_count", "accepted_count", "repeated_count",
    "refused_count", "step", "done_count", "total_count", "attempt_count", "not_before", "fault",
    "updated_at", "finished_at",
)
_BEFORE = facts_with_state("backfill_run", *_STATE)


class Migration(migrations.Migration):
    """Let the worker preview a backfill and keep what it found with the run."""

    dependencies = [("metering", "0023_own_search_path")]

    operations = [
        migrations.AddField(
            model_name="backfillrun",
            name="effect",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="backfillrun",
            name="kind",
            field=models.CharField(
                choices=[
                    ("upload", "Upload"),
                    ("preview", "Preview"),
                    ("submit", "Submit"),
                    ("apply", "Apply"),
                    ("revert", "Revert"),
                ],
                max_length=10,
            ),
        ),
        migrations.RunSQL(sql=_BEFORE.reverse_sql, reverse_sql=_BEFORE.sql),
        facts_with_state("backfill_run", *_STATE, "effect"),
    ]
