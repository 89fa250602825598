"""Reconcile with Stripe, both ways: what it has and we lack, the reverse, amounts, fees, payouts.

A run reads and writes down; it mends nothing. Differences stay open until a run finds them gone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from billing_project.kernel.money import Money
from invoicing.models import (
    AttemptState,
    CallKind,
    CallState,
    Dispute,
    Invoice,
    InvoiceStatus,
    PaymentAttempt,
    ProcessorFee,
    Refund,
    StripeCall,
    StripeCustomer,
    StripeDifference,
)
from invoicing.stripe_sync import mirroring
from invoicing.stripe_sync.collecting import METHOD, is_beyond_stripe
from invoicing.stripe_sync.comparing import FINANCE, Found, Thing, compare, unexplained
from invoicing.stripe_sync.gateway import Json, NotThere, fetch, list_all
from invoicing.stripe_sync.mirrored import OF_MIRROR, mirror_differences
from invoicing.stripe_sync.parking import as_difference, parked_events
from invoicing.stripe_sync.payouts import ENDED, money_of, paid_out, payout_differences

SETTLING = timedelta(hours=1)  # What is younger may still be on its way.
_VERDICTS = ("won", "lost")
# Where things of a difference's name are listed at Stripe.
_LISTS = {
    "payment": "charges", "refund": "refunds", "dispute": "disputes", "payout": "payouts",
    "fee": "balance_transactions", "movement": "balance_transactions",
}  # fmt: skip
# Where what a movement is about is listed, by how its id begins.
_SOURCES = {
    "ch": "charges", "py": "charges", "re": "refunds", "pyr": "refunds", "du": "disputes",
    "dp": "disputes",
}  # fmt: skip
Things = dict[str, Thing]


@dataclass(frozen=True)
class Reconciled:
    """What a run found.

    Attributes:
        compared: Things on either side, by name.
        paid_out: What Stripe sent to the bank, by currency, in minor units.
    """

    compared: dict[str, int]
    found: tuple[Found, ...]
    paid_out: dict[str, int]


@dataclass(frozen=True)
class _Span:
    """When things were made that must be on both sides: their clocks and ours differ a little."""

    since: datetime
    until: datetime


def reconcile(*, since: datetime, until: datetime, at: datetime) -> Reconciled:
    """Compare [since, until) with Stripe and keep the differences; call it without a transaction.

    Raises:
        Unreachable: Stripe does not answer; what was not compared stays as it was.
    """
    names = ("charges", "refunds", "disputes", "balance_transactions", "payouts")
    told = {name: list(list_all(name, since, until)) for name in names}
    _add_standing(told)
    _add_sources(told)
    span = _Span(since + SETTLING, until - SETTLING)
    charges = [one for one in told["charges"] if one["status"] == "succeeded"]
    payments = {
        one["payment_intent"] or one["id"]: Thing(money_of(one, "amount_captured"))
        for one in charges
    }
    refunds = {one["id"]: Thing(money_of(one), _ended(one)) for one in told["refunds"]}
    disputes = {
        one["id"]: Thing(money_of(one), one["status"] if one["status"] in _VERDICTS else "open")
        for one in told["disputes"]
        if one["balance_transactions"]
    }
    moves = [one for one in told["balance_transactions"] if one["type"] != "payout"]
    fees = {one["id"]: Thing(money_of(one, "fee")) for one in moves if one["fee"]}
    sides: dict[str, tuple[Things, Things]] = {
        "payment": (_payments(payments, span), payments),
        "refund": (_refunds(refunds, span), refunds),
        "dispute": (_disputes(disputes, span), disputes),
        "fee": (_fees(fees, span), fees),
    }
    elsewhere = _made_elsewhere(told) | {one["id"] for one in moves if one["fee"] < 0}
    found = [one for name, both in sides.items() for one in compare(name, *both, elsewhere)]
    found += _movements(moves, {one["id"] for one in charges} | {*refunds, *disputes})
    found += payout_differences(told["payouts"])
    found += _beyond_stripe()
    found += _parked(found)
    found = _keep(found, at, of_mirror=False)
    if mirroring.is_on():  # Money is compared first, and stands whatever becomes of the mirror.
        found += _keep(list(mirror_differences(since, span.until)), at, of_mirror=True)
    compared = {name: len({*here, *there}) for name, (here, there) in sides.items()}
    return Reconciled(compared, tuple(found), paid_out(told["payouts"]))


@transaction.atomic
def _keep(found: list[Found], at: datetime, *, of_mirror: bool) -> list[Found]:
    """Open what is new, touch what is still there, close what is gone, of money or the mirror.

    What a person explained stays closed while it is as it was then; the rest is returned.
    """
    standing = {
        (row.kind, row.subject): row
        for row in StripeDifference.objects.select_for_update().filter(resolved_at=None)
        if row.subject.startswith(OF_MIRROR) == of_mirror
    }
    explained = set(  # Read after the lock: who explains one meanwhile is waited for.
        StripeDifference.objects.exclude(explanation="").values_list(
            "kind", "subject", "here", "there"
        )
    )
    open_ = [one for one in found if (one.kind, one.subject, one.here, one.there) not in explained]
    for one in open_:
        row = standing.pop((one.kind, one.subject), None)
        if row is None:
            StripeDifference.objects.create(
                kind=one.kind, subject=one.subject, here=one.here, there=one.there,
                owner=one.owner, first_seen_at=at, last_seen_at=at,
            )  # fmt: skip
            continue
        row.here, row.there, row.last_seen_at = one.here, one.there, at
        row.save(update_fields=["here", "there", "last_seen_at"])
    for row in standing.values():
        row.resolved_at = at
        row.save(update_fields=["resolved_at"])
    return open_


def _add_standing(told: dict[str, list[Json]]) -> None:
    """Ask by name for what stands open and was made before the span: age settles nothing."""
    known = {one["id"] for things in told.values() for one in things}
    known |= {one["payment_intent"] for one in told["charges"]}
    for row in StripeDifference.objects.filter(resolved_at=None).order_by("id"):
        name, _, pk = row.subject.partition(" ")
        if name not in _LISTS or pk in known:
            continue
        try:
            one = fetch("payment_intents" if name == "payment" else _LISTS[name], pk)
        except NotThere:
            continue
        thing = one["latest_charge"] if name == "payment" else one
        if isinstance(thing, dict):
            told[_LISTS[name]].append(thing)


def _add_sources(told: dict[str, list[Json]]) -> None:
    """Ask by name for what moved within the span and was made before it: verdicts come late."""
    known = {one["id"] for things in told.values() for one in things}
    for pk in sorted({one["source"] or "" for one in told["balance_transactions"]} - known):
        name = _SOURCES.get(pk.partition("_")[0])
        if name is None:
            continue
        try:
            told[name].append(fetch(name, pk))
        except NotThere:
            continue


def _made_elsewhere(told: dict[str, list[Json]]) -> set[str]:
    """Return the ids of payments, refunds and disputes that are of no call of ours."""
    unnamed = [
        one
        for name in ("charges", "refunds")
        for one in told[name]
        if not (one["metadata"] or {}).get("billing_call")
    ]
    ids = {one["id"] for one in unnamed} | {one["payment_intent"] for one in unnamed}
    disputed = {one["payment_intent"]: one["id"] for one in told["disputes"]}
    ours = PaymentAttempt.objects.filter(call__stripe_id__in=[pk for pk in disputed if pk])
    known = set(ours.values_list("call__stripe_id", flat=True))
    return ids | {pk for intent, pk in disputed.items() if intent not in known}


def _payments(there: Things, span: _Span) -> Things:
    within = Q(call__first_sent_at__gte=span.since, call__first_sent_at__lt=span.until)
    paid = PaymentAttempt.objects.filter(
        Q(call__stripe_id__in=there) | within, state=AttemptState.SUCCEEDED
    )
    return {
        one.call.stripe_id: Thing(Money(one.amount_minor, one.currency))
        for one in paid.select_related("call")
    }


def _refunds(there: Things, span: _Span) -> Things:
    within = Q(first_sent_at__gte=span.since, first_sent_at__lt=span.until)
    calls = StripeCall.objects.filter(
        Q(stripe_id__in=there) | within, kind=CallKind.REFUND, state=CallState.DONE
    )
    names = {int(call.subject.partition(":")[2]): call.stripe_id for call in calls}
    return {
        names[one.pk]: Thing(
            Money(one.amount_minor, one.currency), "failed" if hasattr(one, "failure") else ""
        )
        for one in Refund.objects.select_related("failure").filter(pk__in=names)
    }


def _disputes(there: Things, span: _Span) -> Things:
    within = Q(opened_at__gte=span.since, opened_at__lt=span.until)
    rows = Dispute.objects.filter(Q(reference__in=there) | within, method=METHOD)
    return {
        row.reference: Thing(
            Money(row.amount_minor, row.currency),
            row.outcome.verdict if hasattr(row, "outcome") else "open",
        )
        for row in rows.select_related("outcome")
    }


def _fees(there: Things, span: _Span) -> Things:
    within = Q(charged_at__gte=span.since, charged_at__lt=span.until)
    rows = ProcessorFee.objects.filter(Q(reference__in=there) | within, method=METHOD)
    return {row.reference: Thing(Money(row.amount_minor, row.currency)) for row in rows}


def _movements(moves: list[Json], known: set[str]) -> list[Found]:
    things = {one["id"]: Thing(money_of(one), one["type"]) for one in moves}
    sources = {one["id"]: one["source"] or "" for one in moves}
    return list(unexplained(things, sources, known))


def _beyond_stripe() -> list[Found]:
    """Tell of invoices of customers with a card that Stripe cannot collect to the last unit."""
    with_card = StripeCustomer.objects.exclude(payment_method="").values("customer")
    owed = Invoice.objects.filter(
        customer__in=with_card, status=InvoiceStatus.FINALIZED, open_minor__gt=0
    )
    return [
        Found("only_here", f"claim {one.number}", f"{_owed(one)}, not in tens", "", FINANCE)
        for one in owed.order_by("id")
        if is_beyond_stripe(one)
    ]


def _parked(found: list[Found]) -> list[Found]:
    """Tell of events that took no effect, of what is not found otherwise."""
    subjects = " ".join(one.subject for one in found)
    return [as_difference(row) for row in parked_events() if row.object_id not in subjects]


def _owed(invoice: Invoice) -> str:
    return f"{Money(invoice.open_minor, invoice.currency)} owed"


def _ended(refund: Json) -> str:
    return "failed" if refund["status"] in ENDED else ""
