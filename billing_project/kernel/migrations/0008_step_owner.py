from pathlib import Path

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import append_only

CHECK = (Path(__file__).parent / "sql" / "step_owner.sql").read_text()
STEPS = ["capture", "aggregate", "rate", "draw_down", "invoice", "recognise"]
FUNCTIONS = ["product", "engineering", "finance"]


class Migration(migrations.Migration):
    """A named person answers for each step of the chain, for each function."""

    dependencies = [("kernel", "0007_approval_guards")]
    operations = [
        migrations.CreateModel(
            name="StepOwner",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "step",
                    models.CharField(
                        choices=[
                            ("capture", "Capture"),
                            ("aggregate", "Aggregate"),
                            ("rate", "Rate"),
                            ("draw_down", "Draw down"),
                            ("invoice", "Invoice"),
                            ("recognise", "Recognise"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "function",
                    models.CharField(
                        choices=[
                            ("product", "Product"),
                            ("engineering", "Engineering"),
                            ("finance", "Finance"),
                        ],
                        max_length=12,
                    ),
                ),
                ("since_at", models.DateTimeField()),
                ("reason", models.TextField()),
                ("named_at", models.DateTimeField()),
                (
                    "named_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "step_owner",
                "ordering": ["-id"],
                "permissions": [("name_stepowner", "Can name who answers for a step")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("step__in", STEPS)), name="step_owner_step_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("function__in", FUNCTIONS)),
                        name="step_owner_function_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason__regex", r"^\s*$"), _negated=True),
                        name="step_owner_has_reason",
                    ),
                ],
            },
        ),
        append_only("step_owner"),
        migrations.RunSQL(CHECK, "DROP FUNCTION step_owner_check"),
        migrations.RunSQL(
            [
                "CREATE TRIGGER active_person BEFORE INSERT ON step_owner FOR EACH ROW"
                " EXECUTE FUNCTION step_owner_check()",
                "ALTER TABLE step_owner ENABLE ALWAYS TRIGGER active_person",
            ],
            "DROP TRIGGER active_person ON step_owner",
        ),
    ]
