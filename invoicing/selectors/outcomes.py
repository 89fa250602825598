"""Outcomes: what was reported, and what of it waits to be billed."""

from django.db.models import Count, Exists, OuterRef, QuerySet

from billing_project.kernel.errors import NotFound
from billing_project.kernel.money import Money
from credits.models import BillingPeriod
from invoicing.lines import Line, outcome_line
from invoicing.models import LineOutcome, Outcome, OutcomeState


def outcomes(
    customer_external_id: str | None = None, state: str | None = None
) -> QuerySet[Outcome]:
    """List outcomes, newest first."""
    found = Outcome.objects.select_related("customer", "item__plan_version__plan")
    if customer_external_id is not None:
        found = found.filter(customer__external_id=customer_external_id)
    if state is not None:
        found = found.filter(state=state)
    return found.order_by("-id")


def find_outcome(pk: int) -> Outcome:
    """Return one outcome.

    Raises:
        NotFound: there is none of that id.
    """
    outcome = outcomes().filter(pk=pk).first()
    if outcome is None:
        raise NotFound(f"no outcome has the id {pk}")
    return outcome


def billable_outcomes() -> QuerySet[Outcome]:
    """List accepted outcomes that stand behind no line."""
    billed = LineOutcome.objects.filter(outcome=OuterRef("pk"), is_void=False)
    return Outcome.objects.filter(~Exists(billed), state=OutcomeState.ACCEPTED)


def outcome_lines(billing_period: BillingPeriod, currency: str) -> list[Line]:
    """Return the lines that claim a period's accepted outcomes, by item."""
    rows = (
        billable_outcomes()
        .filter(billing_period=billing_period)
        .values_list("item__position", "item__code", "item__name", "item__amount_minor")
        .annotate(count=Count("pk"))
        .order_by("item__position")
    )
    return [
        outcome_line(code, name, Money(price_minor, currency), count)
        for _, code, name, price_minor, count in rows
    ]
