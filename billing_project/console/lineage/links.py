"""How the facts of one step lead to those of the next; each link is one relation of two ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from billing_project.console.lineage.events import (
    adjustments_of_windows,
    events_of_windows,
    windows_of_adjustments,
    windows_of_events,
)
from billing_project.console.lineage.graph import NodeType
from billing_project.console.lineage.pairs import CLOCK_SLACK, Follow, Pair, Times

# A draft is rebuilt until it is issued: its lines are no facts yet.
_ISSUED_USAGE = (
    "SELECT u.rated_usage_id, u.line_id, u.kind FROM line_usage u"
    " JOIN invoice_line l ON l.id = u.line_id"
    " JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'"
)


@dataclass(frozen=True)
class Link:
    """`after` finds the targets of sources, `before` the sources of targets; both in one query."""

    source: NodeType
    target: NodeType
    after: Follow
    before: Follow


def _relation(source: NodeType, target: NodeType, pairs: str) -> Link:
    """Make a link of a query that yields (source, target, label)."""

    def follow(column: str) -> Follow:
        query = (
            f"SELECT DISTINCT source, target, label FROM ({pairs}) AS pairs"  # noqa: S608 - constants
            f" WHERE {column} = ANY(%s) ORDER BY source, target LIMIT %s"
        )
        return lambda ids, most, times: _rows(query, [list(ids), most])

    return Link(source, target, follow("source"), follow("target"))


def _entries(source: NodeType, source_type: str) -> Link:
    """Make the link from a kind of fact to the journal entries that account for it."""
    return _relation(
        source,
        NodeType.JOURNAL_ENTRY,
        "SELECT source_id AS source, entry_id AS target, role AS label FROM entry_source"  # noqa: S608
        f" WHERE source_type = '{source_type}' AND entry_id IS NOT NULL",
    )


def _rows(query: str, params: list[Any]) -> list[Pair]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return [Pair(*row) for row in cursor.fetchall()]


def _rated_of_windows(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    """List what was rated of the windows since their bounds: earlier revisions are left out."""
    return _rows(
        "SELECT u.window_id, u.id, 'rated', u.rated_at"
        " FROM unnest(%s::bigint[], %s::timestamptz[]) AS since(id, at) JOIN rated_usage u"
        "   ON u.window_id = since.id AND (since.at IS NULL OR u.rated_at >= since.at - %s)"
        " ORDER BY 1, 2 LIMIT %s",
        [list(ids), [times.get(pk) for pk in ids], CLOCK_SLACK, most],
    )


def _windows_of_rated(ids: Sequence[int], most: int, times: Times) -> list[Pair]:
    return _rows(
        "SELECT window_id, id, 'rated', rated_at FROM rated_usage WHERE id = ANY(%s)"
        " ORDER BY 1, 2 LIMIT %s",
        [list(ids), most],
    )


GRANTS = _relation(
    NodeType.CREDIT_GRANT,
    NodeType.LEDGER_TRANSACTION,
    "SELECT grant_id AS source, id AS target, 'from grant' AS label FROM ledger_transaction",
)
# In the order of the chain: a link comes after every link that leads to its source.
LINKS = (
    _relation(
        NodeType.METER_EVENT,
        NodeType.METER_EVENT_ADJUSTMENT,
        "SELECT event_id AS source, id AS target, type AS label FROM meter_event_adjustment",
    ),
    Link(
        NodeType.METER_EVENT,
        NodeType.USAGE_WINDOW,
        windows_of_events,
        events_of_windows,
    ),
    Link(
        NodeType.METER_EVENT_ADJUSTMENT,
        NodeType.USAGE_WINDOW,
        windows_of_adjustments,
        adjustments_of_windows,
    ),
    Link(
        NodeType.USAGE_WINDOW,
        NodeType.RATED_USAGE,
        _rated_of_windows,
        _windows_of_rated,
    ),
    _relation(
        NodeType.RATED_USAGE,
        NodeType.LEDGER_TRANSACTION,
        "SELECT rated_usage_id AS source, id AS target, kind AS label FROM ledger_transaction",
    ),
    _relation(
        NodeType.RATED_USAGE,
        NodeType.OVERAGE,
        "SELECT id AS source, id AS target, 'not covered' AS label FROM rated_usage"
        " WHERE overage <> 0",
    ),
    GRANTS,
    _relation(
        NodeType.LEDGER_TRANSACTION,
        NodeType.INVOICE_LINE,
        "SELECT t.id AS source, u.line_id AS target, 'stated on' AS label"  # noqa: S608
        " FROM ledger_transaction t"
        f" JOIN ({_ISSUED_USAGE}) u ON u.rated_usage_id = t.rated_usage_id"
        " AND u.kind = 'credits_used'",
    ),
    _relation(
        NodeType.OVERAGE,
        NodeType.INVOICE_LINE,
        "SELECT rated_usage_id AS source, line_id AS target, 'invoiced' AS label"  # noqa: S608
        f" FROM ({_ISSUED_USAGE}) u WHERE kind = 'overage'",
    ),
    _relation(
        NodeType.OUTCOME,
        NodeType.INVOICE_LINE,
        "SELECT o.outcome_id AS source, o.line_id AS target, 'invoiced' AS label"
        " FROM line_outcome o JOIN invoice_line l ON l.id = o.line_id"
        " JOIN invoice i ON i.id = l.invoice_id AND i.status <> 'draft'",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.CREDIT_NOTE,
        "SELECT invoice_line_id AS source, credit_note_id AS target, 'credited' AS label"
        " FROM credit_note_line",
    ),
    _relation(
        NodeType.CREDIT_NOTE,
        NodeType.CREDIT_NOTE_VOID,
        "SELECT credit_note_id AS source, id AS target, 'voided' AS label FROM credit_note_void",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.INVOICE_VOID,
        "SELECT l.id AS source, v.id AS target, 'voided' AS label FROM invoice_line l"
        " JOIN invoice_void v ON v.invoice_id = l.invoice_id WHERE l.amount_minor > 0",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.WRITE_OFF,
        "SELECT l.id AS source, w.id AS target, 'written off' AS label FROM invoice_line l"
        " JOIN write_off w ON w.invoice_id = l.invoice_id WHERE l.amount_minor > 0",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.PAYMENT,
        "SELECT l.id AS source, p.id AS target, 'paid' AS label FROM invoice_line l"
        " JOIN payment p ON p.invoice_id = l.invoice_id WHERE l.amount_minor > 0",
    ),
    _relation(
        NodeType.PAYMENT,
        NodeType.SHORT_PAYMENT,
        "SELECT payment_id AS source, id AS target, 'fell short' AS label FROM short_payment",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.BALANCE_APPLICATION,
        "SELECT l.id AS source, a.id AS target, 'paid from the balance' AS label"
        " FROM invoice_line l JOIN balance_application a ON a.invoice_id = l.invoice_id"
        " WHERE l.amount_minor > 0",
    ),
    _relation(
        NodeType.CREDIT_NOTE,
        NodeType.REFUND,
        "SELECT credit_note_id AS source, id AS target, 'refunded' AS label FROM refund",
    ),
    _relation(
        NodeType.REFUND,
        NodeType.REFUND_FAILURE,
        "SELECT refund_id AS source, id AS target, 'failed' AS label FROM refund_failure",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.REVENUE_SCHEDULE,
        "SELECT o.invoice_line_id AS source, s.id AS target, 'scheduled' AS label"
        " FROM performance_obligation o JOIN revenue_schedule s ON s.obligation_id = o.id",
    ),
    _relation(
        NodeType.CREDIT_NOTE,
        NodeType.LEDGER_TRANSACTION,
        "SELECT split_part(split_part(r.source_key, ':forgiven:credit_note:', 2), ':', 1)::bigint"
        " AS source, t.id AS target, 'gave back' AS label FROM rated_usage r"
        " JOIN ledger_transaction t ON t.rated_usage_id = r.id AND t.kind = 'returned'"
        " WHERE r.forgiven > 0 AND r.source_key LIKE 'window:%%:forgiven:credit\\_note:%%'",
    ),
    _relation(
        NodeType.CREDIT_GRANT,
        NodeType.JOURNAL_ENTRY,
        "SELECT b.grant_id AS source, e.entry_id AS target, e.role AS label FROM grant_basis b"
        " JOIN entry_source e ON e.source_id = b.id AND e.source_type = 'grant_basis'"
        "  AND e.entry_id IS NOT NULL",
    ),
    _entries(NodeType.LEDGER_TRANSACTION, "ledger_transaction"),
    _entries(NodeType.OVERAGE, "rated_usage"),
    _relation(
        NodeType.OUTCOME,
        NodeType.JOURNAL_ENTRY,
        "SELECT d.outcome_id AS source, e.entry_id AS target, d.state AS label"
        " FROM outcome_decision d JOIN entry_source e ON e.source_id = d.id"
        "  AND e.source_type = 'outcome_decision' AND e.entry_id IS NOT NULL",
    ),
    _relation(
        NodeType.INVOICE_LINE,
        NodeType.JOURNAL_ENTRY,
        "SELECT source_id AS source, entry_id AS target, role AS label FROM entry_source"
        " WHERE source_type = 'invoice_line' AND entry_id IS NOT NULL"
        " UNION ALL SELECT a.invoice_line_id, e.entry_id, e.role"
        " FROM allocated_share a JOIN entry_source e ON e.source_id = a.allocation_id"
        "  AND e.source_type = 'contract_allocation' AND e.entry_id IS NOT NULL"
        " UNION ALL SELECT m.invoice_line_id, e.entry_id, e.role"
        " FROM modified_line m JOIN entry_source e ON e.source_id = m.modification_id"
        "  AND e.source_type = 'contract_modification' AND e.entry_id IS NOT NULL",
    ),
    _entries(NodeType.CREDIT_NOTE, "credit_note"),
    _entries(NodeType.CREDIT_NOTE_VOID, "credit_note_void"),
    _entries(NodeType.INVOICE_VOID, "invoice_void"),
    _entries(NodeType.WRITE_OFF, "write_off"),
    _entries(NodeType.PAYMENT, "payment"),
    _entries(NodeType.SHORT_PAYMENT, "short_payment"),
    _entries(NodeType.BALANCE_APPLICATION, "balance_application"),
    _entries(NodeType.REFUND, "refund"),
    _entries(NodeType.REFUND_FAILURE, "refund_failure"),
    _relation(
        NodeType.REVENUE_SCHEDULE,
        NodeType.JOURNAL_ENTRY,
        "SELECT l.schedule_id AS source, e.entry_id AS target, e.role AS label FROM entry_source e"
        " JOIN revenue_schedule_line l ON l.id = e.source_id"
        " WHERE e.source_type = 'revenue_schedule_line' AND e.entry_id IS NOT NULL",
    ),
    _relation(
        NodeType.JOURNAL_ENTRY,
        NodeType.ACCOUNTING_PERIOD,
        "SELECT id AS source, period_id AS target, 'posted in' AS label FROM journal_entry",
    ),
)
