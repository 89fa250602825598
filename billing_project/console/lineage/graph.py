"""The lineage graph as plain data: facts of the chain, and which came out of which."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class NodeType(StrEnum):
    """A kind of fact, named as its table; `overage` is rated usage that no grant took."""

    METER_EVENT = "meter_event"
    METER_EVENT_ADJUSTMENT = "meter_event_adjustment"
    USAGE_WINDOW = "usage_window"
    RATED_USAGE = "rated_usage"
    CREDIT_GRANT = "credit_grant"
    LEDGER_TRANSACTION = "ledger_transaction"
    OVERAGE = "overage"
    INVOICE_LINE = "invoice_line"
    CREDIT_NOTE = "credit_note"
    PAYMENT = "payment"
    REVENUE_SCHEDULE = "revenue_schedule"
    JOURNAL_ENTRY = "journal_entry"


# Who answers for the step that made such a fact.
OWNERS = {
    NodeType.METER_EVENT: "engineering",
    NodeType.METER_EVENT_ADJUSTMENT: "engineering",
    NodeType.USAGE_WINDOW: "engineering",
    NodeType.RATED_USAGE: "product",
    NodeType.CREDIT_GRANT: "product",
    NodeType.LEDGER_TRANSACTION: "product",
    NodeType.OVERAGE: "product",
    NodeType.INVOICE_LINE: "finance",
    NodeType.CREDIT_NOTE: "finance",
    NodeType.PAYMENT: "finance",
    NodeType.REVENUE_SCHEDULE: "finance",
    NodeType.JOURNAL_ENTRY: "finance",
}

_MONEY = {type_ for type_ in OWNERS if OWNERS[type_] == "finance"}


@dataclass(frozen=True, order=True)
class Ref:
    """Which fact: its kind and its id."""

    type: NodeType
    pk: int

    def __str__(self) -> str:
        return f"{self.type}:{self.pk}"


@dataclass(frozen=True)
class Node:
    """One fact as a reader wants to see it; `amount` is in `unit` (tokens, credits, a currency)."""

    ref: Ref
    label: str
    amount: Decimal
    unit: str
    at: datetime
    policy_version: str = ""  # Of the approved rule that made it.

    @property
    def is_money(self) -> bool:
        """Money is written with all of its currency's decimals."""
        return self.ref.type in _MONEY

    @property
    def owner(self) -> str:
        """Who answers for the step that made it."""
        return OWNERS[self.ref.type]


@dataclass(frozen=True, order=True)
class Edge:
    """`target` came out of `source`."""

    source: Ref
    target: Ref
    label: str


@dataclass(frozen=True)
class Lineage:
    """Facts in the order of the chain; `is_truncated` if a kind had more than the limit."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_truncated: bool

    def of(self, *types: NodeType) -> list[Node]:
        """List the nodes of some kinds."""
        return [node for node in self.nodes if node.ref.type in types]


def admit(found: Iterable[Ref], known: set[Ref], limit: int) -> tuple[set[Ref], bool]:
    """Let facts in, lowest id first, until a kind has `limit` of them.

    Args:
        found: Facts of one kind that a step led to; those known already stay.
        known: Facts of that kind that are in the graph.
        limit: Most facts of the kind, >= 1.

    Returns:
        All facts that are in now, and whether some were left out.
    """
    new = sorted(set(found) - known)
    room = max(limit - len(known), 0)
    return known | set(new[:room]), len(new) > room
