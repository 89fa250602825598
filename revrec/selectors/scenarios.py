"""What scenarios are made of: terms and rates of any proposal, and usage priced by them.

What simulates changes of rates applies them, usage by usage; nothing is rated by asking.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import PolicyChange, PolicyStatus
from credits.mixes import Mix, ModelUse, so_far, uses_of
from credits.models import GrantCategory, LedgerTransaction, RateCard, SupplierRate
from credits.selectors.governing import governing_rate_card_version
from credits.selectors.repricing import Layer, Used, last_spans, layer_of, priced, used_by_day
from credits.selectors.supplier_rates import dearest_at
from credits.supplier_prices import TokenKind, token_kind_of
from invoicing.models import Plan
from invoicing.plan_worth import Usage, Worth
from invoicing.selectors.plan_effects import last_periods, usage_of, worth_in
from metering.aggregation import dimensions_key
from metering.models import Aggregation, Customer, Meter, MeterVersion, UsageWindow
from revrec.scenario import Workload

_ZERO = Decimal(0)
_DEAD = (PolicyStatus.REJECTED, PolicyStatus.WITHDRAWN)
_MONTH_DAYS, _MOST_DAYS = 30, 366
_TRAFFIC = timedelta(days=30)
Prices = Mapping[tuple[str, str], SupplierRate]


@dataclass(frozen=True)
class Terms:
    """A plan's terms as a change proposes or proposed them."""

    change: PolicyChange
    worth: Worth
    card: RateCard
    days: int  # Of one period.

    @property
    def name(self) -> str:
        """Tell it apart: "Scale v2, draft"."""
        return name_of(self.change)


def changes_of(kind: str) -> list[PolicyChange]:
    """List the versions of a kind that stand or may come to stand, drafts too, the newest first."""
    return list(PolicyChange.objects.filter(kind=kind).exclude(status__in=_DEAD).order_by("-pk"))


def name_of(change: PolicyChange) -> str:
    """Name a change by what it is about, its number and where it stands."""
    content = json.loads(change.content)
    what = content.get("plan") or content.get("rate_card") or change.kind
    number = f" v{content['number']}" if content.get("number") else ""
    return f"{what}{number}, {change.status}"


def terms_of(change: PolicyChange) -> Terms:
    """Read the terms of a change of kind "plan".

    Raises:
        Invalid: a draft that says no terms yet.
    """
    content = json.loads(change.content)
    try:
        worth = worth_in(content)
        card = RateCard.objects.select_related("pricing_unit").get(code=content["rate_card"])
        count, unit = content["interval"].split(" ")
        days = int(count) * (1 if unit.startswith("day") else _MONTH_DAYS)
    except (
        KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RateCard.DoesNotExist,
    ) as error:  # fmt: skip
        raise Invalid(f"{change.title} says no terms yet: {error}", field="plan") from error
    plan = Plan.objects.filter(code=content["plan"]).first()
    named = replace(worth, name=plan.name if plan else content["plan"], unit=card.pricing_unit.code)
    return Terms(change, named, card, min(max(days, 1), _MOST_DAYS))


def layers_for(card: RateCard, rates: PolicyChange | None, at: datetime) -> list[Layer]:
    """Return the rates of a change of kind "rate_card", or those of a card in force.

    Raises:
        Invalid: a draft that says no rates yet or rates in another unit than the card's, or a card
            without a version in force.
    """
    if rates is None:
        version = governing_rate_card_version(card, at)
        if version is None:
            raise Invalid(f"{card.code} has no rates in force", field="rates")
        return [layer_of(version)]
    content = json.loads(rates.content)
    of = RateCard.objects.filter(code=str(content.get("rate_card"))).first()
    if of is not None and of.pricing_unit_id != card.pricing_unit_id:
        raise Invalid(f"{rates.title} is in another unit than {card.code}", field="rates")
    try:
        return [Layer(content["rates"])]
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Invalid(f"{rates.title} says no rates yet: {error}", field="rates") from error


