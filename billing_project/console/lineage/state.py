"""How far along the chain an event is."""

from enum import StrEnum

from billing_project.console.lineage.graph import Lineage, NodeType


class EventState(StrEnum):
    """The furthest step that an event reached."""

    QUARANTINED = "quarantined"
    RECEIVED = "received"
    AGGREGATED = "aggregated"
    RATED = "rated"
    INVOICED = "invoiced"
    RECOGNISED = "recognised"
    CANCELLED = "cancelled"


_EARNED_BY = {NodeType.LEDGER_TRANSACTION, NodeType.OVERAGE}


def state_of(lineage: Lineage, *, is_cancelled: bool) -> EventState:
    """Read an event's state off its lineage; `cancelled` wins over every step.

    Recognised is what a journal entry took to revenue for the drawdown or the overage itself; an
    entry of the invoice alone makes a claim, no revenue.
    """
    if is_cancelled:
        return EventState.CANCELLED
    types = {node.ref.type for node in lineage.nodes}
    if any(
        edge.target.type == NodeType.JOURNAL_ENTRY and edge.source.type in _EARNED_BY
        for edge in lineage.edges
    ):
        return EventState.RECOGNISED
    if NodeType.INVOICE_LINE in types:
        return EventState.INVOICED
    if NodeType.RATED_USAGE in types:
        return EventState.RATED
    return EventState.AGGREGATED if NodeType.USAGE_WINDOW in types else EventState.RECEIVED
