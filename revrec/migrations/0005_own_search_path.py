from django.db import migrations

from billing_project.kernel.guards import own_search_path


class Migration(migrations.Migration):
    """Guards of the books find their tables whoever calls."""

    dependencies = [("revrec", "0004_books_mark"), ("kernel", "0009_own_search_path")]
    operations = [
        own_search_path(
            "journal_entry_open_period",
            "posting_with_entry",
            "journal_entry_balanced",
            "accounting_period_close_once",
            "accounting_period_open_in_order",
        ),
    ]
