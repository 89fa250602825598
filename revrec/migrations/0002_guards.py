from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, facts_with_state

JOURNAL = (Path(__file__).parent / "sql" / "journal.sql").read_text()


class Migration(migrations.Migration):
    """The general ledger under guard."""

    dependencies = [("revrec", "0001_initial"), ("kernel", "0002_guards")]
    operations = [
        append_only("journal_entry"),
        append_only("posting"),
        append_only("entry_source"),
        append_only("revenue_schedule"),
        append_only("revenue_schedule_line"),
        facts_with_state("performance_obligation", "grant_id", "price_minor", "recognised_minor"),
        facts_with_state("accounting_period", "status", "closed_at", "closed_by_id", "trial_balance", "trial_balance_sha256"),
        facts_with_state("ledger_account", "name"),
        migrations.RunSQL(
            JOURNAL,
            'DROP TRIGGER open_period ON journal_entry; DROP TRIGGER with_entry ON posting; DROP TRIGGER balanced ON journal_entry; DROP TRIGGER close_once ON accounting_period; DROP TRIGGER open_in_order ON accounting_period; DROP FUNCTION journal_entry_open_period, posting_with_entry, journal_entry_balanced, accounting_period_close_once, accounting_period_open_in_order',
        ),
    ]
