"""A month of the books as the start of a trace: its entries, its close, its seal, who signed.

A month comes of all its entries, however many: they are given by the page, and each leads on to
its own trace. The walk from all of them at once would be of everybody's usage.
"""

from dataclasses import dataclass

from billing_project.console.lineage.graph import Edge, Lineage, Node, NodeType, Ref
from billing_project.console.lineage.nodes import load_nodes
from billing_project.console.lineage.starts import period_named
from billing_project.kernel.errors import NotFound
from revrec.models import AccountingPeriod, CloseException, LedgerSeal
from revrec.selectors.month_entries import KindTotal, entries_of_month, totals_by_kind
from revrec.selectors.seals import seal_of


@dataclass(frozen=True)
class Month:
    """A page of a month's entries with its close; sums of all come with the first page alone."""

    period: AccountingPeriod
    lineage: Lineage
    totals: tuple[KindTotal, ...]
    exceptions: tuple[CloseException, ...]
    seal: LedgerSeal | None
    next_id: int | None  # The last entry of this page, where there are more.


def trace_month(name: str, *, kind: str = "", after_id: int | None = None, limit: int) -> Month:
    """Return a page of what a month holds, and up to its close and seal.

    Args:
        name: "2026-11".
        kind: Entries of this kind alone.
        after_id: The last entry of the page before.
        limit: Most entries, >= 1.

    Raises:
        Invalid: the name is no month.
        NotFound: no such month has books, or it has no entry with that id.
    """
    period = period_named(name)
    if period is None:
        raise NotFound(f"no period is named {name[:20]}")
    found = entries_of_month(period, kind=kind, after_id=after_id, limit=limit + 1)
    ids, seal = [entry.pk for entry in found[:limit]], seal_of(period)
    totals = totals_by_kind(period) if after_id is None else []
    signed = CloseException.objects.filter(period=period).select_related("signed_by")
    return Month(
        period,
        _lineage(period, ids, seal, is_cut=len(found) > limit or after_id is not None),
        tuple(total for total in totals if kind in ("", total.kind)),
        tuple(signed.order_by("pk")),
        seal,
        ids[-1] if len(found) > limit else None,
    )


def _lineage(
    period: AccountingPeriod, ids: list[int], seal: LedgerSeal | None, *, is_cut: bool
) -> Lineage:
    month = Ref(NodeType.ACCOUNTING_PERIOD, period.pk)
    entries = [Ref(NodeType.JOURNAL_ENTRY, pk) for pk in ids]
    seals = [Ref(NodeType.LEDGER_SEAL, seal.pk)] if seal else []
    nodes = {node.ref: node for node in load_nodes([*entries, month, *seals])}
    edges = [Edge(entry, month, "posted in") for entry in entries]
    edges += [Edge(month, sealed, "sealed") for sealed in seals]
    shown: list[Node] = [nodes[ref] for ref in (*entries, month, *seals)]
    return Lineage(tuple(shown), tuple(edges), is_cut)
