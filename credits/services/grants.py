"""Give credits, and take back what remains of them: issue, void, expire.

Every change is a ledger transaction under the customer's lock; the database moves `remaining`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import LIMIT, plain, round_unrounded
from credits.costing import cost_of
from credits.models import CreditGrant, GrantCategory, LedgerKind, LedgerTransaction, PricingUnit
from metering.models import Customer, Meter, Workspace
from metering.services.customers import lock_customer

MAX_PRIORITY = 100
FARTHEST = timedelta(days=3_653)  # Ten years: a slip of the pen is farther.
_ACTIONS = {LedgerKind.VOIDED: "void_grant", LedgerKind.EXPIRED: "expire_grant"}


def issue_grant(
    *,
    customer: Customer,
    category: str,
    amount: Decimal,
    pricing_unit: PricingUnit,
    reason_code: str,
    source_key: str,
    by: User,
    at: datetime,
    effective_at: datetime,
    expires_at: datetime | None = None,
    price_minor: int = 0,
    currency: str | None = None,
    priority: int = 50,
    workspace: Workspace | None = None,
    meter_codes: Sequence[str] = (),
) -> CreditGrant:
    """Give credits to a customer: the grant and the transaction that fills it.

    Usage that was rated before the grant came stays as it was rated.

    Args:
        amount: Credits, > 0, at most 12 decimals.
        effective_at, expires_at: Half-open, within ten years of `at`. A grant serves every hour
            of usage that its life touches.
        price_minor: What was paid for it, ex tax, in minor units; paid grants only.
        currency: The customer's, which is also the default.
        priority: 0 burns first, 100 last.
        workspace, meter_codes: Whose usage may burn it; none means all of the customer's.

    Raises:
        Invalid: a value is out of its bounds, or names what the customer does not have.
        IdempotencyConflict: the source key came before with other inputs.
    """
    wanted = CreditGrant(
        customer=customer, pricing_unit=pricing_unit, category=category, amount=amount,
        remaining=Decimal(0), price_minor=price_minor, currency=currency or customer.currency,
        priority=priority, effective_at=effective_at, expires_at=expires_at,
        workspace=workspace, meter_codes=sorted(set(meter_codes)), reason_code=reason_code,
        source_key=source_key, created_by=by, created_at=at,
    )  # fmt: skip
    _refuse_bad_grant(wanted)
    return _write_grant(wanted)


@transaction.atomic
def void_grant(
    *, grant: CreditGrant, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    """Take back all that remains of a grant that should not have been given.

    Voiding again returns the transaction that did it.

    Raises:
        Conflict: nothing remains, and nothing was voided.
    """
    return _take_remaining(grant, LedgerKind.VOIDED, reason_code, by, at, at)


@transaction.atomic
def expire_grant(
    *, grant: CreditGrant, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    """End a grant early: all that remains lapses now.

    Expiring again returns the transaction that did it.

    Raises:
        Conflict: nothing remains, and nothing expired.
    """
    return _take_remaining(grant, LedgerKind.EXPIRED, reason_code, by, at, at)


def expire_due_grants(*, by: User, at: datetime, grace: timedelta = timedelta(0)) -> int:
    """Enter the expiry of every grant whose time is over, and return how many there were.

    Each entry is effective at the grant's own end. Usage before that end which is rated within
    the grace still burns it; usage at or after it never does, entered or not.
    """
    due = CreditGrant.objects.filter(expires_at__lte=at - grace, remaining__gt=0)
    return sum(_expire_due(grant, by, at) for grant in due.order_by("expires_at", "pk"))


def _refuse_bad_grant(grant: CreditGrant) -> None:
    if grant.category not in GrantCategory.values:
        raise Invalid(f"{grant.category} is no grant category")
    if not grant.amount.is_finite() or not 0 < grant.amount < LIMIT:
        raise Invalid("a grant's amount is more than 0 and below 10^24 credits")
    if round_unrounded(grant.amount) != grant.amount:
        raise Invalid("a grant's amount has at most 12 decimals")
    if grant.price_minor < 0 or (grant.price_minor and grant.category != GrantCategory.PAID):
        raise Invalid("only paid grants have a price, and it is more than 0")
    if not 0 <= grant.priority <= MAX_PRIORITY:
        raise Invalid(f"a priority is 0 to {MAX_PRIORITY}")
    if grant.currency != grant.customer.currency:
        raise Invalid(f"the customer pays in {grant.customer.currency}, not in {grant.currency}")
    if not grant.reason_code.strip():
        raise Invalid("a grant needs its reason code")
    _refuse_bad_life(grant)
    _refuse_bad_scope(grant)


def _refuse_bad_life(grant: CreditGrant) -> None:
    for name, instant in (("effective_at", grant.effective_at), ("expires_at", grant.expires_at)):
        if instant is not None and abs(instant - grant.created_at) > FARTHEST:
            raise Invalid(f"a grant's {name} is within ten years of now")
    if grant.expires_at is not None and grant.expires_at <= grant.effective_at:
        raise Invalid("a grant expires after it becomes effective")


def _refuse_bad_scope(grant: CreditGrant) -> None:
    if grant.workspace is not None and grant.workspace.customer_id != grant.customer_id:
        raise Invalid(f"workspace {grant.workspace} is not the customer's")
    known = set(Meter.objects.filter(code__in=grant.meter_codes).values_list("code", flat=True))
    if unknown := sorted(set(grant.meter_codes) - known):
        raise Invalid(f"no meter has the code {', '.join(unknown)}")


@transaction.atomic
def _write_grant(wanted: CreditGrant) -> CreditGrant:
    lock_customer(wanted.customer_id)
    if earlier := CreditGrant.objects.filter(source_key=wanted.source_key).first():
        if _inputs(earlier) != _inputs(wanted):
            raise IdempotencyConflict(f"{wanted.source_key} issued another grant")
        return earlier
    wanted.save(force_insert=True)
    _enter(
        wanted,
        LedgerKind.GRANTED,
        wanted.amount,
        reason_code=wanted.reason_code,
        effective_at=wanted.effective_at,
        recorded_at=wanted.created_at,
        by=wanted.created_by,
        source_key=f"grant:{wanted.pk}:granted",
    )
    wanted.refresh_from_db(fields=["remaining"])
    audit.record(
        by=wanted.created_by,
        at=wanted.created_at,
        action="issue_grant",
        subject=wanted,
        reason=wanted.reason_code,
        customer=wanted.customer_id,
        amount=plain(wanted.amount),
    )
    return wanted


def _inputs(grant: CreditGrant) -> tuple[object, ...]:
    """What the caller asked for; who and when may differ between attempts."""
    return (
        grant.customer_id,
        grant.category,
        grant.amount,
        grant.pricing_unit_id,
        grant.reason_code,
        grant.effective_at,
        grant.expires_at,
        grant.price_minor,
        grant.currency,
        grant.priority,
        grant.workspace_id,
        grant.meter_codes,
    )


def _expire_due(grant: CreditGrant, by: User, at: datetime) -> int:
    assert grant.expires_at is not None, "selected by its expiry"
    with transaction.atomic():
        lock_customer(grant.customer_id)
        grant.refresh_from_db(fields=["remaining"])
        if not grant.remaining:
            return 0  # Another worker was first.
        _take_remaining(grant, LedgerKind.EXPIRED, "due", by, at, grant.expires_at)
        return 1


def _take_remaining(
    grant: CreditGrant,
    kind: LedgerKind,
    reason_code: str,
    by: User,
    at: datetime,
    effective_at: datetime,
) -> LedgerTransaction:
    if not reason_code.strip():
        raise Invalid("taking credits back needs its reason code")
    lock_customer(grant.customer_id)
    grant.refresh_from_db(fields=["remaining"])
    earlier = list(grant.transactions.filter(kind=kind).order_by("pk"))
    if not grant.remaining:
        if earlier:
            return earlier[-1]
        raise Conflict(f"nothing remains of grant {grant.pk}", code="nothing_remains")
    entry = _enter(
        grant,
        kind,
        -grant.remaining,
        reason_code=reason_code,
        # Nothing is taken back before it was given, nor known before the grant was.
        effective_at=max(effective_at, grant.effective_at),
        recorded_at=max(at, grant.created_at),
        by=by,
        source_key=f"grant:{grant.pk}:{kind}:{len(earlier) + 1}",
    )
    grant.refresh_from_db(fields=["remaining"])
    audit.record(
        by=by,
        at=at,
        action=_ACTIONS[kind],
        subject=grant,
        reason=reason_code,
        credits=plain(-entry.credits),
    )
    return entry


def _enter(
    grant: CreditGrant,
    kind: LedgerKind,
    amount: Decimal,
    *,
    reason_code: str,
    effective_at: datetime,
    recorded_at: datetime,
    by: User,
    source_key: str,
) -> LedgerTransaction:
    entry = LedgerTransaction.objects.create(
        customer_id=grant.customer_id,
        grant=grant,
        kind=kind,
        credits=amount,
        cost_unrounded=cost_of(amount, grant.amount, grant.price_minor, grant.currency),
        reason_code=reason_code,
        effective_at=effective_at,
        recorded_at=recorded_at,
        recorded_by=by,
        source_key=source_key,
    )
    outbox.publish("credits_changed", [grant.customer_id], recorded_at)
    return entry
