"""What a proposed burn order, or proposed grant terms, would have changed."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Q, QuerySet, Sum

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from credits.drawdown import GrantState, Use, draw_down, spend
from credits.models import BillingPeriod, CreditGrant, GrantTerms, LedgerKind, LedgerTransaction
from credits.rollover import end_of
from credits.selectors.facts import use_of
from credits.selectors.lapsed import DUE, LATE_USAGE
from credits.selectors.states import state_of_grant

_ZERO = Decimal(0)
_MOST_ROWS = 200


@effect_of("credit_policy")
def _effect_of_order(change: PolicyChange) -> Effect:
    """Burn each customer's last ended period again under the proposed order."""
    order = json.loads(change.content)["burn_order"]
    rows: list[EffectRow] = []
    customers, grants = 0, 0
    for period in _last_periods(change.proposed_at):
        drawn = _drawn(period)
        if not drawn:
            continue
        states = _states_before(period, drawn)
        before = _paid(states, drawn.items())
        after = before  # Nothing that was paid for: no order burns any of it.
        if any(state.is_paid for state in states.values()):
            after = _paid(states, _burn_again(states, _draws(period), period, order))
        customers, grants = customers + 1, grants + len(states)
        name = period.customer.external_id
        unit = period.rate_card.pricing_unit.code
        used = sum(drawn.values(), _ZERO)
        rows.append(
            EffectRow(f"Paid credits used by {name}", period.customer_id, before, after, unit)
        )
        rows.append(
            EffectRow(
                f"Other credits used by {name}", period.customer_id, used - before,
                used - after, unit,
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    basis = "Each customer's last ended billing period" + _meanwhile(change)
    return Effect(basis, tuple(rows[:_MOST_ROWS]), customers, grants)


@effect_of("grant_terms")
def _effect_of_terms(change: PolicyChange) -> Effect:
    """End the grants of the version in force again, by what the proposed one rolls over."""
    content = json.loads(change.content)
    value = content["rollover_value"]
    newest = GrantTerms.objects.filter(code=content["code"], number__lt=content["number"])
    given = CreditGrant.objects.filter(
        terms__in=newest, origin=None, expires_at__lte=change.proposed_at
    ).select_related("customer", "pricing_unit", "terms")
    sums: dict[tuple[int, str, str], list[Decimal]] = defaultdict(lambda: [_ZERO, _ZERO])
    count = 0
    for grant in given:
        ends = grant.transactions.filter(kind__in=[LedgerKind.EXPIRED, LedgerKind.ROLLED_OVER])
        left = sum((-entry.credits for entry in ends), _ZERO)
        assert grant.terms is not None
        key = (grant.customer_id, grant.customer.external_id, grant.pricing_unit.code)
        old = end_of(left, grant.terms.rollover, grant.terms.rollover_value)
        new = end_of(left, content["rollover"], Decimal(value) if value else None)
        sums[key][0] += old.rolled
        sums[key][1] += new.rolled
        count += 1
    rows = [
        EffectRow(f"Rolled over for {name}", customer_id, before, after, unit)
        for (customer_id, name, unit), (before, after) in sums.items()
    ]
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    return Effect(
        "Grants of earlier versions that have ended; those keep their own terms",
        tuple(rows[:_MOST_ROWS]),
        len({row.customer_id for row in rows}),
        count,
    )


def _meanwhile(change: PolicyChange) -> str:
    """Say what was burned since the change should begin: approved now, it moves none of that."""
    begins = change.effective_at
    drawn = LedgerTransaction.objects.filter(
        kind=LedgerKind.DRAWN, rated_usage__service_at__gte=begins
    )
    sums = drawn.aggregate(draws=Count("pk"), customers=Count("customer", distinct=True))
    if not sums["draws"]:
        return ""
    return (
        f". Since {begins:%Y-%m-%d %H:%M} UTC, when it should begin, {sums['draws']} draws of"
        f" {sums['customers']} customers were made without it: they stay"
    )


def _last_periods(at: datetime) -> Iterable[BillingPeriod]:
    ended = BillingPeriod.objects.filter(end_at__lte=at).order_by("customer_id", "-end_at")
    return ended.distinct("customer_id").select_related("customer", "rate_card__pricing_unit")


def _draws(period: BillingPeriod) -> QuerySet[LedgerTransaction]:
    return (
        LedgerTransaction.objects.filter(
            customer_id=period.customer_id,
            kind=LedgerKind.DRAWN,
            rated_usage__billing_period=period,
        )
        .select_related("rated_usage__window__meter", "grant__origin")
        .order_by("position")
    )


def _drawn(period: BillingPeriod) -> dict[int, Decimal]:
    """Sum what was drawn in the period, by grant."""
    sums = _draws(period).order_by().values_list("grant_id").annotate(total=Sum("credits"))
    return {grant_id: -total for grant_id, total in sums}


def _states_before(period: BillingPeriod, drawn: Mapping[int, Decimal]) -> dict[int, GrantState]:
    """Return the grants of the period with what could be burned of them in it.

    That is what they had from before it and got until its end, whatever used it since. What time
    took is left in: their lives say which usage could burn it.
    """
    moves = LedgerTransaction.objects.filter(
        Q(rated_usage=None, effective_at__lt=period.end_at)
        | Q(rated_usage__service_at__lt=period.start_at),
        customer_id=period.customer_id,
    ).exclude(reason_code__in=(DUE, LATE_USAGE))
    had = dict(moves.order_by().values_list("grant_id").annotate(Sum("credits")))
    grants = CreditGrant.objects.filter(
        customer_id=period.customer_id, pricing_unit=period.rate_card.pricing_unit_id
    ).select_related("origin")
    burnable = {
        grant: max(had.get(grant.pk, _ZERO), drawn.get(grant.pk, _ZERO)) for grant in grants
    }
    return {grant.pk: state_of_grant(grant, most) for grant, most in burnable.items() if most > 0}


def _burn_again(
    states: dict[int, GrantState],
    draws: Iterable[LedgerTransaction],
    period: BillingPeriod,
    order: Sequence[str],
) -> Iterable[tuple[int, Decimal]]:
    left = dict(states)
    for draw in draws:
        result = draw_down(-draw.credits, left.values(), _use(draw, period), order)
        spend(left, result.parts)
        yield from ((part.grant_id, part.credits) for part in result.parts)


def _use(draw: LedgerTransaction, period: BillingPeriod) -> Use:
    rated = draw.rated_usage
    assert rated is not None, "drawn by usage"
    return use_of(rated.service_at, period, (rated.window.workspace_id, rated.window.meter.code))


def _paid(states: dict[int, GrantState], burns: Iterable[tuple[int, Decimal]]) -> Decimal:
    return sum((part for pk, part in burns if pk in states and states[pk].is_paid), _ZERO)
