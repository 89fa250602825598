"""What the demo shows at its end, and writes to .local/demo.json; amounts are decimal strings."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Sum
from rich.console import Console
from rich.table import Table

from billing_project.console.demo.embeddings import embeddings_report
from billing_project.console.demo.errors import DemoRefused
from billing_project.console.demo.story import Story
from billing_project.console.demo.through_stripe import Collected
from billing_project.console.demo.traffic import METERS
from billing_project.console.lineage import Lineage, Node, start_of, trace
from billing_project.kernel.books import Result
from billing_project.kernel.money import Money
from billing_project.kernel.ownership import Owners, owners_known
from billing_project.kernel.quantity import plain
from credits.models import RatedUsage
from invoicing.models import CreditNote, Invoice, InvoiceStatus
from metering.models import UsageWindow
from revrec.selectors.reports import revenue_totals

_SECTIONS = (
    *(
        "events",
        "usage",
        "credits",
        "embeddings",
        "invoices",
        "credit_notes",
        "stripe",
        "revenue",
        "check_books",
    ),
    "seconds",
)
CURRENCY = "USD"  # Of nearly all that the demo sells.
EVENT_COUNTS = ("sent", "accepted", "duplicates", "conflicts", "quarantined", "replayed")


def build_report(story: Story, checks: list[Result], at: datetime) -> dict[str, Any]:
    """Collect the figures of the whole job.

    Raises:
        DemoRefused: rated usage is not its parts to the last digit.
    """
    owners = owners_known()
    findings = [finding for result in checks for finding in result.findings]
    return {
        "events": {name: story.counts[name] for name in EVENT_COUNTS},
        "usage": _usage(),
        "credits": _credits(),
        "embeddings": embeddings_report(),
        "invoices": _invoices(),
        "credit_notes": _credit_notes(),
        "stripe": _stripe(story.collected),
        "revenue": _revenue(at),
        "periods_closed": story.closed,
        "check_books": {"checks": len(checks), "findings": len(findings)},
        "trace": [_step(node, owners) for node in trace_of(story).nodes],
        "seconds": story.seconds,
    }


def trace_of(story: Story) -> Lineage:
    """Return the lineage of the month's last request of the heavy customer: overage, invoiced."""
    return trace(start_of("event", story.traced))


def _usage() -> dict[str, str]:
    totals = UsageWindow.objects.values_list("meter__code").annotate(total=Sum("quantity"))
    found = dict(totals)
    return {code: plain(found.get(code, Decimal(0))) for code in METERS}


def _credits() -> dict[str, str]:
    """Sum what the trace came to; embeddings stand apart."""
    sums = RatedUsage.objects.filter(rate__meter_code__in=METERS).aggregate(
        rated=Sum("charge"),
        drawn=Sum("drawn"),
        overage=Sum("overage"),
        forgiven=Sum("forgiven"),
    )
    if sums["rated"] != sums["drawn"] + sums["overage"] + sums.pop("forgiven"):
        raise DemoRefused("rated usage is not drawn, overage and forgiven")
    return {name: plain(value) for name, value in sums.items()}


def _invoices() -> dict[str, object]:
    """Count and sum what was issued, each currency apart."""
    issued = Invoice.objects.exclude(status=InvoiceStatus.DRAFT).order_by()
    sums = issued.values_list("currency").annotate(count=Count("pk"), total=Sum("total_minor"))
    found = {code: (count, total) for code, count, total in sums}
    count, total = found.pop(CURRENCY, (0, 0))
    report: dict[str, object] = {"count": count, "total": _money(total), "currency": CURRENCY}
    for code, (count, total) in sorted(found.items()):
        report |= {f"count in {code}": count, f"total in {code}": _money(total, code)}
    return report


def _credit_notes() -> dict[str, object]:
    """Sum the notes, and how what was paid goes back."""
    names = ("total", "refund", "balance", "out_of_band")
    notes = CreditNote.objects.filter(currency=CURRENCY)
    sums = notes.aggregate(**{name: Sum(f"{name}_minor") for name in names})
    return {
        "count": notes.count(),
        **{name: _money(sums[name] or 0) for name in names},
    }


_TOLD = {
    "copy": "copies of invoices",
    "copy_lines": "lists of their lines",
    "grant": "grants",
    "meter": "meters",
    "usage": "hours of usage",
}


def _stripe(collected: Collected | None) -> dict[str, object]:
    """Tell what went through Stripe; nothing where the demo has none."""
    if collected is None:
        return {}
    return {
        "payments": collected.payments,
        "declines": collected.declines,
        "fees": _money(collected.fees_minor),
        "refunded": _money(collected.refunded_minor),
        "disputes lost": collected.disputes_lost,
        "recharges": collected.recharges,
        "recharge limits met": collected.limits_met,
        "differences": collected.differences,
        "mirrored": " and ".join(
            f"{count} {_TOLD.get(kind, kind)}" for kind, count in sorted(collected.mirrored.items())
        ),
    }


def _revenue(at: datetime) -> dict[str, str]:
    """Tell what was earned, each currency apart; the demo's own first."""
    found = sorted(
        revenue_totals(at.date()), key=lambda one: (one.currency != CURRENCY, one.currency)
    )
    report: dict[str, str] = {}
    for one in found:
        where = "" if one.currency == CURRENCY else f" in {one.currency}"
        report |= {
            f"recognised{where}": _money(one.recognised_minor, one.currency),
            f"deferred{where}": _money(one.deferred_minor, one.currency),
            f"unbilled{where}": _money(one.unbilled_minor, one.currency),
        }
    return report


def _money(minor: int, currency: str = CURRENCY) -> str:
    return f"{Money(minor, currency).decimal:f}"


def _step(node: Node, owners: Owners) -> dict[str, str]:
    return {
        "type": node.ref.type.value,
        "id": str(node.ref),
        "label": node.label,
        "amount": _amount(node),
        "unit": node.unit,
        "step": node.step.value,
        "owners": _names(owners, node),
    }


def _names(owners: Owners, node: Node) -> str:
    """Name who answers for the step of a fact, in the order of the functions."""
    people = [one.person for one in owners.of(node.step, node.at) if one.person]
    return ", ".join(people) or "nobody is named"


def _amount(node: Node) -> str:
    return f"{node.amount:f}" if node.is_money else plain(node.amount)


def show(report: dict[str, Any], lineage: Lineage, console: Console) -> None:
    """Print the summary and the lineage of one event as tables."""
    table = Table(title="One month of real LLM traffic", show_header=False, title_justify="left")
    for section in _SECTIONS:
        for name, value in report[section].items():
            table.add_row(section.replace("_", " "), name.replace("_", " "), _grouped(value))
            section = ""
        table.add_section()
    console.print(table)
    steps = Table(title="One overage event, from request to journal entry", title_justify="left")
    for heading in ("step", "what", "amount", "unit", "owners"):
        steps.add_column(heading, justify="right" if heading == "amount" else "left")
    owners = owners_known()
    for node in lineage.nodes:
        amount = _grouped(_amount(node))
        steps.add_row(node.ref.type.value, node.label, amount, node.unit, _names(owners, node))
    console.print(steps)


def _grouped(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    try:
        return f"{Decimal(str(value)):,f}"
    except ArithmeticError:
        return str(value)
