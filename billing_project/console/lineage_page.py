"""The page that draws a lineage: one fact, everything it came from, everything it became."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from billing_project.console.drawing import BOX_HEIGHT, BOX_WIDTH, Curve, column_x, draw
from billing_project.console.event_costs import cost_of_report
from billing_project.console.lineage import (
    KINDS,
    Lineage,
    Node,
    NodeType,
    report_event,
    start_of,
    trace,
    trace_month,
)
from billing_project.console.lineage_month import after_of, month_context
from billing_project.console.navigation import lineage_url, may_read
from billing_project.console.owners_page import Line, lines_at
from billing_project.console.search import Found, find_facts
from billing_project.kernel.backoffice.display import moment_text, number_text
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import ChainStep, StepFunction
from billing_project.kernel.ownership import owners_known

SHOWN, MOST = 25, 200  # Facts of one kind on the page, at first and on request.

# Title, steps of the chain, kinds of facts.
_ADJUSTMENT = ("Adjustment", "capture", (NodeType.METER_EVENT_ADJUSTMENT,))
_REFUND = ("Refund", "invoice", (NodeType.REFUND,))
_FAILURE = ("Failed refund", "invoice", (NodeType.REFUND_FAILURE,))
_OUTCOME = ("Outcome", "invoice", (NodeType.OUTCOME,))
_SEAL = ("Seal", "close", (NodeType.LEDGER_SEAL,))
_SELDOM = (_ADJUSTMENT, _OUTCOME, _REFUND, _FAILURE, _SEAL)
_COLUMNS = (
    ("Event", "capture", (NodeType.METER_EVENT,)),
    _ADJUSTMENT,  # Left out where nothing was adjusted: few events are.
    ("Usage window", "aggregate", (NodeType.USAGE_WINDOW,)),
    ("Rated usage, grant", "rate, draw down", (NodeType.RATED_USAGE, NodeType.CREDIT_GRANT)),
    ("Ledger, overage", "draw down", (NodeType.LEDGER_TRANSACTION, NodeType.OVERAGE)),
    _OUTCOME,  # Left out where none stands behind the line.
    ("Invoice line", "invoice", (NodeType.INVOICE_LINE,)),
    (
        "Schedule, payment, note",
        "recognise, invoice",
        (
            NodeType.REVENUE_SCHEDULE,
            NodeType.PAYMENT,
            NodeType.BALANCE_APPLICATION,
            NodeType.CREDIT_NOTE,
            NodeType.CREDIT_NOTE_VOID,
            NodeType.INVOICE_VOID,
            NodeType.WRITE_OFF,
            NodeType.SHORT_PAYMENT,
        ),
    ),
    _REFUND,  # Left out where nothing was refunded; and where no refund failed.
    _FAILURE,
    ("Journal entry", "recognise", (NodeType.JOURNAL_ENTRY,)),
    ("Month", "close", (NodeType.ACCOUNTING_PERIOD,)),
    _SEAL,  # Of a month as the start alone.
)
_PAGES = {
    NodeType.METER_EVENT: "metering_meterevent",
    NodeType.METER_EVENT_ADJUSTMENT: "metering_metereventadjustment",
    NodeType.USAGE_WINDOW: "metering_usagewindow",
    NodeType.RATED_USAGE: "credits_ratedusage",
    NodeType.CREDIT_GRANT: "credits_creditgrant",
    NodeType.LEDGER_TRANSACTION: "credits_ledgertransaction",
    NodeType.OVERAGE: "credits_ratedusage",
    NodeType.OUTCOME: "invoicing_outcome",
    NodeType.INVOICE_LINE: "invoicing_invoiceline",
    NodeType.CREDIT_NOTE: "invoicing_creditnote",
    NodeType.CREDIT_NOTE_VOID: "invoicing_creditnotevoid",
    NodeType.INVOICE_VOID: "invoicing_invoicevoid",
    NodeType.WRITE_OFF: "invoicing_writeoff",
    NodeType.PAYMENT: "invoicing_payment",
    NodeType.SHORT_PAYMENT: "invoicing_shortpayment",
    NodeType.BALANCE_APPLICATION: "invoicing_balanceapplication",
    NodeType.REFUND: "invoicing_refund",
    NodeType.REFUND_FAILURE: "invoicing_refundfailure",
    NodeType.REVENUE_SCHEDULE: "revrec_revenueschedule",
    NodeType.JOURNAL_ENTRY: "revrec_journalentry",
    NodeType.ACCOUNTING_PERIOD: "revrec_accountingperiod",
    NodeType.LEDGER_SEAL: "revrec_ledgerseal",
}


@dataclass(frozen=True)
class Column:
    """One step of the chain, with its heading."""

    title: str
    steps: str
    x: int
    is_empty: bool


@dataclass(frozen=True)
class NodeBox:
    """One fact as its box and its table row show it."""

    node: Node
    kind: str
    url: str
    amount: str
    at: str
    is_start: bool
    x: int = 0
    y: int = 0

    @property
    def short_label(self) -> str:
        """What fits the first line of the box."""
        return _cut(self.node.label, 23)

    @property
    def short_amount(self) -> str:
        """What fits the second line of the box."""
        return _cut(self.amount, 21)

    @property
    def rule(self) -> str:
        """What fits the third line: step, and version of the rule."""
        words = [self.node.step.label.lower(), self.node.policy_version]
        return _cut(" · ".join(filter(None, words)), 25)


@dataclass(frozen=True)
class Picture:
    """A lineage, ready to be drawn."""

    columns: tuple[Column, ...]
    boxes: tuple[NodeBox, ...]
    curves: tuple[Curve, ...]
    width: int
    height: int


def lineage_page(request: HttpRequest) -> HttpResponse:
    """Draw the lineage of the fact that the address names, or find one for what was typed."""
    if not may_read(request):
        raise PermissionDenied
    text = request.GET.get("q", "")
    found = find_facts(text) if text else []
    if len(found) == 1:
        return HttpResponseRedirect(found[0].url)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Lineage",
        "q": text,
        "found": found,
        "is_lost": bool(text) and not found,
        "most": MOST,
        **_traced(request),
    }
    return TemplateResponse(request, "console/lineage.html", context)


def picture_of(lineage: Lineage, starts: Iterable[Any], seldom: Iterable[Any] = _SELDOM) -> Picture:
    """Lay a lineage out by the steps of the chain.

    Args:
        seldom: Columns that are left out where they hold nothing.
    """
    first = set(starts)
    steps = [step for step in _COLUMNS if step not in seldom or lineage.of(*step[2])]
    columns = [[node.ref for node in lineage.of(*kinds)] for _, _, kinds in steps]
    drawing = draw(columns, [(edge.source, edge.target) for edge in lineage.edges])
    nodes = {node.ref: node for node in lineage.nodes}
    boxes = tuple(_box(nodes[b.key], b.key in first, b.x, b.y) for b in drawing.boxes)
    heads = tuple(
        Column(title, done, column_x(i), not columns[i]) for i, (title, done, _) in enumerate(steps)
    )
    return Picture(heads, boxes, drawing.curves, drawing.width, max(drawing.height, 130))


def _traced(request: HttpRequest) -> dict[str, Any]:
    kind = next((kind for kind in KINDS if request.GET.get(kind)), "")
    if not kind:
        return {}
    name = request.GET[kind].replace("\x00", "")  # PostgreSQL knows no NUL.
    limit = MOST if "all" in request.GET else SHOWN
    try:
        if kind == "period":
            return _told(kind, name, limit, *_month(request, name, limit))
        starts = start_of(kind, name)
        lineage = trace(starts, limit=limit)
    except BillingError as error:
        return {"problem": error.message, "q": name}
    more = {"cost": _cost(name)} if kind == "event" else {}
    return _told(kind, name, limit, lineage, {"picture": picture_of(lineage, starts), **more})


def _told(
    kind: str, name: str, limit: int, lineage: Lineage, more: dict[str, Any]
) -> dict[str, Any]:
    return {
        "q": name,
        "fact": Found(kind, name, f"{kind.replace('_', ' ')} {name}"),
        "lines": _answering(lineage),
        "functions": StepFunction.labels,
        "pack_url": _pack_url(kind, name),
        "is_truncated": lineage.is_truncated,
        "limit": limit,
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
        **more,
    }


def _month(request: HttpRequest, name: str, limit: int) -> tuple[Lineage, dict[str, Any]]:
    """Draw a page of a month's entries; each leads on to its own lineage."""
    kind = request.GET.get("kind", "").replace("\x00", "")
    month = trace_month(
        name, kind=kind, after_id=after_of(request.GET.get("after", "")), limit=limit
    )
    picture = picture_of(month.lineage, start_of("period", name), _COLUMNS)
    boxes = [
        replace(box, url=lineage_url("journal_entry", box.node.ref.pk))
        if box.node.ref.type == NodeType.JOURNAL_ENTRY
        else box
        for box in picture.boxes
    ]
    drawn = replace(picture, boxes=tuple(boxes))
    return month.lineage, {"picture": drawn, "month": month_context(month, kind)}


