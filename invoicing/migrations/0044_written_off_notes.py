from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import own_search_path

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    """Notes on claims that were written off."""

    dependencies = [("invoicing", "0043_draft_rejection")]
    operations = [
        migrations.RunSQL(
            (SQL / "written_off_notes.sql").read_text(),
            (SQL / "written_off_notes_back.sql").read_text(),
        ),
        own_search_path("invoice_follow_credit_note", "credit_note_follow_void"),
    ]
