from django.db import migrations

from billing_project.kernel.guards import append_only, facts_with_state


class Migration(migrations.Migration):
    """What Stripe was asked for and told us is kept; only states move."""

    dependencies = [("invoicing", "0018_stripe_calls")]
    operations = [
        append_only("stripe_event"),
        facts_with_state("stripe_customer", "payment_method", "payment_method_at"),
        facts_with_state(
            "stripe_call", "state", "attempt_count", "first_sent_at", "next_at", "stripe_id",
            "error_code", "error", "finished_at",
        ),
        facts_with_state(
            "payment_attempt", "state", "failure_code", "closed_at", "retry_at", "told_at"
        ),
        facts_with_state("stripe_difference", "here", "there", "last_seen_at", "resolved_at"),
    ]  # fmt: skip
