"""The lineage graph as plain data: facts of the chain, and which came out of which."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from billing_project.kernel.models import ChainStep


class NodeType(StrEnum):
    """A kind of fact, named as its table; `overage` is rated usage that no grant took."""

    METER_EVENT = "meter_event"
    METER_EVENT_ADJUSTMENT = "meter_event_adjustment"
    USAGE_WINDOW = "usage_window"
    RATED_USAGE = "rated_usage"
    CREDIT_GRANT = "credit_grant"
    LEDGER_TRANSACTION = "ledger_transaction"
    OVERAGE = "overage"
    OUTCOME = "outcome"
    INVOICE_LINE = "invoice_line"
    CREDIT_NOTE = "credit_note"
    CREDIT_NOTE_VOID = "credit_note_void"
    INVOICE_VOID = "invoice_void"
    WRITE_OFF = "write_off"
    PAYMENT = "payment"
    SHORT_PAYMENT = "short_payment"
    BALANCE_APPLICATION = "balance_application"
    REFUND = "refund"
    REFUND_FAILURE = "refund_failure"
    REVENUE_SCHEDULE = "revenue_schedule"
    JOURNAL_ENTRY = "journal_entry"
    ACCOUNTING_PERIOD = "accounting_period"
    LEDGER_SEAL = "ledger_seal"


# The step of the chain that made such a fact.
STEPS = {
    NodeType.METER_EVENT: ChainStep.CAPTURE,
    NodeType.METER_EVENT_ADJUSTMENT: ChainStep.CAPTURE,
    NodeType.USAGE_WINDOW: ChainStep.AGGREGATE,
    NodeType.RATED_USAGE: ChainStep.RATE,
    NodeType.CREDIT_GRANT: ChainStep.DRAW_DOWN,
    NodeType.LEDGER_TRANSACTION: ChainStep.DRAW_DOWN,
    NodeType.OVERAGE: ChainStep.DRAW_DOWN,
    NodeType.OUTCOME: ChainStep.INVOICE,
    NodeType.INVOICE_LINE: ChainStep.INVOICE,
    NodeType.CREDIT_NOTE: ChainStep.INVOICE,
    NodeType.CREDIT_NOTE_VOID: ChainStep.INVOICE,
    NodeType.INVOICE_VOID: ChainStep.INVOICE,
    NodeType.WRITE_OFF: ChainStep.INVOICE,
    NodeType.PAYMENT: ChainStep.INVOICE,
    NodeType.SHORT_PAYMENT: ChainStep.INVOICE,
    NodeType.BALANCE_APPLICATION: ChainStep.INVOICE,
    NodeType.REFUND: ChainStep.INVOICE,
    NodeType.REFUND_FAILURE: ChainStep.INVOICE,
    NodeType.REVENUE_SCHEDULE: ChainStep.RECOGNISE,
    NodeType.JOURNAL_ENTRY: ChainStep.RECOGNISE,
    NodeType.ACCOUNTING_PERIOD: ChainStep.RECOGNISE,
    NodeType.LEDGER_SEAL: ChainStep.RECOGNISE,
}

_IN_MONEY = (ChainStep.INVOICE, ChainStep.RECOGNISE)


class Ref(NamedTuple):
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
    why: str = ""  # Why a drawdown took its grant and not another.

    @property
    def is_money(self) -> bool:
        """Money is written with all of its currency's decimals."""
        return self.step in _IN_MONEY

    @property
    def step(self) -> ChainStep:
        """The step that made it; `kernel.ownership` knows who answers for it."""
        return STEPS[self.ref.type]


class Edge(NamedTuple):
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
