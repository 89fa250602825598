"""Give credits back for usage that stays charged, as a credit note says; and take them again.

Drawn becomes forgiven: the grants that paid get their credits, the newest draw first, and may burn
them again. No overage is covered by them: what was owed in money is corrected in money.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from credits.drawdown import Part
from credits.history import Place, Stack
from credits.models import BillingPeriod, CreditGrant, LedgerKind, LedgerTransaction, RatedUsage
from credits.selectors.facts import Rulebook, history_of, stack_of, use_of
from credits.selectors.forgiving import forgivable
from credits.selectors.frozen import FROZEN
from credits.selectors.lapsed import CREDIT_NOTE, NOTE_VOIDED
from credits.services.burning import Bill, Burner, Pages
from credits.services.rating import rate_customer
from credits.services.wallets import wallets_of
from metering.services.customers import lock_customer

_ZERO = Decimal(0)


@transaction.atomic
def forgive_usage(
    *, period: BillingPeriod, rated: QuerySet[RatedUsage], amount: Decimal, key: str, by: User,
    at: datetime,
) -> None:  # fmt: skip
    """Give credits that usage drew back to their grants; corrections that wait are rated first.

    Args:
        rated: Rows of the period that the credits were drawn for.
        amount: Credits, > 0.
        key: Names who asks, once for all: "credit_note:4:3".

    Raises:
        Insufficient: grants paid less than that; the message says how much.
    """
    lock_customer(period.customer_id)
    rate_customer(customer_id=period.customer_id, by=by, at=at)
    rules = Rulebook(period.customer_id)
    found = forgivable(period, history_of(period, rules), rated)
    pages = Pages()
    burner = _burner(rules, period, pages, by, at)
    for stack, parts in found.parts_of(amount):
        total = sum((part.credits for part in parts), _ZERO)
        source_key = f"window:{found.newest[stack].window_id}:forgiven:{key}"
        row = _moved(found.newest[stack], total, source_key, at)
        burner.forgive(_bill(row, stack, period, rules, CREDIT_NOTE), parts)
    pages.write()
    outbox.publish("credits_changed", [period.customer_id], at)


@transaction.atomic
def take_again(*, period: BillingPeriod, key: str, by: User, at: datetime) -> None:
    """Burn again what was given back under a key, from the grants that have it now.

    Raises:
        Conflict: some of it was used, or ended, or a correction of the usage has undone it since;
            the message says which grant.
    """
    lock_customer(period.customer_id)
    rate_customer(customer_id=period.customer_id, by=by, at=at)
    refuse_spent(period, key, at)
    rules, pages = Rulebook(period.customer_id), Pages()
    burner = _burner(rules, period, pages, by, at)
    for given in _given(period, key):
        row = _moved(given, -given.forgiven, f"{given.source_key}:taken_again", at)
        bill = _bill(row, _stack(given, period), period, rules, NOTE_VOIDED)
        burner.take_again(bill, _held(given))
    pages.write()
    outbox.publish("credits_changed", [period.customer_id], at)


def refuse_spent(period: BillingPeriod, key: str, at: datetime) -> None:
    """Refuse to take again what is not all there any more.

    Raises:
        Conflict: as for `take_again`.
    """
    history = history_of(period, Rulebook(period.customer_id))
    wanted: dict[int, Decimal] = {}
    by_place: dict[tuple[Stack, Place], Decimal] = {}
    for given in _given(period, key):
        at_place = _stack(given, period), (given.window.workspace_id, given.window.dimensions_key)
        by_place[at_place] = by_place.get(at_place, _ZERO) + given.forgiven
        for part in _held(given):
            wanted[part.grant_id] = wanted.get(part.grant_id, _ZERO) + part.credits
    if any(history.forgiven_at(*at_place) < amount for at_place, amount in by_place.items()):
        raise Conflict("the usage was corrected since: what was given back for it stays")
    if sum(wanted.values()) != sum(by_place.values()):
        raise Conflict("some of the credits were void when they came back: it stays")
    for grant in CreditGrant.objects.filter(pk__in=wanted).order_by("pk"):
        is_over = grant.expires_at is not None and grant.expires_at <= at
        if is_over or grant.remaining < wanted[grant.pk]:
            raise Conflict(f"credits that came back to grant {grant.pk} were used, or ended since")


def _given(period: BillingPeriod, key: str) -> list[RatedUsage]:
    rows = RatedUsage.objects.filter(
        billing_period=period, forgiven__gt=0, source_key__endswith=f":forgiven:{key}"
    )
    return list(rows.select_related("window__meter", "rate").order_by("pk"))


def _held(given: RatedUsage) -> list[Part]:
    """Say which grants the credits of a row went to, and how many: linked ones, too."""
    of_row = f"{given.source_key}:grant:"
    entries = LedgerTransaction.objects.filter(customer_id=given.customer_id)
    void = entries.filter(kind=LedgerKind.VOIDED, source_key__startswith=of_row)
    void = void.exclude(reason_code=FROZEN)  # It is there once the dispute ends.
    kept = entries.filter(rated_usage=given, kind=LedgerKind.RETURNED).exclude(
        grant_id__in=void.values("grant_id")
    )
    linked = CreditGrant.objects.filter(
        customer_id=given.customer_id, source_key__startswith=of_row
    )
    moved = dict(linked.values_list("origin_id", "pk"))
    rows = kept.order_by("pk").values_list("grant_id", "credits")
    return [Part(moved.get(pk, pk), credits_) for pk, credits_ in rows]


def _burner(rules: Rulebook, period: BillingPeriod, pages: Pages, by: User, at: datetime) -> Burner:
    wallet = wallets_of([rules.customer_id], period.start_at)[rules.customer_id]
    return Burner(rules, wallet, pages, by=by, at=at)


def _bill(
    row: RatedUsage, stack: Stack, period: BillingPeriod, rules: Rulebook, reason_code: str
) -> Bill:
    policy = rules.policy_of(row.service_at)
    assert policy is not None, "what was drawn has a burn order"
    use = use_of(row.service_at, period, (row.window.workspace_id, row.window.meter.code))
    return Bill(row, use, stack, period, policy, row.window.dimensions_key, reason_code)


def _stack(row: RatedUsage, period: BillingPeriod) -> Stack:
    place = (row.window.workspace_id, row.window.meter.code)
    return stack_of(row.rate, use_of(row.service_at, period, place))


def _moved(like: RatedUsage, forgiven: Decimal, source_key: str, at: datetime) -> RatedUsage:
    return RatedUsage(
        customer_id=like.customer_id,
        billing_period_id=like.billing_period_id,
        window=like.window,
        window_revision=like.window_revision,
        service_at=like.service_at,
        rate_id=like.rate_id,
        rate_card_version_id=like.rate_card_version_id,
        quantity=_ZERO,
        charge=_ZERO,
        drawn=-forgiven,
        overage=_ZERO,
        forgiven=forgiven,
        rated_at=at,
        source_key=source_key,
    )
