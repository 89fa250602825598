from pathlib import Path

from django.db import migrations, models

from billing_project.kernel.guards import ROW, own_search_path

CUT = (Path(__file__).parent / "sql" / "period_cut.sql").read_text()
ONLY_ENDS = [
    f"DROP TRIGGER {ROW} ON billing_period",
    f"CREATE TRIGGER {ROW} BEFORE UPDATE OR DELETE ON billing_period FOR EACH ROW"
    " EXECUTE FUNCTION kernel_refuse_other_changes('end_at', 'uncut_end_at')",
    f"ALTER TABLE billing_period ENABLE ALWAYS TRIGGER {ROW}",
]
NOTHING = [
    f"DROP TRIGGER {ROW} ON billing_period",
    f"CREATE TRIGGER {ROW} BEFORE UPDATE OR DELETE ON billing_period FOR EACH ROW"
    " EXECUTE FUNCTION kernel_refuse_change()",
    f"ALTER TABLE billing_period ENABLE ALWAYS TRIGGER {ROW}",
]


class Migration(migrations.Migration):
    """Billing periods may be cut where other terms begin."""

    dependencies = [("credits", "0014_spend_control_guards")]
    operations = [
        migrations.AddField(
            model_name="billingperiod",
            name="uncut_end_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="billingperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(("uncut_end_at__isnull", True), ("uncut_end_at__gt", models.F("end_at")), _connector="OR"),
                name="billing_period_cut_is_shorter",
            ),
        ),
        migrations.RunSQL(ONLY_ENDS, NOTHING),
        migrations.RunSQL(CUT, "DROP TRIGGER cut_fits ON billing_period; DROP FUNCTION billing_period_cut"),
        own_search_path("billing_period_cut"),
    ]
