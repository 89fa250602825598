"""What a proposed version of a plan would have made of its subscribers' last periods."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.money import Money
from credits.models import (
    BillingPeriod,
    CreditGrant,
    GrantCategory,
    LedgerTransaction,
    RateCard,
    RatedUsage,
)
from credits.selectors.governing import governing_rate_card_version
from credits.selectors.repricing import last_spans, layer_of, priced, used_in
from invoicing.items import Item
from invoicing.models import PlanVersion, SeatChange, Subscription
from invoicing.plan_worth import Bill, Usage, Worth, period_bill
from invoicing.selectors.plans import items_of, plan_version_now

BASIS = (
    "Fees, seats, discounts, commit and overage of each subscriber's last complete billing period,"
    " with other grants as they paid then, seats as at its end and a commit's share of one period;"
    " who is subscribed keeps the terms they bought"
)
_ZERO = Decimal(0)
_PARTS = {
    "fees": "Fees", "seats": "Seats", "overage": "Overage", "discounts": "Discounts",
    "commit": "Missing to the commit",
}  # fmt: skip
_SOLD = "subscription:"  # How keys of periods begin that a subscription opened.


@effect_of("plan")
def of_plan(change: PolicyChange) -> Effect:
    """Bill each subscriber's last period again, by their terms and by the proposed ones."""
    content = json.loads(change.content)
    periods = _compared_with(content, change.proposed_at)
    usage = usage_of(periods)
    again = _repriced(content, periods, usage, change)
    proposed = worth_in(content)
    compared = [
        (period, period_bill(worth_of(version), usage[period.pk]),
         period_bill(proposed, again[period.pk]))
        for period, version in periods.items()
        if version.currency == proposed.currency
    ]  # fmt: skip
    customers = {period.customer_id for period in periods}
    grants = CreditGrant.objects.filter(
        customer_id__in=customers, category=GrantCategory.INCLUDED, remaining__gt=0
    ).count()
    basis = BASIS + _interval(content, periods.values())
    return Effect(basis, charges_of(compared), len(customers), grants)


def _compared_with(content: Mapping[str, Any], at: datetime) -> dict[BillingPeriod, PlanVersion]:
    """Return the periods of whom the terms are for: one customer, or who has no terms of their own.

    One customer's own terms are compared with whatever plan they have.
    """
    own = content.get("customer", "")
    if own:
        found = last_periods(at)
        return {period: v for period, v in found.items() if period.customer.external_id == own}
    found = last_periods(at, content["plan"])
    return {period: version for period, version in found.items() if version.customer_id is None}


def charges_of(compared: Iterable[tuple[BillingPeriod, Bill, Bill]]) -> tuple[EffectRow, ...]:
    """Write what periods come to before and after, each with its parts; the largest first."""
    found = sorted(
        compared,
        key=lambda one: (
            -abs(one[2].total.amount_minor - one[1].total.amount_minor),
            str(one[0].pk),
        ),
    )
    return tuple(row for one in found for row in _rows(*one))


def _rows(period: BillingPeriod, old: Bill, new: Bill) -> Iterator[EffectRow]:
    subject = f"Charges of {period.customer.external_id}"

    def row(name: str, before: Money, after: Money, part_of: str = "") -> EffectRow:
        return EffectRow(
            name, period.customer_id, before.decimal, after.decimal, old.currency, part_of
        )

    yield row(subject, old.total, new.total)
    for part, name in _PARTS.items():
        before, after = (Money(getattr(bill, part), bill.currency) for bill in (old, new))
        if before.amount_minor or after.amount_minor:
            yield row(name, before, after, subject)


def _interval(content: Mapping[str, Any], versions: Iterable[PlanVersion]) -> str:
    """Say that the fees are of stretches of another length, where they are."""
    known = {f"{version.interval_count} {version.interval_unit}" for version in versions}
    others = sorted(known - {content["interval"]})
    if not others:
        return ""
    return f". The proposed fee is for {content['interval']}, theirs for {' or '.join(others)}"


def last_periods(at: datetime, plan: str = "") -> dict[BillingPeriod, PlanVersion]:
    """Return the last complete period of each running subscription, with its terms.

    Args:
        plan: Only of subscriptions that were of this plan then.
    """
    sold = Subscription.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), start_at__lte=at)
    if plan:
        sold = sold.filter(
            Q(plan_version__plan__code=plan) | Q(changes__plan_version__plan__code=plan)
        ).distinct()
    sold = sold.select_related("plan_version__plan").prefetch_related("changes__plan_version__plan")
    by_customer = {one.customer_id: one for one in sold}
    ended = BillingPeriod.objects.filter(customer_id__in=by_customer, end_at__lte=at)
    last = ended.order_by("customer_id", "-end_at").distinct("customer_id")
    found = {}
    for period in last.select_related("customer", "rate_card__pricing_unit"):
        subscription = by_customer[period.customer_id]
        version = plan_version_now(subscription, period.start_at)
        is_of_it = period.source_key.startswith(f"{_SOLD}{subscription.pk}:")
        if is_of_it and plan in ("", version.plan.code):
            found[period] = version
    return found


