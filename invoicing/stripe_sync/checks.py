"""Checks of the books: what was asked of Stripe is settled, and what it collected is recorded."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q, Sum

from billing_project.kernel import clock
from billing_project.kernel.books import Finding, check
from billing_project.kernel.money import Money
from invoicing.models import (
    MIRRORED,
    AttemptState,
    Overpayment,
    Payment,
    PaymentAttempt,
    StripeCall,
)
from invoicing.stripe_sync.calls import OPEN
from invoicing.stripe_sync.collecting import METHOD

_PATIENCE = timedelta(days=2)  # A key lives for one; then what it made is looked for.


@check("What was asked of Stripe is settled within two days")
def calls_are_settled() -> Iterator[Finding]:
    """Find calls of which nobody knows yet whether they were done."""
    late = StripeCall.objects.filter(state__in=OPEN, created_at__lt=clock.now() - _PATIENCE)
    late = late.exclude(kind__in=MIRRORED)  # It moves no money, and may be switched off.
    for call in late.order_by("id"):
        yield Finding(f"stripe_call:{call.pk}", f"{call} is {call.state}: {call.error_code}")


@check("What Stripe collected is recorded once: as payments, or as the customer's balance")
def collections_are_recorded() -> Iterator[Finding]:
    """Compare each attempt that succeeded with the money that was recorded by its name."""
    paid, over = (_sums(model) for model in (Payment, Overpayment))
    attempts = PaymentAttempt.objects.filter(state=AttemptState.SUCCEEDED).select_related("call")
    known = {attempt.call.stripe_id: attempt for attempt in attempts.order_by("id")}
    for reference, attempt in known.items():
        recorded = paid.get(reference, 0) + over.get(reference, 0)
        if recorded != attempt.amount_minor:
            wanted, found = (Money(m, attempt.currency) for m in (attempt.amount_minor, recorded))
            yield Finding(f"payment_attempt:{attempt.pk}", f"collected {wanted}, recorded {found}")
    for reference in sorted({*paid, *over} - known.keys()):
        yield Finding(f"payment:{reference}", "is of no attempt that Stripe carried out")


def _sums(model: type[Payment] | type[Overpayment]) -> dict[str, int]:
    rows = model.objects.filter(Q(method=METHOD)).order_by().values_list("reference")
    return dict(rows.annotate(total=Sum("amount_minor")))
