from django.db import migrations

from billing_project.kernel.guards import joins_own_change, own_search_path


class Migration(migrations.Migration):
    """Rules of invoicing join their own change; guards find their tables whoever calls."""

    dependencies = [("invoicing", "0005_proposed_credit_note"), ("kernel", "0009_own_search_path")]
    operations = [
        joins_own_change("plan_version", "plan"),
        joins_own_change("proposed_credit_note", "credit_note"),
        own_search_path(
            "invoice_keep_issued",
            "invoice_line_keep_issued",
            "line_usage_keep_issued",
            "invoice_follow_payment",
            "invoice_follow_credit_note",
            "invoice_line_follow_credit_note",
            "credit_note_lines_sum",
            "invoice_lines_sum",
            "credit_note_number",
            "number_series_used",
        ),
    ]
