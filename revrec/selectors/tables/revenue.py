"""Reports that show what was earned, and from what."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDate, TruncMonth

from billing_project.kernel.period import add_months, months_between
from revrec.models import AccountingPeriod, Posting
from revrec.posting import Account, EntryKind
from revrec.reporting import Drill, Figure, Row, Table
from revrec.schedule import start_of
from revrec.selectors.products import with_product
from revrec.selectors.regions import with_region
from revrec.selectors.tables.ledger import REVENUE_CODES, within
from revrec.selectors.zone import books_zone

STREAMS: Mapping[str, str] = {
    Account.FEE_REVENUE: "Base fees",
    Account.USAGE_REVENUE: "Prepaid usage",
    Account.OVERAGE_REVENUE: "Overage",
    Account.BREAKAGE_REVENUE: "Breakage",
    Account.SHORTFALL_REVENUE: "Commit shortfall",
    Account.OUTCOME_REVENUE: "Outcomes",
    Account.CREDIT_NOTES: "Credit notes",
    Account.REFUNDS: "Refunds",
    Account.DISPUTES_LOST: "Disputes lost",
}
_AT_ONE_TIME = {
    Account.BREAKAGE_REVENUE, Account.SHORTFALL_REVENUE, Account.OUTCOME_REVENUE,
}  # fmt: skip
_MONTHS = 12


def revenue_postings() -> QuerySet[Posting]:
    """Return all postings on revenue and what is taken off it."""
    return Posting.objects.filter(account_id__in=REVENUE_CODES)


def disaggregation(period: AccountingPeriod) -> Table:
    """Sum the month's revenue by stream, timing, where the customer was, and model."""
    found = (
        with_region(revenue_postings().filter(**within(period)))
        .values("account_id", "model", "currency", country=F("region"))
        .annotate(total=Sum("amount_minor"))
        .order_by("currency", "account_id", F("region"), "model")
    )
    rows = []
    for row in found:
        account = row["account_id"]
        where = {
            "account_id": account,
            **({"model": row["model"]} if row["model"] else {"model__isnull": True}),
            "currency": row["currency"],
            **within(period),
        }
        of = _of_region(revenue_postings().filter(**where), row["country"])
        labels = {
            "stream": STREAMS.get(account, account),
            "timing": "point in time" if account in _AT_ONE_TIME else "over time",
            "region": row["country"] or "not known",
            "model": row["model"] or "-",
        }
        rows.append(
            Row(
                labels,
                row["currency"],
                {"amount": Figure(-row["total"], Drill({"pk__in": of.values("pk")}, -1))},
            )
        )
    return Table(("stream", "timing", "region", "model"), ("amount",), rows)


def revenue_by_product(period: AccountingPeriod) -> Table:
    """Sum the month's revenue by product, stream and where the customer was."""
    found = (
        with_region(with_product(revenue_postings().filter(**within(period))))
        .values_list(F("product"), "account_id", F("region"), "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by("currency", F("product"), "account_id", F("region"))
    )
    rows = []
    for product, account, country, currency, total in found:
        of = with_product(
            revenue_postings().filter(account=account, currency=currency, **within(period))
        )
        of = _of_region(of, country)
        is_it = Q(product=product) if product is not None else Q(product__isnull=True)
        labels = {
            "product": product or "-", "stream": STREAMS.get(account, account),
            "region": "-" if country is None else country or "not known",
        }  # fmt: skip
        drill = Drill({"pk__in": of.filter(is_it).values("pk")}, -1)
        rows.append(Row(labels, currency, {"amount": Figure(-total, drill)}))
    return Table(("product", "stream", "region"), ("amount",), rows)


def _of_region(postings: QuerySet[Posting], region: str | None) -> QuerySet[Posting]:
    is_it = Q(region=region) if region is not None else Q(region__isnull=True)
    return with_region(postings).filter(is_it)


def prior_period_revenue(period: AccountingPeriod) -> Table:
    """Sum revenue for service that ended before the month, by stream and month of service.

    A credit note names no service days: it counts where the line that it is about had ended.
    """
    zone = ZoneInfo(books_zone())
    start = start_of(period.start_on, zone.key)
    ended_line = Q(service_end_on__isnull=True, invoice_line__service_end_at__lte=start)
    found = (
        revenue_postings()
        .filter(Q(service_end_on__lte=period.start_on) | ended_line, **within(period))
        .annotate(
            month=Coalesce(
                TruncMonth("service_start_on"),
                TruncMonth(TruncDate("invoice_line__service_start_at", tzinfo=zone)),
            )
        )
        .values("account_id", "month", "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by("currency", "account_id", "month")
    )
    rows = [
        Row(
            {
                "stream": STREAMS.get(row["account_id"], row["account_id"]),
                "service_month": f"{row['month']:%Y-%m}",
            },
            row["currency"],
            {"amount": Figure(-row["total"], _prior_drill(row, period, zone.key))},
        )
        for row in found
    ]
    return Table(("stream", "service_month"), ("amount",), rows)


def _prior_drill(row: Mapping[str, Any], period: AccountingPeriod, zone: str) -> Drill:
    month: date = row["month"]
    start = start_of(period.start_on, zone)
    end_on = add_months(month, 1, 1)
    of_month = revenue_postings().filter(
        Q(
            service_end_on__lte=period.start_on,
            service_start_on__gte=month,
            service_start_on__lt=end_on,
        )
        | Q(
            service_end_on__isnull=True,
            invoice_line__service_end_at__lte=start,
            invoice_line__service_start_at__gte=start_of(month, zone),
            invoice_line__service_start_at__lt=start_of(end_on, zone),
        ),
        account_id=row["account_id"],
        currency=row["currency"],
        **within(period),
    )
    return Drill({"pk__in": of_month.values("pk")}, -1)


def recognised_billed_cash(period: AccountingPeriod) -> Table:
    """Put what was earned, claimed and collected side by side, month by month."""
    first = add_months(period.start_on, 1 - _MONTHS, 1)
    wanted: Mapping[str, tuple[dict[str, object], int]] = {
        "recognised": ({"account_id__in": REVENUE_CODES}, -1),
        "billed": (
            {
                "account_id__in": [Account.RECEIVABLE.value, Account.CASH.value],
                "entry__kind__in": [
                    EntryKind.INVOICE_FINALIZED.value, EntryKind.CREDITS_SOLD.value
                ],
            },
            1,
        ),
        "cash": ({"account_id": Account.CASH.value}, 1),
    }  # fmt: skip
    sums: dict[tuple[str, date], dict[str, int]] = {}
    for name, (where, sign) in wanted.items():
        found = (
            Posting.objects.filter(
                entry__effective_on__gte=first, entry__effective_on__lt=period.end_on, **where
            )
            .annotate(month=TruncMonth("entry__effective_on"))
            .values_list("currency", "month")
            .annotate(total=Sum("amount_minor"))
            .order_by()
        )
        for currency, month, total in found:
            sums.setdefault((currency, month), {})[name] = sign * total
    rows = []
    for currency in sorted({currency for currency, _ in sums}):
        for start_on, end_on in months_between(first, period.start_on):
            month_sums = sums.get((currency, start_on))
            if month_sums is None:
                continue
            in_month = {
                "currency": currency,
                "entry__effective_on__gte": start_on,
                "entry__effective_on__lt": end_on,
            }
            figures = {
                name: Figure(month_sums.get(name, 0), Drill({**where, **in_month}, sign))
                for name, (where, sign) in wanted.items()
            }
            rows.append(Row({"month": f"{start_on:%Y-%m}"}, currency, figures))
    return Table(("month",), tuple(wanted), rows)
