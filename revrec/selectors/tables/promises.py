"""Reports that show promises: what is still owed of them, and when it will be earned."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Sum

from billing_project.kernel.money import prorate
from billing_project.kernel.period import add_months, month_of
from invoicing.models import MAIN_ENTITY
from revrec.disclosures import Released, from_opening
from revrec.models import PREPAID_CREDITS, AccountingPeriod, ObligationKind, Posting
from revrec.posting import Account
from revrec.reporting import Drill, Figure, Row, Table
from revrec.selectors.tables.ledger import REVENUE_CODES, before, within
from revrec.selectors.tables.revenue import STREAMS
from revrec.selectors.zone import books_zone

_AHEAD = 12  # Months of the waterfall that have a column of their own.
_LIABILITIES = [Account.CREDITS_LIABILITY.value, Account.FEES_LIABILITY.value]
STREAM_OF_KIND: dict[str, str] = {
    ObligationKind.FEE: "Base fees",
    ObligationKind.CREDITS: "Prepaid credits",
    ObligationKind.COMMITMENT: "Prepaid commitments",
}

_PROMISES = """
SELECT o.id, o.kind, p.currency, min(e.effective_on) FILTER (WHERE p.account_id IN ('2100','2120')),
       coalesce(s.start_on, (l.service_start_at AT TIME ZONE %(zone)s)::date),
       CASE WHEN o.kind = 'fee' THEN s.end_on
            ELSE (coalesce(g.expires_at, l.service_end_at) AT TIME ZONE %(zone)s)::date END,
       coalesce(-sum(p.amount_minor) FILTER (
           WHERE p.account_id IN ('2100','2120') AND e.effective_on < %(start)s), 0) AS opening,
       coalesce(-sum(p.amount_minor) FILTER (WHERE p.account_id IN ('2100','2120')), 0) AS closing,
       coalesce(-sum(p.amount_minor) FILTER (
           WHERE p.account_id LIKE '4%%' AND e.effective_on < %(start)s), 0) AS before,
       coalesce(-sum(p.amount_minor) FILTER (
           WHERE p.account_id LIKE '4%%' AND e.effective_on >= %(start)s), 0) AS earned,
       coalesce(-sum(p.amount_minor) FILTER (WHERE p.account_id = '4010'), 0) AS used,
       coalesce(-sum(p.amount_minor) FILTER (WHERE p.account_id IN ('4030', '4040')), 0) AS broken,
       coalesce((SELECT t.code FROM grant_terms t WHERE t.id = g.terms_id), '') AS terms,
       coalesce(-sum(p.functional_minor) FILTER (WHERE p.account_id IN ('2100','2120')), 0) AS book,
       coalesce((SELECT x.entity_id FROM customer_entity x WHERE x.customer_id = o.customer_id), 1)
  FROM posting p
  JOIN journal_entry e ON e.id = p.entry_id AND e.effective_on < %(end)s
  JOIN performance_obligation o ON o.id = p.obligation_id AND o.kind <> 'overage'
  LEFT JOIN credit_grant g ON g.id = o.grant_id
  LEFT JOIN invoice_line l ON l.id = o.invoice_line_id AND o.kind = 'commitment'
  LEFT JOIN LATERAL (SELECT start_on, end_on FROM revenue_schedule r WHERE r.obligation_id = o.id
                      ORDER BY revision DESC LIMIT 1) s ON true
 GROUP BY o.id, o.kind, p.currency, s.start_on, s.end_on, l.service_start_at, l.service_end_at,
          g.expires_at, g.terms_id
 ORDER BY o.id
