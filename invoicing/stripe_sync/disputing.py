"""Take disputes as Stripe has them now: opened when money was withdrawn, then won or lost."""

from datetime import UTC, datetime

from django.db import transaction

from billing_project.kernel.models import User
from invoicing.models import Verdict
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.receipts import record_fee
from invoicing.stripe_sync.calls import Misfit
from invoicing.stripe_sync.collecting import METHOD, attempt_of_intent
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import from_stripe
from metering.services.customers import lock_customer


@transaction.atomic
def take_dispute(*, dispute: Json, by: User, at: datetime) -> str:
    """Record a dispute as far as it went; say what came of it.

    An inquiry moves no money, so that nothing happened yet.

    Raises:
        Misfit: it is in another currency than the payment.
    """
    attempt = attempt_of_intent(dispute.get("payment_intent") or "")
    if attempt is None:
        return "of no payment here"
    moves = dispute["balance_transactions"]
    if not moves:
        return "an inquiry: no money moved"
    if dispute["currency"] != attempt.currency.lower():
        raise Misfit(f"{dispute['id']} is in {dispute['currency']}, not in {attempt.currency}")
    lock_customer(attempt.invoice.customer_id)
    opened = record_dispute(
        invoice=attempt.invoice, amount_minor=from_stripe(dispute["amount"], attempt.currency),
        reason=dispute["reason"][:40], method=METHOD, reference=dispute["id"],
        opened_at=min(datetime.fromtimestamp(dispute["created"], UTC), at), by=by, at=at,
    )  # fmt: skip
    for move in moves:
        settled_in = move["currency"].upper()
        record_fee(
            source=opened, amount_minor=max(0, from_stripe(move["fee"], settled_in)),
            currency=settled_in, charged_at=min(datetime.fromtimestamp(move["created"], UTC), at),
            reference=move["id"], by=by, at=at,
        )  # fmt: skip
    if dispute["status"] in Verdict.values:
        record_dispute_outcome(
            dispute=opened, verdict=dispute["status"], decided_at=at, by=by, at=at
        )
    return f"dispute {dispute['status']}"
