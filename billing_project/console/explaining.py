"""Why is this not billed? Metering's steps of an event, and what credits, invoicing and revenue
made of it; the answer that people and the API get for any identifier.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from billing_project.console.lineage import Lineage, Node, NodeType, Ref, trace
from billing_project.console.lineage.state import EventState, state_of
from billing_project.kernel.backoffice.display import moment_text, number_text
from credits.models import BillingPeriod, RatedUsage
from credits.selectors import why_unrated
from invoicing.models import Invoice, InvoiceStatus, LineKind, LineUsage
from invoicing.services.closing import is_usage_closed
from metering.selectors.explaining import (
    Explanation,
    Progress,
    Step,
    customers_of,
    explain_event,
)

PRODUCT, FINANCE = "product", "finance"
_CLOSING = {"covered", "overage", "invoiced"}  # Steps that say how it was billed.


def explain(customer: str, identifier: str, at: datetime) -> Explanation:
    """Say step by step what became of an event, and whether it is billed.

    Raises:
        NotFound: nothing was ever kept under this identifier.
    """
    found = explain_event(customer, identifier)
    if not found.goes_on or found.event is None:
        return found
    lineage = trace([Ref(NodeType.METER_EVENT, found.event.pk)])
    state = state_of(lineage, is_cancelled=False)
    priced = tuple(_priced(found, lineage, at))
    closing = "; ".join(step.text for step in priced if step.name in _CLOSING)
    return replace(found, steps=(*found.steps, *priced), state=state, closing=closing)


def explain_all(identifier: str, at: datetime) -> list[Explanation]:
    """Explain every event that goes by an identifier, whoever sent it.

    An event that was kept under an unknown id and stored once that id was mapped is one event.
    """
    told = [explain(customer, identifier, at) for customer in customers_of(identifier)]
    return list({one.event.pk if one.event else one.customer: one for one in told}.values())


def _priced(found: Explanation, lineage: Lineage, at: datetime) -> Iterator[Step]:
    ids = [node.ref.pk for node in lineage.of(NodeType.RATED_USAGE)]
    rated = list(
        RatedUsage.objects.filter(pk__in=ids)
        .select_related("billing_period__customer", "rate_card_version__rate_card__pricing_unit")
        .order_by("id")
    )
    assert found.event is not None, "what is priced is stored"
    reasons = why_unrated(found.event.customer_id, found.windows)
    if reasons:
        text = f"its usage has no charge: {'; '.join(reasons)}"
        yield Step("rated", Progress.WAITING, text, PRODUCT, None, found.windows[0])
    if not rated:
        return
    yield _rated(rated)
    yield _covered(rated, lineage)
    yield from _claimed(_that_counted(found, rated), lineage, at)
    yield _recognised(lineage)


def _that_counted(found: Explanation, rated: list[RatedUsage]) -> list[RatedUsage]:
    """Choose of each window the charge that first had the event in it, rated after it was counted.

    An hour that was invoiced before a late event of it came has a claimed charge and one that is
    not; only the latter is the event's.
    """
    counted_at = next(step.at for step in found.steps if step.name == "aggregated")
    chosen: dict[int, RatedUsage] = {}
    for row in rated:  # Ascending: the last one stands in where none was rated since.
        before = chosen.get(row.window_id)
        if before is None or (counted_at is not None and before.rated_at < counted_at):
            chosen[row.window_id] = row
    return list(chosen.values())


def _rated(rated: list[RatedUsage]) -> Step:
    charge = sum((row.charge for row in rated), Decimal(0))
    version = rated[-1].rate_card_version
    text = (
        f"the usage of its hour was charged {number_text(charge)}"
        f" {version.rate_card.pricing_unit.code} by {version}"
    )
    return Step("rated", Progress.DONE, text, PRODUCT, rated[-1].rated_at, rated[-1])


def _covered(rated: list[RatedUsage], lineage: Lineage) -> Step:
    drawn = sum((row.drawn for row in rated), Decimal(0))
    overage = sum((row.overage for row in rated), Decimal(0))
    unit = rated[-1].rate_card_version.rate_card.pricing_unit.code
    parts = []
    if drawn:
        grants = _labels(lineage.of(NodeType.CREDIT_GRANT))
        parts.append(f"{number_text(drawn)} {unit} drawn from {grants or 'grants'}")
    if overage:
        parts.append(f"{number_text(overage)} {unit} of overage, which no grant covered")
    said = " and ".join(parts)
    text = f"{said}, with all usage of its hour" if said else "the charge is zero"
    return Step("overage" if overage else "covered", Progress.DONE, text, PRODUCT, None, rated[-1])


def _claimed(rated: list[RatedUsage], lineage: Lineage, at: datetime) -> Iterator[Step]:
    """Tell on which invoice the overage is, or will be; credits are invoiced when they are sold."""
    if not sum((row.overage for row in rated), Decimal(0)):
        text = "paid by credits: nothing of it is to be invoiced"
        yield Step("invoiced", Progress.DONE, text, FINANCE)
        return
    claiming = _lines_of(rated)
    lines = [node for node in lineage.of(NodeType.INVOICE_LINE) if node.ref.pk in claiming]
    if lines:
        amounts = ", ".join(f"{n.label} ({n.amount:,f} {n.unit})" for n in lines)
        yield Step("invoiced", Progress.DONE, f"on {amounts}", FINANCE, lines[-1].at)
        return
    yield _awaits_invoice(rated, at)


def _lines_of(rated: list[RatedUsage]) -> set[int]:
    usage = LineUsage.objects.filter(rated_usage__in=rated, is_void=False)
    return set(usage.values_list("line_id", flat=True))


def _awaits_invoice(rated: list[RatedUsage], at: datetime) -> Step:
    period: BillingPeriod = rated[-1].billing_period
    draft = _draft_of(rated)
    until = f"the period {period}"
    if draft is not None:
        text = f"it is on {draft}, which is issued after {moment_text(draft.ready_at)}"
        return Step("invoiced", Progress.WAITING, text, FINANCE, draft.created_at, draft)
    if at < period.end_at:
        text = f"{until} is still open; its overage will be on the invoice that follows"
    elif is_usage_closed(period):
        text = f"{until} was invoiced before this was known; a further invoice will claim it"
    else:
        text = f"{until} has ended and its overage is not drafted yet"
    return Step("invoiced", Progress.WAITING, text, FINANCE, period.end_at, period)


def _draft_of(rated: Iterable[RatedUsage]) -> Invoice | None:
    usage = LineUsage.objects.filter(
        rated_usage__in=list(rated),
        kind=LineKind.OVERAGE,
        line__invoice__status=InvoiceStatus.DRAFT,
    )
    row = usage.select_related("line__invoice").first()
    return row.line.invoice if row else None


def _recognised(lineage: Lineage) -> Step:
    entries = lineage.of(NodeType.JOURNAL_ENTRY)
    if state_of(lineage, is_cancelled=False) == EventState.RECOGNISED:
        text = f"accounted for by {_labels(entries)}"
        return Step("recognised", Progress.DONE, text, FINANCE, entries[-1].at)
    text = "no journal entry: credits that nobody paid for earn no revenue, or it is to come"
    return Step("recognised", Progress.SKIPPED, text, FINANCE)


def _labels(nodes: list[Node], most: int = 3) -> str:
    named = ", ".join(node.label for node in nodes[:most])
    return f"{named} and {len(nodes) - most} more" if len(nodes) > most else named
