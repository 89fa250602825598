from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, facts_with_state, needs_approved

DOCUMENTS = (Path(__file__).parent / "sql" / "documents.sql").read_text()


class Migration(migrations.Migration):
    """Documents under guard: issued invoices, payments and credit notes keep their facts."""

    dependencies = [("invoicing", "0001_initial"), ("kernel", "0002_guards")]
    operations = [
        append_only("plan_version"),
        needs_approved("subscription", "plan_version_id", "plan_version"),
        facts_with_state("subscription", "ends_at"),
        append_only("payment"),
        append_only("credit_note"),
        append_only("credit_note_line"),
        migrations.RunSQL(
            DOCUMENTS,
            'DROP TRIGGER keep_rows ON invoice; DROP TRIGGER keep_table ON invoice; DROP TRIGGER keep_rows ON invoice_line; DROP TRIGGER keep_table ON invoice_line; DROP TRIGGER keep_issued_from_more ON line_usage; DROP TRIGGER keep_issued_from_less ON line_usage; DROP TRIGGER keep_rows ON line_usage; DROP TRIGGER keep_table ON line_usage; DROP TRIGGER follow_payment ON payment; DROP TRIGGER follow_credit_note ON credit_note; DROP TRIGGER follow_credit_note_line ON credit_note_line; DROP TRIGGER lines_sum ON credit_note; DROP TRIGGER lines_sum ON credit_note_line; DROP TRIGGER lines_sum ON invoice; DROP TRIGGER keep_rows ON number_series; DROP TRIGGER keep_table ON number_series; DROP TRIGGER take_number ON credit_note; DROP TRIGGER number_used ON number_series; DROP FUNCTION invoice_keep_issued, invoice_line_keep_issued, line_usage_keep_issued, invoice_follow_payment, invoice_follow_credit_note, invoice_line_follow_credit_note, credit_note_lines_sum, invoice_lines_sum, number_series_step, credit_note_number, number_series_used',
        ),
    ]
