"""Give credits, and take back what remains of them: issue, void, expire.

Every change is a ledger transaction under the customer's lock; the database moves `remaining`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import LIMIT, plain, round_unrounded
from credits.models import (
    CreditGrant,
    GrantCategory,
    GrantTerms,
    LedgerKind,
    LedgerTransaction,
    PricingUnit,
    RecurringGrant,
)
from credits.rollover import end_of
from credits.selectors.frozen import OF_DISPUTES, is_frozen, thawed_at
from credits.selectors.lapsed import DUE, OF_USAGE, ROLLED_OVER
from credits.services.announcing import announce_granted
from credits.services.entries import enter, linked_grant
from metering.models import Customer, Meter, Workspace
from metering.services.customers import lock_customer, refuse_closed

MAX_PRIORITY = 100
FARTHEST = timedelta(days=3_653)  # Ten years: a slip of the pen is farther.
LONGEST_NAME = 100
# What the system writes itself, so that nobody's words are taken for it.
RESERVED_REASONS = frozenset({DUE, ROLLED_OVER, *OF_USAGE, *OF_DISPUTES})
_ACTIONS = {
    LedgerKind.VOIDED: "void_grant",
    LedgerKind.EXPIRED: "expire_grant",
    LedgerKind.ROLLED_OVER: "roll_over_grant",
}


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
    name: str = "",
    terms: GrantTerms | None = None,
    rule: RecurringGrant | None = None,
    rule_period_at: datetime | None = None,
    is_promised: bool = False,
) -> CreditGrant:
    """Give credits: the grant and the transaction that fills it. Rated usage stays as it is.

    Args:
        amount: Credits, > 0, at most 12 decimals.
        effective_at, expires_at: Half-open, within ten years of `at`; serves each hour it touches.
        price_minor: What was paid, ex tax, in the customer's currency; paid grants only.
        priority: 0 burns first, 100 last.
        workspace, meter_codes: Whose usage may burn it; none means all of the customer's.
        terms: The approved version that it keeps for good; see `issue_under_terms`.
        is_promised: Sold or begun before: a closed customer gets it all the same.

    Raises:
        Invalid: a value is out of its bounds, or names what the customer does not have.
        Conflict: the customer is closed.
        IdempotencyConflict: the source key came before with other inputs.
    """
    wanted = CreditGrant(
        customer=customer, pricing_unit=pricing_unit, category=category, amount=amount,
        remaining=Decimal(0), price_minor=price_minor, currency=currency or customer.currency,
        priority=priority, effective_at=effective_at, expires_at=expires_at,
        workspace=workspace, meter_codes=sorted(set(meter_codes)), reason_code=reason_code,
        source_key=source_key, created_by=by, created_at=at, name=name, terms=terms, rule=rule,
        rule_period_at=rule_period_at,
    )  # fmt: skip
    _refuse_bad_grant(wanted)
    return _write_grant(wanted, is_promised)


@transaction.atomic
def void_grant(
    *, grant: CreditGrant, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    """Take back all that remains of a grant that should not have been given.

    Voiding again returns the transaction that did it.

    Raises:
        Conflict: nothing remains, and nothing was voided.
    """
    return _take_remaining(grant, LedgerKind.VOIDED, reason_code, by, at)


@transaction.atomic
def expire_grant(
    *, grant: CreditGrant, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    """End a grant early: all that remains lapses now.

    A grant whose time is over ends by time, as the job would have ended it: at its own end, by its
    terms, and open to usage from before. Expiring again returns the transaction that did it.

    Raises:
        Conflict: nothing remains, and nothing expired.
    """
    if grant.expires_at is not None and grant.expires_at <= at:
        return _expire_late(grant, reason_code, by, at)
    return _take_remaining(grant, LedgerKind.EXPIRED, reason_code, by, at)


def expire_due_grants(*, by: User, at: datetime, grace: timedelta = timedelta(0)) -> int:
    """Enter the expiry of every grant whose time is over, and return how many there were.

    Each entry is effective at the grant's own end. Usage from before that end burns the grant
    however late it is rated; usage at or after it never does, entered or not. What the grant's
    terms roll over goes to a linked grant; what rolled over once expires. The first that fails
    ends the run: a month must not close without it. A task uses `expire_due_grant` each apart.
    """
    return sum(expire_due_grant(grant, by=by, at=at) for grant in grants_due(at=at, grace=grace))


def grants_due(*, at: datetime, grace: timedelta = timedelta(0)) -> QuerySet[CreditGrant]:
    """Return grants with credits left whose time and grace are over, the longest ended first."""
    due = CreditGrant.objects.filter(expires_at__lte=at - grace, remaining__gt=0)
    return due.select_related("terms").order_by("expires_at", "pk")


def expire_due_grant(grant: CreditGrant, *, by: User, at: datetime) -> int:
    """Enter the expiry of a grant whose time is over; return 1, or 0 where another was first."""
    assert grant.expires_at is not None, "selected by its expiry"
    with transaction.atomic():
        lock_customer(grant.customer_id)
        grant.refresh_from_db(fields=["remaining"])
        if not grant.remaining:
            return 0
        _end_by_time(grant, by, at)
        return 1


def _refuse_bad_grant(grant: CreditGrant) -> None:
    if grant.category not in GrantCategory.values:
        raise Invalid(f"{grant.category} is no grant category", field="category")
    if not grant.amount.is_finite() or not 0 < grant.amount < LIMIT:
        raise Invalid("a grant's amount is more than 0 and below 10^24 credits", field="amount")
    if round_unrounded(grant.amount) != grant.amount:
        raise Invalid("a grant's amount has at most 12 decimals", field="amount")
    if grant.price_minor < 0 or (grant.price_minor and grant.category != GrantCategory.PAID):
        raise Invalid("only paid grants have a price, and it is more than 0", field="price")
    if not 0 <= grant.priority <= MAX_PRIORITY:
        raise Invalid(f"a priority is 0 to {MAX_PRIORITY}", field="priority")
    if grant.currency != grant.customer.currency:
        raise Invalid(
            f"the customer pays in {grant.customer.currency}, not in {grant.currency}",
            field="price.currency",
        )
    if not grant.reason_code.strip():
        raise Invalid("a grant needs its reason code", field="reason_code")
    if len(grant.name) > LONGEST_NAME:
        raise Invalid(f"a grant's name has at most {LONGEST_NAME} characters", field="name")
    _refuse_bad_life(grant)
    _refuse_bad_scope(grant)
    _refuse_other_terms(grant)


def _refuse_bad_life(grant: CreditGrant) -> None:
    for name, instant in (("effective_at", grant.effective_at), ("expires_at", grant.expires_at)):
        if instant is not None and abs(instant - grant.created_at) > FARTHEST:
            raise Invalid(f"a grant's {name} is within ten years of now", field=name)
    if grant.expires_at is not None and grant.expires_at <= grant.effective_at:
        raise Invalid("a grant expires after it becomes effective", field="expires_at")


def _refuse_bad_scope(grant: CreditGrant) -> None:
    if grant.workspace is not None and grant.workspace.customer_id != grant.customer_id:
        raise Invalid(f"workspace {grant.workspace} is not the customer's", field="scope.workspace")
    known = set(Meter.objects.filter(code__in=grant.meter_codes).values_list("code", flat=True))
    if unknown := sorted(set(grant.meter_codes) - known):
        raise Invalid(f"no meter has the code {', '.join(unknown)}", field="scope.meters")


def _refuse_other_terms(grant: CreditGrant) -> None:
    """Refuse a grant that says other than the terms that it names."""
    terms = grant.terms
    if terms is None:
        return
    if not terms.is_pooled and grant.workspace is None:
        raise Invalid(f"{terms} gives credits to one workspace", field="scope.workspace")
    said = (grant.category, grant.priority, grant.meter_codes)
    if said != (terms.category, terms.priority, terms.meter_codes):
        raise Invalid(f"the grant is not what {terms} says", field="terms")


@transaction.atomic
def _write_grant(wanted: CreditGrant, is_promised: bool) -> CreditGrant:
    locked = lock_customer(wanted.customer_id)
    if earlier := CreditGrant.objects.filter(source_key=wanted.source_key).first():
        if _inputs(earlier) != _inputs(wanted):
            raise IdempotencyConflict(f"{wanted.source_key} issued another grant")
        return earlier
    if not is_promised:
        refuse_closed(locked)
    wanted.save(force_insert=True)
    fill(wanted)
    audit.record(
        by=wanted.created_by,
        at=wanted.created_at,
        action="issue_grant",
        subject=wanted,
        reason=wanted.reason_code,
        customer=wanted.customer_id,
        amount=plain(wanted.amount),
    )
    announce_granted(wanted)
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
        grant.name,
        grant.terms_id,
        grant.rule_id,
        grant.rule_period_at,
    )


def _expire_late(grant: CreditGrant, reason_code: str, by: User, at: datetime) -> LedgerTransaction:
    _refuse_bad_reason(reason_code)
    expire_due_grant(grant, by=by, at=at)
    ends = grant.transactions.filter(kind__in=[LedgerKind.EXPIRED, LedgerKind.ROLLED_OVER])
    return _newest(grant, ends)


def _end_by_time(grant: CreditGrant, by: User, at: datetime) -> None:
    ending = end_of(grant.remaining, "none", None)
    if grant.terms is not None and grant.origin_id is None:
        ending = end_of(grant.remaining, grant.terms.rollover, grant.terms.rollover_value)
    if ending.rolled:
        roll_over(grant, ending.rolled, by, at)
    if ending.expired:
        _take(grant, LedgerKind.EXPIRED, ending.expired, DUE, by, at, _ended_at(grant))


def _ended_at(grant: CreditGrant) -> datetime:
    """Return when time ended a grant: at its end, or as it was free again after a dispute."""
    assert grant.expires_at is not None, "selected by its expiry"
    return max(grant.expires_at, thawed_at(grant) or grant.expires_at)


def roll_over(grant: CreditGrant, credits_: Decimal, by: User, at: datetime) -> CreditGrant:
    """Move credits of a grant that ends to a linked one, which lives as long from there on."""
    assert grant.expires_at is not None, "what rolls over ends"
    ended_at = _ended_at(grant)
    entry = _take(grant, LedgerKind.ROLLED_OVER, credits_, ROLLED_OVER, by, at, ended_at)
    linked = linked_grant(
        grant,
        credits_,
        effective_at=ended_at,
        expires_at=ended_at + (grant.expires_at - grant.effective_at),
        reason_code=ROLLED_OVER,
        source_key=f"{entry.source_key}:linked",
        by=by,
        at=entry.recorded_at,
    )
    fill(linked)
    return linked


def fill(grant: CreditGrant) -> LedgerTransaction:
    """Enter the amount of a grant that was made just now."""
    return enter(
        grant,
        LedgerKind.GRANTED,
        grant.amount,
        reason_code=grant.reason_code,
        effective_at=grant.effective_at,
        at=grant.created_at,
        by=grant.created_by,
        source_key=f"grant:{grant.pk}:granted",
    )


def _take_remaining(
    grant: CreditGrant, kind: LedgerKind, reason_code: str, by: User, at: datetime
) -> LedgerTransaction:
    _refuse_bad_reason(reason_code)
    lock_customer(grant.customer_id)
    grant.refresh_from_db(fields=["remaining"])
    if grant.remaining:
        return _take(grant, kind, grant.remaining, reason_code, by, at, at)
    if is_frozen(grant):
        raise Conflict(f"grant {grant.pk} is frozen: its payment is disputed", code="frozen")
    return _newest(grant, grant.transactions.filter(kind=kind))


def _refuse_bad_reason(reason_code: str) -> None:
    if not reason_code.strip():
        raise Invalid("taking credits back needs its reason code", field="reason_code")
    if reason_code in RESERVED_REASONS:
        raise Invalid(f"{reason_code} is the system's own reason", field="reason_code")


def _newest(grant: CreditGrant, ends: QuerySet[LedgerTransaction]) -> LedgerTransaction:
    earlier = ends.order_by("position").last()
    if earlier is None:
        raise Conflict(f"nothing remains of grant {grant.pk}", code="nothing_remains")
    return earlier


def _take(
    grant: CreditGrant,
    kind: LedgerKind,
    credits_: Decimal,
    reason_code: str,
    by: User,
    at: datetime,
    effective_at: datetime,
) -> LedgerTransaction:
    """Enter credits that leave a locked grant, and say so in the audit log."""
    count = grant.transactions.filter(kind=kind).count()
    entry = enter(
        grant,
        kind,
        -credits_,
        reason_code=reason_code,
        effective_at=effective_at,
        at=at,
        by=by,
        source_key=f"grant:{grant.pk}:{kind}:{count + 1}",
    )
    audit.record(
        by=by, at=at, action=_ACTIONS[kind], subject=grant, reason=reason_code,
        credits=plain(credits_),
    )  # fmt: skip
    return entry
