from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

OWN_CHANGE = (Path(__file__).parent / "sql" / "own_change.sql").read_text()


class Migration(migrations.Migration):
    """Guards find their tables where the project keeps them; versions join their own change."""

    dependencies = [("kernel", "0008_step_owner")]
    operations = [
        migrations.RunSQL(OWN_CHANGE, "DROP FUNCTION kernel_require_own_change"),
        own_search_path(
            "kernel_require_approved",
            "kernel_require_proposed",
            "kernel_require_own_change",
            "policy_holds",
            "policy_approval_check",
            "policy_change_decide_once",
            "step_owner_check",
        ),
    ]
