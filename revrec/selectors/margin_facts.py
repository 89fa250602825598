"""The facts behind margins of a month: revenue by customer and day, costs, charges, plans."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Q, Sum

from billing_project.kernel.period import Period
from credits.selectors.supplier_costs import DayCost, cost_currency, costs_by_day
from invoicing.models import Subscription
from invoicing.selectors.plans import plan_version_now
from revrec.margins import Exchange
from revrec.models import AccountingPeriod, Posting
from revrec.posting import REVENUE
from revrec.schedule import start_of
from revrec.selectors.exchange import DayRates
from revrec.selectors.zone import books_zone

NOBODY = "(no customer)"
_CODES = [account.value for account in REVENUE]
_CHARGES = """
SELECT r.customer_id, w.workspace_id, coalesce(w.dimensions->>'model', ''), sum(r.charge)
  FROM rated_usage r JOIN usage_window w ON w.id = r.window_id
 WHERE r.service_at >= %s AND r.service_at < %s
 GROUP BY 1, 2, 3
"""


@dataclass(frozen=True)
class DayRevenue:
    """What one customer's postings on revenue accounts come to on a day of the books.

    Attributes:
        model: Whose use was earned; None where postings name none: fees, breakage, notes.
    """

    customer_id: int | None
    day: date
    currency: str
    amount_minor: int
    model: str | None = None


@dataclass(frozen=True)
class OwnCost:
    """What usage of a customer cost, in the currency of their revenue of that month.

    Attributes:
        cost: Major units of `currency`, exact.
        rate: By which it was exchanged; None where it was not.
        lacking: The currency that it should be in, where no rate of its day is approved; it stays
            in the suppliers' then.
    """

    of: DayCost
    cost: Decimal
    currency: str
    rate: Exchange | None = None
    lacking: str = ""


@dataclass(frozen=True)
class MarginFacts:
    """All of a month. `cost_currency` is that of suppliers' prices."""

    revenue: tuple[DayRevenue, ...]
    costs: tuple[OwnCost, ...]
    charges: dict[tuple[int, int | None, str], Decimal]  # Customer, workspace, model: credits.
    cost_currency: str

    @property
    def is_whole(self) -> bool:
        """Tell whether all usage had a supplier's price."""
        return all(one.of.is_priced for one in self.costs)


def margin_facts(period: AccountingPeriod) -> MarginFacts:
    """Read a month: revenue by its day in the books, usage by its hour."""
    span = _span(period.start_on, period.end_on)
    currency = cost_currency()
    with connection.cursor() as cursor:
        cursor.execute(_CHARGES, [span.start, span.end])
        charges = {(who, place, model): sum_ for who, place, model, sum_ in cursor.fetchall()}
    revenue = tuple(_revenue(period.start_on, period.end_on))
    costs = _exchanged(costs_by_day(span, currency, zone=books_zone()), revenue, currency)
    return MarginFacts(revenue, costs, charges, currency)


def margin_facts_of(customer_id: int, start_on: date, end_on: date) -> MarginFacts:
    """Read the same of one customer and any days, end exclusive; without what was charged."""
    currency = cost_currency()
    revenue = tuple(_revenue(start_on, end_on, Q(customer=customer_id)))
    span = _span(start_on, end_on)
    costs = costs_by_day(span, currency, customer_id, zone=books_zone())
    return MarginFacts(revenue, _exchanged(costs, revenue, currency), {}, currency)


def _exchanged(
    costs: Sequence[DayCost], revenue: Iterable[DayRevenue], currency: str
) -> tuple[OwnCost, ...]:
    """Bring each cost into the currency of its customer's revenue, by the rate of its day."""
    if not costs:
        return ()
    wanted = _currencies(revenue, currency)
    days = [one.day for one in costs]
    rates: dict[str, DayRates] = {}
    found = []
    for one in costs:
        other = wanted.get((one.customer_id, one.day.replace(day=1)), currency)
        if other == currency:
            found.append(OwnCost(one, one.cost, currency))
            continue
        if other not in rates:
            rates[other] = DayRates(currency, other, min(days), max(days) + timedelta(days=1))
        rate = rates[other].on(one.day)
        if rate is None:
            found.append(OwnCost(one, one.cost, currency, lacking=other))
        else:
            found.append(OwnCost(one, rate.of(one.cost), other, rate))
    return tuple(found)


def _currencies(revenue: Iterable[DayRevenue], currency: str) -> dict[tuple[int, date], str]:
    """Say in which currency each customer's revenue of a month is; of several the newest day's.

    Of several of that day it is the suppliers', so that as little as possible is exchanged.
    """
    ordered = sorted(revenue, key=lambda one: (one.day, one.currency == currency, one.currency))
    return {
        (one.customer_id, one.day.replace(day=1)): one.currency
        for one in ordered
        if one.customer_id is not None and one.amount_minor
    }


def _span(start_on: date, end_on: date) -> Period:
    zone = books_zone()
    return Period(start_of(start_on, zone), start_of(end_on, zone))


def _revenue(start_on: date, end_on: date, whose: Q | None = None) -> Iterator[DayRevenue]:
    rows = Posting.objects.filter(
        whose or Q(),
        account_id__in=_CODES,
        entry__effective_on__gte=start_on,
        entry__effective_on__lt=end_on,
    ).values_list("customer_id", "entry__effective_on", "currency", "model")
    for who, day, code, model, total in rows.annotate(total=Sum("amount_minor")).order_by():
        yield DayRevenue(who, day, code, -total, model)


def plans_at(customer_ids: Collection[int], day: date) -> dict[int, str]:
    """Return the plan that each customer had at the end of a day; none is left out."""
    at = start_of(day, books_zone())
    sold = Subscription.objects.filter(customer_id__in=customer_ids, start_at__lt=at)
    sold = sold.select_related("plan_version__plan").prefetch_related("changes__plan_version__plan")
    found: dict[int, str] = defaultdict(str)
    for subscription in sold.order_by("start_at", "pk"):
        found[subscription.customer_id] = plan_version_now(subscription, at).plan.code
    return dict(found)