def _pack_url(kind: str, name: str) -> str:
    """Return where an auditor takes along what stands behind an invoice."""
    if kind not in {"invoice", "invoice_line"}:
        return ""
    number = name.partition(":")[0]
    return f"{reverse('admin:revrec_auditpack_ask')}?{urlencode({'invoices': number})}"


def _cost(name: str) -> dict[str, Any]:
    """Write what an event costs us, part by part, and in all."""
    customer, _, identifier = name.partition("/")
    cost = cost_of_report(report_event(customer, identifier))
    rows = [
        (
            part.meter,
            part.model or "-",
            part.kind or "-",
            number_text(part.quantity),
            "no price" if part.unit_price is None else number_text(part.unit_price),
            "-" if part.cost is None else number_text(part.cost),
            part.supplier or "-",
            f"{part.price_from:%Y-%m-%d}" if part.price_from else "-",
            "-" if part.sheet is None else f"{part.sheet}",
        )
        for part in cost.parts
    ]
    total = f"{number_text(cost.amount)} {cost.currency}"
    return {"total": total, "is_whole": cost.is_whole, "rows": rows}


def _answering(lineage: Lineage) -> list[Line]:
    """Name who answered for each step at its last fact; for a step without one, who does now."""
    instants: dict[str, datetime] = dict.fromkeys(ChainStep.values, now())
    for step in ChainStep:
        times = [node.at for node in lineage.nodes if node.step == step]
        instants[step] = max(times, default=instants[step])
    return lines_at(owners_known(), instants, may_name=False)


def _box(node: Node, is_start: bool, x: int, y: int) -> NodeBox:
    return NodeBox(
        node=node,
        kind=node.ref.type.replace("_", " "),
        url=reverse(f"admin:{_PAGES[node.ref.type]}_change", args=[node.ref.pk]),
        amount=_amount(node),
        at=moment_text(node.at),
        is_start=is_start,
        x=x,
        y=y,
    )


def _amount(node: Node) -> str:
    """Write money with all of its currency's decimals, anything else without trailing zeros."""
    number = f"{node.amount:,f}" if node.is_money else number_text(node.amount)
    return f"{number} {node.unit}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
