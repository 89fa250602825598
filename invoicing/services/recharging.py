"""Fill balances by themselves: payment first, credits after, one purchase at a time.

What is bought is a credit pack like any other: its invoice is collected from the card that the
customer left, and its grant comes with the payment.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Exists, QuerySet

from billing_project.kernel import audit
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money, is_currency
from billing_project.kernel.quantity import NotAQuantity, parse_quantity, plain
from credits.models import Alert, AlertKind, PricingUnit
from credits.services.alerting import raise_alerts
from invoicing.models import (
    AttemptState,
    AutoRecharge,
    InvoiceStatus,
    PaymentAttempt,
    Recharge,
    RechargeState,
)
from invoicing.recharging import Buy, WhyNot, decide
from invoicing.selectors import grants_of_line
from invoicing.selectors.holds import rejection_of
from invoicing.selectors.recharging import (
    agreed_by,
    customers_to_recharge,
    is_disputing,
    lost_since,
    month_at,
    standing_of,
)
from invoicing.services.endings import void_invoice
from invoicing.services.locks import require_permission
from invoicing.services.packs import sell_credit_pack
from metering.models import Customer
from metering.services.customers import lock_customer, refuse_closed

_MAY = ("invoicing.manage_autorecharge", "set up automatic recharges")
_MOST_FAILURES = 20
_MOST_COOL_DOWN = timedelta(days=31)
_MOST_MINOR = 10**12
_ENDED_WITHOUT = (InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE)


@dataclass(frozen=True)
class Wish:
    """What a customer wants; see `AutoRecharge`."""

    pricing_unit: PricingUnit
    threshold: Decimal
    unit_price: Decimal
    monthly_limit: Money
    consent: str
    consented_by: str
    consented_at: datetime
    amount: Decimal | None = None
    target: Decimal | None = None
    cool_down: timedelta = timedelta(hours=1)
    most_failures: int = 3


@transaction.atomic
def set_up_recharge(*, customer: Customer, wish: Wish, by: User, at: datetime) -> AutoRecharge:
    """Write what a customer agreed to; the one that stood before ends. The same again is the same.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: a value is out of its bounds, or nobody agreed.
        Conflict: the customer is closed.
    """
    require_permission(by, *_MAY)
    locked = lock_customer(customer.pk)
    refuse_closed(locked)
    _check(wish, locked, at)
    wanted = _row(wish, locked, by, at)
    before = AutoRecharge.objects.filter(
        customer=locked, pricing_unit=wish.pricing_unit, ended_at=None
    ).first()
    if before is not None:
        if _said(before) == _said(wanted):
            return before
        _end(before, "another one replaced it", by, at)
    wanted.save(force_insert=True)
    audit.record(
        by=by, at=at, action="set_up_auto_recharge", subject=wanted, reason=wish.consent,
        customer=locked.external_id, threshold=plain(wish.threshold),
        monthly_limit_minor=wanted.monthly_limit_minor, currency=wanted.currency,
    )  # fmt: skip
    return wanted


@transaction.atomic
def end_recharge(*, row: AutoRecharge, reason: str, by: User, at: datetime) -> AutoRecharge:
    """Buy nothing by itself any more; an open purchase goes on. Ending twice changes nothing.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason.
    """
    require_permission(by, *_MAY)
    if not 0 < len(reason.strip()) <= 500:
        raise Invalid("an end has its reason, of up to 500 characters", field="reason")
    lock_customer(row.customer_id)
    row.refresh_from_db()
    if row.ended_at is None:
        _end(row, reason, by, at)
    return row


def recharge_due(*, by: User, at: datetime) -> int:
    """Recharge whose balance fell, and close what was paid or failed; return how many bought."""
    return each_apart(
        customers_to_recharge(at),
        lambda pk: recharge_customer(customer_id=pk, by=by, at=at),
        step="recharge",
    )


@transaction.atomic
def recharge_customer(*, customer_id: int, by: User, at: datetime) -> int:
    """Buy for one customer what their balance asks for now; return how many purchases.

    Under the customer's lock: two that look at once buy once. Who disputes a payment is charged
    nothing by itself meanwhile, and has to agree anew where the bank gave it back.
    """
    customer = lock_customer(customer_id)
    for one in Recharge.objects.filter(customer=customer, state=RechargeState.OPEN):
        _follow(one, by, at)
    if customer.closed_at is not None or is_disputing(customer):
        return 0
    rows = AutoRecharge.objects.filter(customer=customer, ended_at=None)
    for row in rows.filter(Exists(lost_since())):
        _switch_off(row, "a payment was disputed, and the bank gave it back", by, at)
    return sum(_buy(row, customer, by, at) for row in rows.select_related("pricing_unit"))


def _buy(row: AutoRecharge, customer: Customer, by: User, at: datetime) -> int:
    mine = Recharge.objects.filter(customer=customer, pricing_unit=row.pricing_unit)
    if mine.filter(state=RechargeState.OPEN).exists():
        return 0
    standing = standing_of(row, customer, at)
    what = decide(agreed_by(row), standing, at)
    if what == WhyNot.MONTHLY_LIMIT:
        limit = Money(row.monthly_limit_minor, row.currency)
        _warn(row, f"Recharges reached the month's limit of {limit}", _month_key(customer, at), at)
    if what == WhyNot.TOO_LARGE and standing.refused is not None:
        asked = plain(standing.refused)
        title = f"Work for {asked} credits is refused: no purchase that was agreed lets it begin"
        _warn(row, title, "too_large", at)
    if not isinstance(what, Buy):
        return 0
    try:
        with transaction.atomic():
            _write(row, customer, what, standing.available, by, at)
    except BillingError as error:  # A closed market, a policy: somebody has to look at it.
        _warn(row, f"A recharge is refused: {error.message}", f"refused:{at:%Y-%m-%d}", at)
        return 0
    return 1


def _write(
    row: AutoRecharge, customer: Customer, what: Buy, available: Decimal, by: User, at: datetime
) -> None:
    number = row.recharges.count() + 1
    invoice = sell_credit_pack(
        customer=customer, pricing_unit=row.pricing_unit, amount=what.credits,
        price_minor=what.price_minor, key=f"recharge:{row.pk}:{number}", by=by, at=at,
    )  # fmt: skip
    one = Recharge.objects.create(
        auto_recharge=row, customer=customer, pricing_unit=row.pricing_unit, number=number,
        invoice=invoice, available=available, credits=what.credits,
        price_minor=what.price_minor, currency=row.currency, month_on=month_at(customer, at),
        opened_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="recharge", subject=one, credits=plain(what.credits),
        price_minor=what.price_minor, currency=row.currency, available=plain(available),
    )  # fmt: skip
    _follow(one, by, at)  # A balance of money may have paid it.


def _follow(one: Recharge, by: User, at: datetime) -> None:
    """Close a purchase that is paid or over; end what is rejected or keeps being declined."""
    invoice, row = one.invoice, one.auto_recharge
    if invoice.status == InvoiceStatus.PAID:
        has_come = any(grants_of_line(line).exists() for line in invoice.lines.all())
        return _close(one, RechargeState.PAID if has_come else RechargeState.FAILED, at)
    if invoice.status in _ENDED_WITHOUT:
        return _close(one, RechargeState.FAILED, at)
    if (why := rejection_of(invoice)) is not None:
        _close(one, RechargeState.FAILED, at)
        return _switch_off(row, f"its draft was rejected: {why.reason}", by, at)
    attempts = PaymentAttempt.objects.filter(invoice=invoice)
    declined = attempts.filter(state=AttemptState.DECLINED).count()
    is_going_on = attempts.filter(state=AttemptState.OPEN).exists()
    if is_going_on or invoice.open_minor != invoice.total_minor:
        return None
    is_final = _is_declined_for_good(attempts)
    if declined < row.most_failures and not is_final:
        return None
    void_invoice(invoice=invoice, reason=f"{declined} payments of a recharge failed", by=by, at=at)
    _close(one, RechargeState.FAILED, at)
    reason = "a payment failed for good" if is_final else f"{declined} payments failed"
    return _switch_off(row, reason, by, at)


def _is_declined_for_good(attempts: QuerySet[PaymentAttempt]) -> bool:
    """Tell whether the last payment was declined, and nothing will be tried again."""
    last = attempts.order_by("-number").first()
    return last is not None and last.state == AttemptState.DECLINED and last.retry_at is None


def _switch_off(row: AutoRecharge, why: str, by: User, at: datetime) -> None:
    if row.ended_at is None:
        _end(row, why[:500], by, at)
        _warn(row, f"Auto-recharge is off: {why}", "failures", at)


def _close(one: Recharge, state: RechargeState, at: datetime) -> None:
    one.state, one.closed_at = state, at
    one.save(update_fields=["state", "closed_at"])


def _end(row: AutoRecharge, reason: str, by: User, at: datetime) -> None:
    row.ended_at, row.ended_by, row.end_reason = at, by, reason
    row.save(update_fields=["ended_at", "ended_by", "end_reason"])
    audit.record(by=by, at=at, action="end_auto_recharge", subject=row, reason=reason)


def _warn(row: AutoRecharge, title: str, key: str, at: datetime) -> None:
    facts = {
        "auto_recharge": str(row.pk),
        "unit": row.pricing_unit.code,
        "threshold": plain(row.threshold),
    }
    alert = Alert(
        customer_id=row.customer_id, kind=AlertKind.RECHARGE, title=title[:200], facts=facts,
        raised_at=at, source_key=f"auto_recharge:{row.pk}:{key}",
    )  # fmt: skip
    raise_alerts([alert])


def _month_key(customer: Customer, at: datetime) -> str:
    return f"limit:{month_at(customer, at).isoformat()}"


def _row(wish: Wish, customer: Customer, by: User, at: datetime) -> AutoRecharge:
    return AutoRecharge(
        customer=customer, pricing_unit=wish.pricing_unit, threshold=wish.threshold,
        amount=wish.amount, target=wish.target, unit_price=wish.unit_price,
        currency=wish.monthly_limit.currency, monthly_limit_minor=wish.monthly_limit.amount_minor,
        cool_down_seconds=wish.cool_down // timedelta(seconds=1),
        most_failures=wish.most_failures, consent=wish.consent,
        consented_by=wish.consented_by, consented_at=wish.consented_at, set_up_by=by, set_up_at=at,
    )  # fmt: skip


def _said(row: AutoRecharge) -> tuple[object, ...]:
    return (
        row.threshold, row.amount, row.target, row.unit_price, row.currency,
        row.monthly_limit_minor, row.cool_down_seconds, row.most_failures, row.consent,
        row.consented_by, row.consented_at,
    )  # fmt: skip


def _check(wish: Wish, customer: Customer, at: datetime) -> None:
    for name in ("threshold", "unit_price", "amount", "target"):
        _check_number(name, getattr(wish, name))
    if (wish.amount is None) == (wish.target is None):
        raise Invalid("a recharge buys an amount, or up to a target", field="amount")
    if wish.target is not None and wish.target <= wish.threshold:
        raise Invalid("a target is above the threshold", field="target")
    limit = wish.monthly_limit
    if not is_currency(limit.currency) or limit.currency != customer.currency:
        raise Invalid(f"the customer pays in {customer.currency}", field="monthly_limit")
    if not 0 < limit.amount_minor < _MOST_MINOR:
        raise Invalid("a monthly limit is more than 0", field="monthly_limit")
    if not timedelta(0) <= wish.cool_down <= _MOST_COOL_DOWN:
        raise Invalid("a cool-down has at most 31 days", field="cool_down_seconds")
    if not 1 <= wish.most_failures <= _MOST_FAILURES:
        raise Invalid(f"1 to {_MOST_FAILURES} payments may fail", field="most_failures")
    _check_consent(wish, at)


def _check_consent(wish: Wish, at: datetime) -> None:
    for name in ("consent", "consented_by"):
        if not getattr(wish, name).strip():
            raise Invalid("a recharge says who agreed, and to what", field=name)
    if wish.consented_at > at:
        raise Invalid("nobody agrees in the future", field="consented_at")


def _check_number(name: str, value: Decimal | None) -> None:
    try:
        if value is not None and not parse_quantity(value):
            raise Invalid(f"{name.replace('_', ' ')} is more than 0", field=name)
    except NotAQuantity as error:
        raise Invalid(f"{name.replace('_', ' ')}: {error}", field=name) from error
