from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Four eyes for what explains a difference; explanations of before stay as they were given."""

    dependencies = [
        ('invoicing', '0049_opening_ends'),
    ]

    operations = [
        migrations.RunSQL(
            (SQL / "opening_explained_by_another.sql").read_text(),
            "DROP FUNCTION opening_explanation_is_anothers()",
        ),
        own_search_path("opening_explanation_is_anothers"),
        migrations.RunSQL(
            [
                "CREATE TRIGGER explained_by_another BEFORE INSERT ON opening_explanation"
                " FOR EACH ROW EXECUTE FUNCTION opening_explanation_is_anothers()",
                "ALTER TABLE opening_explanation ENABLE ALWAYS TRIGGER explained_by_another",
            ],
            "DROP TRIGGER explained_by_another ON opening_explanation",
        ),
    ]
