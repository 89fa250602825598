from pathlib import Path

from django.db import migrations

from billing_project.kernel.guards import append_only, facts_with_state, needs_approved, needs_proposed

LEDGER = (Path(__file__).parent / "sql" / "ledger.sql").read_text()

# A range of one number stands for the customer: GiST compares ranges without any extension.
NO_OVERLAP = (
    "ALTER TABLE billing_period ADD CONSTRAINT billing_period_no_overlap EXCLUDE USING gist"
    " (int8range(customer_id, customer_id, '[]') WITH &&, tstzrange(start_at, end_at) WITH &&)"
)


class Migration(migrations.Migration):
    """Rates, rated usage and the credit ledger under guard."""

    dependencies = [("credits", "0001_initial"), ("kernel", "0002_guards")]
    operations = [
        facts_with_state("pricing_unit", "name"),
        facts_with_state("rate_card", "name"),
        append_only("rate_card_version"),
        append_only("rate"),
        needs_proposed("rate", "version_id", "rate_card_version"),
        append_only("credit_policy"),
        append_only("billing_period"),
        migrations.RunSQL(NO_OVERLAP, "ALTER TABLE billing_period DROP CONSTRAINT billing_period_no_overlap"),
        append_only("rated_usage"),
        needs_approved("rated_usage", "rate_card_version_id", "rate_card_version"),
        append_only("ledger_transaction"),
        needs_approved("ledger_transaction", "credit_policy_id", "credit_policy"),
        facts_with_state("credit_grant", "remaining"),
        migrations.RunSQL(
            LEDGER,
            'DROP TRIGGER follow_ledger ON ledger_transaction; DROP TRIGGER only_ledger_moves ON credit_grant; DROP FUNCTION credit_grant_follow_ledger, credit_grant_only_ledger_moves',
        ),
    ]
