"""A customer's facts as they were stored, in the order in which they became known."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter

from django.db import connection

from credits.history import RatedWindow
from credits.models import (
    BillingPeriod,
    ClawBack,
    CreditGrant,
    CreditPolicy,
    LedgerKind,
    LedgerTransaction,
    RatedUsage,
)
from credits.replay_facts import ClawBackFact, EntryFact, GrantFact, RatedFact
from credits.selectors.facts import Rulebook, scope_of, stack_of, use_of
from credits.selectors.states import state_of_grant
from credits.tariff import Tier

_COVERS, _GRANT = ":covers:", ":grant:"


@dataclass(frozen=True)
class Recorded:
    """What is stored of one customer's credits."""

    grants: tuple[GrantFact, ...]
    facts: tuple[RatedFact | EntryFact | ClawBackFact, ...]  # By position.


def recorded_of(customer_id: int, rules: Rulebook) -> Recorded:
    """Read a customer's grants and facts; what usage caused is with its row of rated usage."""
    entries = LedgerTransaction.objects.filter(customer_id=customer_id).select_related("grant")
    causes: dict[str, list[LedgerTransaction]] = defaultdict(list)
    own: list[EntryFact] = []
    orders: dict[str, int] = {}
    for entry in entries.order_by("position"):
        cause = _cause_of(entry)
        if cause is None:
            own.append(_entry(entry))
        else:
            causes[cause].append(entry)
            if entry.credit_policy_id is not None:
                orders.setdefault(cause, entry.credit_policy_id)
    rated = _rated(customer_id, rules, causes, orders)
    grants = CreditGrant.objects.filter(customer_id=customer_id).order_by("pk")
    grants = grants.select_related("origin", "terms")
    facts: list[RatedFact | EntryFact | ClawBackFact] = [
        *own,
        *rated,
        *_claw_backs(customer_id, grants),
    ]
    facts.sort(key=attrgetter("position"))
    return Recorded(tuple(_grant(grant) for grant in grants), tuple(facts))


def facts_of_before() -> int:
    """Return the last position that was given to facts which had none when they became known."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT obj_description('credit_fact_position'::regclass)")
        (noted,) = cursor.fetchone()
    return int(noted or 0)


def _cause_of(entry: LedgerTransaction) -> str | None:
    """Return the source key of the rated usage that an entry was written because of."""
    key = entry.source_key
    if entry.kind == LedgerKind.GRANTED and entry.grant.origin_id is not None:
        key = entry.grant.source_key  # Credits that came back too late are in a grant of their own.
    if key.startswith("window:") and _GRANT in key:  # "window:9:r2:grant:4:ended"
        return key.partition(_GRANT)[0]
    return None


def _claw_backs(customer_id: int, grants: Iterable[CreditGrant]) -> Iterator[ClawBackFact]:
    sold = {grant.source_key: grant.pk for grant in grants}
    for row in ClawBack.objects.filter(customer_id=customer_id, follows=None):
        yield ClawBackFact(
            f"claw_back:{row.pk}", row.position, sold[row.purchase_key], row.credits,
            row.recorded_at,
        )  # fmt: skip


def _rated(
    customer_id: int,
    rules: Rulebook,
    causes: dict[str, list[LedgerTransaction]],
    orders: dict[str, int],
) -> list[RatedFact]:
    periods = {period.pk: period for period in rules.periods}
    policies = {policy.pk: policy for policy in CreditPolicy.objects.all()}
    rows = RatedUsage.objects.filter(customer_id=customer_id).order_by("position")
    main: list[RatedFact] = []
    covers: dict[str, list[RatedFact]] = defaultdict(list)
    for row in rows.select_related("window"):
        pinned = orders.get(row.source_key)
        policy = policies[pinned] if pinned else rules.policy_of(row.service_at)
        fact = _rated_fact(
            row, periods[row.billing_period_id], rules, policy, causes.get(row.source_key, ())
        )
        cause, _, covered = row.source_key.partition(_COVERS)
        if covered:
            covers[cause].append(fact)
        else:
            main.append(fact)
    return [replace(fact, covers=tuple(covers.get(fact.key, ()))) for fact in main]


def _rated_fact(
    row: RatedUsage,
    period: BillingPeriod,
    rules: Rulebook,
    policy: CreditPolicy | None,
    entries: Iterable[LedgerTransaction],
) -> RatedFact:
    rate = rules.rates[row.rate_id]
    place = (row.window.workspace_id, rules.meters[row.window.meter_id].code)
    use = use_of(row.service_at, period, place)
    return RatedFact(
        key=row.source_key,
        position=row.position,
        period_id=period.pk,
        window=RatedWindow(
            row.window_id, row.service_at, row.window_revision, row.rate_id,
            row.rate_card_version_id,
        ),
        use=use,
        unit_id=period.rate_card.pricing_unit_id,
        stack=stack_of(rate, use),
        scope=scope_of(period.pk, rate, row.window.workspace_id),
        tariff=rules.prices.tariff(rate),
        order=policy.burn_order if policy else (),
        quantity=row.quantity,
        charge=row.charge,
        drawn=row.drawn,
        overage=row.overage,
        forgiven=row.forgiven,
        dimensions_key=row.window.dimensions_key,
        tiers=tuple(_tier(tier) for tier in row.tiers),
        rated_at=row.rated_at,
        entries=tuple(_entry(entry) for entry in entries),
    )  # fmt: skip


def _entry(entry: LedgerTransaction) -> EntryFact:
    return EntryFact(
        key=entry.source_key,
        position=entry.position,
        grant_id=entry.grant_id,
        kind=entry.kind,
        credits=entry.credits,
        cost=entry.cost_unrounded,
        effective_at=entry.effective_at,
        recorded_at=entry.recorded_at,
        reason_code=entry.reason_code,
    )


def _tier(tier: dict[str, str]) -> Tier:
    return Tier(
        Decimal(tier["quantity"]),
        Decimal(tier["unit_price"]),
        Decimal(tier["charge"]),
        tier.get("name", ""),
    )


def _grant(grant: CreditGrant) -> GrantFact:
    return GrantFact(
        state=state_of_grant(grant, Decimal(0)),
        unit_id=grant.pricing_unit_id,
        amount=grant.amount,
        origin_id=grant.origin_id,
        root_id=grant.root_id or grant.pk,
        rollover=grant.terms.rollover if grant.terms else "none",
        rollover_value=grant.terms.rollover_value if grant.terms else None,
        basis_amount=grant.priced_amount,
        price_minor=grant.price_minor,
        currency=grant.currency,
    )
