from django.db import migrations, models

_STATE = "'acknowledged_at', 'acknowledged_by_id', 'note'"
# What was raised before anybody was told by mail is not told now.
_TOLD = "UPDATE alert SET told_at = raised_at"


def _keeping(columns):
    return [
        "DROP TRIGGER keep_rows ON alert",
        "CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON alert FOR EACH ROW"
        f" EXECUTE FUNCTION kernel_refuse_other_changes({columns})",
        "ALTER TABLE alert ENABLE ALWAYS TRIGGER keep_rows",
    ]


class Migration(migrations.Migration):
    """When people were told of an alert by mail."""

    dependencies = [("credits", "0017_hold_credits")]
    operations = [
        migrations.AddField(
            model_name="alert",
            name="told_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(_keeping(f"{_STATE}, 'told_at'"), _keeping(_STATE)),
        migrations.RunSQL(_TOLD, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("told_at", None)), fields=["id"], name="alert_untold"
            ),
        ),
    ]