def usage_of(periods: Collection[BillingPeriod]) -> dict[int, Usage]:
    """Return what each period used, with its seats and its place in the subscription."""
    return _placed(_used(periods), periods)


def _used(periods: Collection[BillingPeriod]) -> dict[int, Usage]:
    """Return what periods were charged in credits, and what grants beside the plan paid of it."""
    charged = dict(
        RatedUsage.objects.filter(billing_period__in=periods)
        .order_by()
        .values_list("billing_period_id")
        .annotate(Sum("charge"))
    )
    other = LedgerTransaction.objects.filter(rated_usage__billing_period__in=periods).exclude(
        grant__category=GrantCategory.INCLUDED
    )
    paid = dict(
        other.order_by().values_list("rated_usage__billing_period_id").annotate(Sum("credits"))
    )
    return {
        period.pk: Usage(charged.get(period.pk) or _ZERO, -(paid.get(period.pk) or _ZERO))
        for period in periods
    }


def _repriced(
    content: Mapping[str, Any],
    periods: Collection[BillingPeriod],
    usage: Mapping[int, Usage],
    change: PolicyChange,
) -> dict[int, Usage]:
    """Price the usage of periods of another rate card by the proposed plan's one."""
    card = RateCard.objects.get(code=content["rate_card"])
    version = governing_rate_card_version(card, change.effective_at)
    others = [period for period in periods if period.rate_card_id != card.pk]
    again = dict(usage)
    if version is None or not others:
        return again
    layer = layer_of(version)
    spans = last_spans([period.customer_id for period in others], change.proposed_at)
    used = used_in(spans)
    for period in others:
        charge = sum((o.charge.total for o in priced(used[period.customer_id], [layer])), _ZERO)
        # Credits of another unit pay nothing of it.
        same = period.rate_card.pricing_unit_id == card.pricing_unit_id
        paid = usage[period.pk].paid_otherwise if same else _ZERO
        again[period.pk] = replace(usage[period.pk], charge=charge, paid_otherwise=paid)
    return again


def _placed(usage: Mapping[int, Usage], periods: Collection[BillingPeriod]) -> dict[int, Usage]:
    """Add the seats at each period's end, and which of its subscription's periods it is."""
    keys = {period.pk: _subscription_of(period.source_key) for period in periods}
    seats: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for row in SeatChange.objects.filter(subscription_id__in=keys.values()):
        seats[row.subscription_id].append((row.effective_at, row.seats))
    customers = [period.customer_id for period in periods]
    opened = BillingPeriod.objects.filter(customer_id__in=customers, source_key__startswith=_SOLD)
    starts: dict[int, list[datetime]] = defaultdict(list)
    for key, start in opened.values_list("source_key", "start_at"):
        starts[_subscription_of(key)].append(start)
    found = {}
    for period in periods:
        own = keys[period.pk]
        found[period.pk] = replace(
            usage[period.pk],
            seats=sum(more for at, more in seats[own] if at < period.end_at),
            index=sum(start < period.start_at for start in starts[own]),
        )
    return found


def _subscription_of(source_key: str) -> int:
    """Read "subscription:9:2026-11-01T…"."""
    return int(source_key.split(":")[1])


def _item(content: Mapping[str, Any]) -> Item:
    words = dict(content)
    for name in ("percent", "credits"):
        if words.get(name) is not None:
            words[name] = Decimal(words[name])
    words["kinds"] = tuple(words.get("kinds", ()))
    return Item(**words)


def worth_in(content: Mapping[str, Any]) -> Worth:
    """Return the terms that the content of a proposal says."""
    return Worth(
        content["currency"], content["fee_minor"], Decimal(content["included_credits"]),
        Decimal(content["overage_price"]), tuple(map(_item, content.get("items", ()))),
    )  # fmt: skip


def worth_of(version: PlanVersion) -> Worth:
    """Return the terms of a plan version that decide what a period comes to."""
    return Worth(
        version.currency, version.fee_minor, version.included_credits,
        version.overage_price_unrounded, tuple(items_of(version)),
    )  # fmt: skip