"""


@dataclass(frozen=True)
class PromiseState:
    """One promise of service in advance, as the ledger has it at the end of a month.

    Amounts that customers are owed, and revenue, are positive; `earned` is within the month.
    """

    obligation_id: int
    kind: str
    currency: str
    sold_on: date
    start_on: date | None
    end_on: date | None  # When the service or the credits end; exclusive.
    opening_minor: int
    closing_minor: int
    before_minor: int
    earned_minor: int
    used_minor: int
    broken_minor: int
    terms: str = ""  # Code of the terms that its credits were given under.
    book_minor: int = 0  # What `closing` is carried at in the books' own currency, if another.
    entity_id: int = MAIN_ENTITY

    @property
    def price_minor(self) -> int:
        """What it was sold for, less credit notes."""
        return self.before_minor + self.earned_minor + self.closing_minor


def promise_states(period: AccountingPeriod) -> list[PromiseState]:
    """List all promises that were sold in advance by the end of a month."""
    with connection.cursor() as cursor:
        cursor.execute(
            _PROMISES,
            {"start": period.start_on, "end": period.end_on, "zone": books_zone()},
        )
        rows = cursor.fetchall()
    return [_state(row) for row in rows if row[3] is not None]


def _state(row: tuple[Any, ...]) -> PromiseState:
    state = PromiseState(*row[:6], *map(int, row[6:12]))
    return replace(state, terms=row[12], book_minor=int(row[13]), entity_id=row[14])


def waterfall(period: AccountingPeriod) -> Table:
    """Show by month of sale what is earned, and in which month the rest will be."""
    months = [add_months(period.end_on, n, 1) for n in range(_AHEAD + 1)]
    ahead = [f"{month:%Y-%m}" for month in months[:-1]]
    names = ("price", "earned_before", "earned", *ahead, "later", "when_used")
    rows = []
    for (currency, sold), promises in grouped(promise_states(period), _month_sold):
        of = _of(promises)
        rest = [0] * len(months)
        for promise in promises:
            for index, amount in enumerate(_by_month_ahead(promise, months)):
                rest[index] += amount
        as_used = sum(p.closing_minor for p in promises if p.kind in PREPAID_CREDITS)
        figures = {
            "price": Figure(sum(p.price_minor for p in promises)),
            "earned_before": Figure(
                sum(p.before_minor for p in promises),
                Drill({**of, **_REVENUE, **before(period.start_on)}, -1),
            ),
            "earned": Figure(
                sum(p.earned_minor for p in promises),
                Drill({**of, **_REVENUE, **within(period)}, -1),
            ),
            **{name: Figure(amount) for name, amount in zip([*ahead, "later"], rest, strict=True)},
            "when_used": Figure(
                as_used,
                Drill({**of, "account_id": _LIABILITIES[0], **before(period.end_on)}, -1),
            ),
        }
        rows.append(Row({"sold": sold}, currency, figures))
    return Table(("sold",), names, rows)


_REVENUE: dict[str, object] = {"account_id__in": REVENUE_CODES}


def opening_liability_revenue(period: AccountingPeriod) -> Table:
    """Sum the month's revenue of promises that were sold before it."""
    older = [p for p in promise_states(period) if p.opening_minor]
    opening = {p.obligation_id: p.opening_minor for p in older}
    found = (
        Posting.objects.filter(
            obligation_id__in=list(opening),
            account_id__in=[a for a in STREAMS if not a.startswith("49")],
            **within(period),
        )
        .values_list("obligation_id", "account_id", "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by("currency", "account_id", "obligation_id")
    )
    released: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for obligation_id, account, currency, total in found:
        released[currency, account][obligation_id] = -total
    rows = []
    for (currency, account), by_promise in released.items():
        where = {
            "obligation_id__in": sorted(by_promise), "account_id": account, "currency": currency,
            **within(period),
        }  # fmt: skip
        amount = from_opening(Released(minor, opening[pk]) for pk, minor in by_promise.items())
        figure = Figure(amount, Drill(where, -1))
        rows.append(Row({"stream": STREAMS[account]}, currency, {"amount": figure}))
    return Table(("stream",), ("amount",), rows)


def deferred_by_expiry(period: AccountingPeriod) -> Table:
    """List contract liabilities by the month in which they end, and whether within a year."""
    year = add_months(period.end_on, 12, period.end_on.day)

    def ends(promise: PromiseState) -> str:
        return f"{promise.end_on:%Y-%m}" if promise.end_on else "never"

    rows = []
    for (currency, end), promises in grouped(promise_states(period), ends):
        amount = sum(p.closing_minor for p in promises)
        if not amount:
            continue
        ends_on = promises[0].end_on
        is_current = ends_on is None or ends_on <= year
        labels = {"ends": end, "class": "current" if is_current else "non-current"}
        figure = Figure(amount, liability_of(promises, period))
        rows.append(Row(labels, currency, {"amount": figure}))
    return Table(("ends", "class"), ("amount",), rows)


def breakage_by_cohort(period: AccountingPeriod) -> Table:
    """Show by month of sale what became of paid credits, those of commitments among them."""
    credit_promises = [p for p in promise_states(period) if p.kind in PREPAID_CREDITS]
    rows = []
    for (currency, sold), promises in grouped(credit_promises, _month_sold):
        of = {**_of(promises), **before(period.end_on)}
        broken = [Account.BREAKAGE_REVENUE.value, Account.SHORTFALL_REVENUE.value]
        figures = {
            "price": Figure(sum(p.price_minor for p in promises)),
            "used": Figure(
                sum(p.used_minor for p in promises),
                Drill({**of, "account_id": Account.USAGE_REVENUE.value}, -1),
            ),
            "broken": Figure(
                sum(p.broken_minor for p in promises), Drill({**of, "account_id__in": broken}, -1)
            ),
            "open": Figure(sum(p.closing_minor for p in promises), liability_of(promises, period)),
        }
        rows.append(Row({"sold": sold}, currency, figures))
    return Table(("sold",), ("price", "used", "broken", "open"), rows)


def _by_month_ahead(promise: PromiseState, months: Sequence[date]) -> list[int]:
    """Spread what is left of a fee over the months to come; the last one is all that is later."""
    if promise.kind != ObligationKind.FEE or promise.end_on is None:
        return [0] * len(months)
    start = max(promise.start_on or months[0], months[0])
    whole = max((promise.end_on - start).days, 1)
    parts, earned = [], 0
    for edge in months[1:]:
        done = min(max((edge - start).days, 0), whole)
        through = prorate(promise.closing_minor, Decimal(done), Decimal(whole))
        parts.append(through - earned)
        earned = through
    return [*parts, promise.closing_minor - earned]


def grouped(
    promises: Iterable[PromiseState], label: Callable[[PromiseState], str]
) -> list[tuple[tuple[str, str], list[PromiseState]]]:
    """Group promises by currency and a label, in order."""
    groups: dict[tuple[str, str], list[PromiseState]] = defaultdict(list)
    for promise in promises:
        groups[promise.currency, label(promise)].append(promise)
    return sorted(groups.items())


def _month_sold(promise: PromiseState) -> str:
    return f"{month_of(promise.sold_on)[0]:%Y-%m}"


def _of(promises: Iterable[PromiseState]) -> dict[str, object]:
    return {"obligation_id__in": [promise.obligation_id for promise in promises]}


def liability_of(promises: Iterable[PromiseState], period: AccountingPeriod) -> Drill:
    """Return the postings behind what promises still carry at a month's end."""
    return Drill({**_of(promises), "account_id__in": _LIABILITIES, **before(period.end_on)}, -1)