def prices_for(terms: Terms, at: datetime) -> Prices:
    """Return suppliers' prices in the currency of a plan; the dearest where several sell."""
    return dearest_at(at, terms.worth.currency)


def models_in_use(at: datetime) -> tuple[tuple[str, Decimal], ...]:
    """Return the models of the last 30 days' usage with their tokens, the most used first."""
    windows = UsageWindow.objects.filter(start_at__gte=at - _TRAFFIC, start_at__lt=at)
    rows = windows.order_by().values_list(
        "meter__code", "dimensions__model", "dimensions__token_kind"
    )
    found: dict[str, Decimal] = defaultdict(Decimal)
    for code, model, kind, amount in rows.annotate(Sum("quantity")):
        if model and amount > 0 and token_kind_of(code, {"token_kind": kind} if kind else {}):
            found[model] += amount
    return tuple(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def workload_of_mix(mix: Mix, terms: Terms, layers: Sequence[Layer], prices: Prices) -> Workload:
    """Price a mix: its tokens as usage of the meters that there are, day by day."""
    meters = _meters()
    uses = uses_of(mix)
    whole = [used for use in uses for used in _used(use, meters)]
    split = [(used, so_far(int(used.quantity), terms.days, mix.shape)) for used in whole]
    reached = [
        [replace(used, quantity=Decimal(parts[day])) for used, parts in split]
        for day in range(terms.days)
    ]
    tokens = sum(count for use in uses for _, count in use.tokens)
    kinds = [(use.model, kind, Decimal(count)) for use in uses for kind, count in use.tokens]
    cost, uncosted = _cost(kinds, prices)
    return Workload(
        name=mix.name,
        so_far=tuple(_charge(used, layers) for used in reached),
        cost=cost,
        calls=mix.calls,
        tokens=tokens,
        uncosted=uncosted,
        unrated=_unrated(whole, layers),
    )


def workload_of_customer(
    customer: Customer, terms: Terms, layers: Sequence[Layer], prices: Prices, at: datetime
) -> Workload:
    """Price a customer's last complete period (or last 30 days) again; see `workloads_of`."""
    (found,) = workloads_of([customer], terms, layers, prices, at)
    return found


def workloads_of(
    customers: Sequence[Customer],
    terms: Terms,
    layers: Sequence[Layer],
    prices: Prices,
    at: datetime,
) -> Iterator[Workload]:
    """Price customers' last complete periods (or last 30 days) again, day by day.

    What other grants paid then stays paid, in credits of the same unit.
    """
    spans = last_spans([customer.pk for customer in customers], at)
    usage = used_by_day(spans)
    as_it_was = _as_it_was(customers, terms, at)
    for customer in customers:
        whole, reached = _cumulated(usage[customer.pk], layers)
        costed = [(used, token_kind_of(used.meter_code, used.dimensions)) for used in whole]
        kinds = [(u.dimensions.get("model") or "", kind, u.quantity) for u, kind in costed if kind]
        cost, uncosted = _cost(kinds, prices)
        then, paid_cost = as_it_was.get(customer.pk, (Usage(_ZERO, _ZERO), _ZERO))
        yield Workload(
            name=customer.external_id,
            so_far=reached,
            cost=cost,
            paid_otherwise=then.paid_otherwise,
            paid_cost=paid_cost,
            seats=then.seats,
            index=then.index,
            tokens=int(sum((quantity for _, _, quantity in kinds), _ZERO)),
            uncosted=uncosted,
            unrated=_unrated(whole, layers),
        )


def _cumulated(
    days: Sequence[Sequence[Used]], layers: Sequence[Layer]
) -> tuple[list[Used], tuple[Decimal, ...]]:
    """Return all usage together, and what it had cost in credits by the end of each day."""
    total: dict[tuple[str, int | None, str], Used] = {}
    reached = []
    for day in days:
        for used in day:
            key = (used.meter_code, used.workspace_id, used.dimensions_key)
            before = total[key].quantity if key in total else _ZERO
            total[key] = replace(used, quantity=before + used.quantity)
        reached.append(_charge(list(total.values()), layers))
    return list(total.values()), tuple(reached)


def _as_it_was(
    customers: Sequence[Customer], terms: Terms, at: datetime
) -> dict[int, tuple[Usage, Decimal]]:
    """Return last periods in the same unit: seats, other grants, what drawn paid credits cost."""
    ids = {customer.pk for customer in customers}
    periods = [
        period
        for period in last_periods(at)
        if period.customer_id in ids
        and period.rate_card.pricing_unit_id == terms.card.pricing_unit_id
    ]
    draws = LedgerTransaction.objects.filter(
        rated_usage__billing_period__in=periods,
        grant__category=GrantCategory.PAID,
        grant__currency=terms.worth.currency,
    )
    paid = dict(draws.order_by().values_list("customer_id").annotate(Sum("cost_unrounded")))
    usage = usage_of(periods)
    return {
        period.customer_id: (usage[period.pk], -(paid.get(period.customer_id) or _ZERO))
        for period in periods
    }


def _meters() -> list[tuple[Meter, MeterVersion]]:
    """List meters that add up, each with its newest version."""
    adding = MeterVersion.objects.filter(
        meter__aggregation__in=[Aggregation.SUM, Aggregation.COUNT]
    ).select_related("meter")
    newest = adding.order_by("meter_id", "-number").distinct("meter_id")
    return [(version.meter, version) for version in newest]


def _used(use: ModelUse, meters: Iterable[tuple[Meter, MeterVersion]]) -> Iterable[Used]:
    """Say a model's tokens and calls as meters would count them; a meter of neither counts none."""
    for meter, version in meters:
        names = version.dimensions
        own = token_kind_of(meter.code, {})
        if own is not None:
            yield from _counted(use, meter, names, {own: {}})
        elif "token_kind" in names:
            yield from _counted(use, meter, names, {k: {"token_kind": k.value} for k in TokenKind})
        elif meter.unit in {"request", "call"} and use.calls:
            yield _as_used(meter, names, {"model": use.model}, use.calls)


def _counted(
    use: ModelUse, meter: Meter, names: Sequence[str], kinds: Mapping[TokenKind, dict[str, str]]
) -> Iterable[Used]:
    for kind, count in use.tokens:
        if kind in kinds and count:
            yield _as_used(meter, names, {"model": use.model, **kinds[kind]}, count)


def _as_used(meter: Meter, names: Sequence[str], said: dict[str, str], count: int) -> Used:
    known = {name: value for name, value in said.items() if name in names}
    return Used(meter.code, None, "", dimensions_key(known), known, Decimal(count))


def _charge(usage: Sequence[Used], layers: Sequence[Layer]) -> Decimal:
    return sum((one.charge.total for one in priced(usage, layers)), _ZERO)


def _cost(
    kinds: Iterable[tuple[str, TokenKind, Decimal]], prices: Prices
) -> tuple[Decimal, tuple[str, ...]]:
    """Sum what tokens cost the supplier's customer, us; name those that have no price."""
    cost, missing = _ZERO, set()
    for model, kind, quantity in kinds:
        price = prices.get((model, kind.value))
        if price is not None:
            cost += quantity * price.unit_price
        elif quantity:
            missing.add(f"{model or 'no model'} {kind.value}")
    return cost, tuple(sorted(missing))


def _unrated(usage: Iterable[Used], layers: Sequence[Layer]) -> tuple[str, ...]:
    missing: dict[str, set[str]] = defaultdict(set)
    for used in usage:
        if not any(layer.match(used) for layer in layers):
            missing[used.meter_code].add(str(used.dimensions.get("model") or ""))
    return tuple(f"{code} {', '.join(sorted(names))}".strip() for code, names in missing.items())
