"""What a proposed burn order, or proposed grant terms, would have changed."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Count, QuerySet, Sum

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import how_many
from credits.drawdown import GrantState, Use, draw_down, spend
from credits.models import BillingPeriod, CreditGrant, GrantTerms, LedgerKind, LedgerTransaction
from credits.rollover import end_of
from credits.selectors.facts import use_of
from credits.selectors.lapsed import DUE, LATE_USAGE
from credits.selectors.states import state_of_grant

_ZERO = Decimal(0)
_MOST_ROWS = 200


# What each grant of a period's customer had from before it and got until its end, whatever used it
# since. What time took is left in: grants' lives say which usage could burn them.
_HAD = """
SELECT l.grant_id, sum(l.credits)
FROM ledger_transaction l
JOIN billing_period p ON p.customer_id = l.customer_id AND p.id = ANY(%s)
LEFT JOIN rated_usage r ON r.id = l.rated_usage_id
WHERE (r.id IS NULL AND l.effective_at < p.end_at OR r.service_at < p.start_at)
  AND l.reason_code <> ALL(%s)
GROUP BY 1
"""


@effect_of("credit_policy")
def _effect_of_order(change: PolicyChange) -> Effect:
    """Burn each customer's last ended period again under the proposed order."""
    order = json.loads(change.content)["burn_order"]
    periods = list(_last_periods(change.proposed_at))
    drawn = _drawn(periods)
    burned = [period for period in periods if any(drawn[period.pk].values())]
    states = _states_before(burned, drawn)
    mixed = [one for one in burned if any(g.is_paid for g in states[one.pk].values())]
    uses = _uses(mixed)
    rows: list[EffectRow] = []
    for period in burned:
        own = states[period.pk]
        before = _paid(own, drawn[period.pk].items())
        # Where nothing is paid for, no order burns any of it: it has no uses here.
        after = _paid(own, _burn_again(own, uses.get(period.pk, ()), order))
        name, unit = period.customer.external_id, period.rate_card.pricing_unit.code
        used = sum(drawn[period.pk].values(), _ZERO)
        figures = (("Paid", before, after), ("Other", used - before, used - after))
        rows += [
            EffectRow(f"{word} credits used by {name}", period.customer_id, old, new, unit)
            for word, old, new in figures
        ]
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    basis = "Each customer's last ended billing period" + _meanwhile(change)
    grants = sum(map(len, states.values()))
    return Effect(basis, tuple(rows[:_MOST_ROWS]), len(burned), grants)


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
        f". Since {begins:%Y-%m-%d %H:%M} UTC, when it should begin: "
        f"{how_many(sums['draws'], 'draw')} of {how_many(sums['customers'], 'customer')}"
        ", made without it and left as made"
    )


def _last_periods(at: datetime) -> Iterable[BillingPeriod]:
    ended = BillingPeriod.objects.filter(end_at__lte=at).order_by("customer_id", "-end_at")
    return ended.distinct("customer_id").select_related("customer", "rate_card__pricing_unit")


def _burns(periods: Sequence[BillingPeriod]) -> QuerySet[LedgerTransaction]:
    """List what usage of the periods drew and gave back."""
    kinds = (LedgerKind.DRAWN, LedgerKind.RETURNED)
    return LedgerTransaction.objects.filter(rated_usage__billing_period__in=periods, kind__in=kinds)


def _drawn(periods: Sequence[BillingPeriod]) -> dict[int, dict[int, Decimal]]:
    """Sum what was drawn in each period and did not come back, by grant."""
    found: dict[int, dict[int, Decimal]] = defaultdict(dict)
    sums = _burns(periods).order_by().values_list("rated_usage__billing_period_id", "grant_id")
    for period_id, grant_id, total in sums.annotate(total=Sum("credits")):
        if total:
            found[period_id][grant_id] = -total
    return found


def _states_before(
    periods: Sequence[BillingPeriod], drawn: Mapping[int, Mapping[int, Decimal]]
) -> dict[int, dict[int, GrantState]]:
    """Return the grants of each period with what could be burned of them in it."""
    with connection.cursor() as cursor:
        cursor.execute(_HAD, [[one.pk for one in periods], [DUE, LATE_USAGE]])
        had = dict(cursor.fetchall())
    by_place: dict[tuple[int, int], list[CreditGrant]] = defaultdict(list)
    customers = [one.customer_id for one in periods]
    for grant in CreditGrant.objects.filter(customer__in=customers).select_related("origin"):
        by_place[grant.customer_id, grant.pricing_unit_id].append(grant)
    found: dict[int, dict[int, GrantState]] = {}
    for period in periods:
        own = found[period.pk] = {}
        for grant in by_place[period.customer_id, period.rate_card.pricing_unit_id]:
            used = drawn[period.pk].get(grant.pk, _ZERO)
            most = max(had.get(grant.pk, _ZERO), used)
            if most > 0:
                own[grant.pk] = state_of_grant(grant, most)
    return found


def _uses(periods: Sequence[BillingPeriod]) -> dict[int, list[tuple[Use, Decimal]]]:
    """Return what grants paid of each period's usage in the end, in the order of its burns."""
    by_id = {one.pk: one for one in periods}
    stacks: dict[tuple[int, int | None, str], list[tuple[int, Use, Decimal]]] = defaultdict(list)
    for burn in _burns(periods).select_related("rated_usage__window__meter").order_by("position"):
        rated = burn.rated_usage
        assert rated is not None, "drawn by usage"
        place = rated.window.workspace_id, rated.window.meter.code
        use = use_of(rated.service_at, by_id[rated.billing_period_id], place)
        stack = stacks[rated.billing_period_id, *place]
        if burn.credits < 0:
            stack.append((burn.position, use, -burn.credits))
        else:
            _take_back(stack, burn.credits)
    kept: dict[int, list[tuple[int, Use, Decimal]]] = defaultdict(list)
    for (period_id, _, _), stack in stacks.items():
        kept[period_id] += stack
    return {
        period_id: [(use, amount) for _, use, amount in sorted(rows, key=lambda row: row[0])]
        for period_id, rows in kept.items()
    }


def _take_back(stack: list[tuple[int, Use, Decimal]], amount: Decimal) -> None:
    """Take what came back off the newest draws of its stack, as rating did."""
    while amount and stack:
        position, use, drawn = stack.pop()
        if drawn > amount:
            stack.append((position, use, drawn - amount))
        amount -= min(amount, drawn)


def _burn_again(
    states: Mapping[int, GrantState], uses: Iterable[tuple[Use, Decimal]], order: Sequence[str]
) -> Iterable[tuple[int, Decimal]]:
    left = dict(states)
    for use, amount in uses:
        result = draw_down(amount, left.values(), use, order)
        spend(left, result.parts)
        yield from ((part.grant_id, part.credits) for part in result.parts)


def _paid(states: Mapping[int, GrantState], burns: Iterable[tuple[int, Decimal]]) -> Decimal:
    return sum((part for pk, part in burns if pk in states and states[pk].is_paid), _ZERO)
