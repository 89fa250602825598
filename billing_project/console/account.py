"""What stands at the top of a customer's page: credits, usage, claims, plan; few queries."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Model, Q, Sum

from billing_project.kernel.backoffice.display import days_text, money_text, number_text, object_url
from billing_project.kernel.backoffice.related import list_url
from credits.models import BillingPeriod, CreditGrant, RatedUsage
from credits.selectors import balance
from invoicing.models import CustomerBalance, Invoice, InvoiceStatus, Subscription
from invoicing.selectors import owed_back, plan_version_at
from metering.models import Customer

NONE = "none"


@dataclass(frozen=True)
class Figure:
    """One figure with a few words on it, and where to read on."""

    title: str
    text: str
    note: str = ""
    url: str = ""


def figures_of(customer: Customer, at: datetime) -> list[Figure]:
    """Return what people ask first about a customer; a fixed number of queries."""
    periods = BillingPeriod.objects.select_related("rate_card__pricing_unit")
    period = periods.filter(customer=customer, start_at__lte=at, end_at__gt=at).first()
    return [
        _credits(customer, at),
        _usage(period),
        _open(customer),
        _balance(customer),
        _last_invoice(customer),
        _plan(customer, period, at),
    ]


def _credits(customer: Customer, at: datetime) -> Figure:
    held = [f"{number_text(b.available)} {b.pricing_unit}" for b in balance(customer, at)]
    return Figure("Available credits", ", ".join(held) or NONE, "", _rows(CreditGrant, customer))


def _usage(period: BillingPeriod | None) -> Figure:
    """Sum what the running period was charged, in the unit of its rates."""
    if period is None:
        return Figure("Usage in this period", NONE, "no period is running")
    sums = RatedUsage.objects.filter(billing_period=period).aggregate(
        charge=Sum("charge", default=Decimal(0)), overage=Sum("overage", default=Decimal(0))
    )
    charged = f"{number_text(sums['charge'])} {period.rate_card.pricing_unit}"
    note = f"rated, {number_text(sums['overage'])} of them overage"
    return Figure("Usage in this period", charged, note, object_url(period))


def _open(customer: Customer) -> Figure:
    invoices = Invoice.objects.filter(customer=customer, status=InvoiceStatus.FINALIZED)
    amount = invoices.aggregate(total=Sum("open_minor", default=0))["total"]
    return Figure(
        "Open amount",
        money_text(amount, customer.currency),
        "of issued invoices",
        list_url(Invoice, {"customer__id__exact": customer.pk, "status__exact": "finalized"}),
    )


def _balance(customer: Customer) -> Figure:
    """Tell what notes left with the customer, and what is still to be refunded."""
    owed = owed_back(customer)
    balances = [each.balance for each in owed if each.balance.amount_minor]
    due = [each.refunds_due for each in owed if each.refunds_due.amount_minor]
    refunds = ", ".join(money_text(money.amount_minor, money.currency) for money in due)
    return Figure(
        "Customer balance",
        ", ".join(money_text(money.amount_minor, money.currency) for money in balances) or NONE,
        f"{refunds} to refund" if refunds else "pays the next invoices" if balances else "",
        _rows(CustomerBalance, customer),
    )


def _last_invoice(customer: Customer) -> Figure:
    issued = Invoice.objects.filter(customer=customer).exclude(status=InvoiceStatus.DRAFT)
    last = issued.order_by("-sequence").first()
    if last is None:
        return Figure("Last invoice", NONE)
    note = f"{last}, {last.status}" if last.open_minor else f"{last}, nothing open"
    return Figure(
        "Last invoice", money_text(last.total_minor, last.currency), note, object_url(last)
    )


def _plan(customer: Customer, period: BillingPeriod | None, at: datetime) -> Figure:
    """Name the plan version that runs, and the period."""
    running = Subscription.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=at), customer=customer, start_at__lte=at
    )
    found = running.select_related("plan_version__plan").first()
    plan = str(plan_version_at(found, at)) if found else NONE
    days = days_text(period.start_at, period.end_at, customer.time_zone) if period else ""
    return Figure("Plan", plan, days, object_url(found) if found else "")


def _rows(model: type[Model], customer: Customer) -> str:
    return list_url(model, {"customer__id__exact": customer.pk})
