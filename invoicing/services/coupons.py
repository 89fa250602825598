"""Propose coupons for approval, and redeem them on subscriptions."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, content_of, propose_version
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.money import is_currency
from billing_project.kernel.quantity import plain
from invoicing.items import BadItem, Item, refuse_unsound
from invoicing.models import Coupon, CouponRedemption, Subscription
from invoicing.selectors import billing_periods_of
from invoicing.selectors.offers import find_coupon
from invoicing.services.locks import require_permission
from metering.services.customers import lock_customer, refuse_closed

_MOST_REDEMPTIONS = 10**6

register_kind(
    Kind(
        "coupon",
        "Coupon",
        is_rule=False,
        consequence="Whoever has the code may redeem it while it runs, as often as it allows. It"
        " cannot be edited; it ends with its own dates.",
    )
)


@dataclass(frozen=True)
class CouponTerms:
    """What a coupon takes off, for how long, for how many.

    Attributes:
        code: Capital letters, digits, - and _.
        percent: Off the lines of its kinds; None: an amount off a period's first claim.
        kinds: Kinds of lines that it lowers.
        periods: How many periods it lowers; 0: all that follow.
        expires_at: When it can be redeemed no longer; None: never.
    """

    code: str
    name: str
    kinds: tuple[str, ...]
    starts_at: datetime
    percent: Decimal | None = None
    amount_minor: int = 0
    currency: str = ""
    periods: int = 1
    expires_at: datetime | None = None
    max_redemptions: int | None = None


@transaction.atomic
def propose_coupon(*, terms: CouponTerms, proposal: Proposal, by: User, at: datetime) -> Coupon:
    """Write a coupon down and propose it for approval.

    Raises:
        Invalid: a term is out of its bounds; the message says which.
        Conflict: the code is taken.
    """
    _refuse_bad(terms)
    if Coupon.objects.filter(code=terms.code).exists():
        raise Conflict(f"a coupon has the code {terms.code} already")
    coupon = Coupon(
        code=terms.code, name=terms.name, percent=terms.percent, amount_minor=terms.amount_minor,
        currency=terms.currency, kinds=list(terms.kinds), periods=terms.periods,
        starts_at=terms.starts_at, expires_at=terms.expires_at,
        max_redemptions=terms.max_redemptions,
    )  # fmt: skip
    return propose_version(
        coupon,
        kind="coupon", subject=f"coupon:{terms.code}", content=_content(coupon),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip


@transaction.atomic
def redeem_coupon(
    *, subscription: Subscription, code: str, by: User, at: datetime
) -> CouponRedemption:
    """Redeem a coupon on a subscription: it lowers claims from the next period that begins on.

    The same coupon again returns the same redemption.

    Raises:
        NotAllowed: a person without the permission.
        NotFound: no coupon has the code.
        Conflict: it is not approved, does not run, has no redemptions left, is in another currency,
            or the customer is closed; the message says what is missing or left.
    """
    require_permission(by, "invoicing.manage_subscription", "change subscriptions")
    refuse_closed(lock_customer(subscription.customer_id))
    coupon = Coupon.objects.select_for_update(no_key=True).get(pk=find_coupon(code).pk)
    same = CouponRedemption.objects.filter(coupon=coupon, subscription=subscription).first()
    if same is not None:
        return same
    taken = coupon.redemptions.aggregate(last=Max("sequence"))["last"] or 0
    _refuse_unredeemable(coupon, subscription, taken, at)
    redemption = CouponRedemption.objects.create(
        coupon=coupon,
        subscription=subscription,
        sequence=taken + 1,
        from_at=_from_at(subscription),
        redeemed_at=at,
        redeemed_by=by,
    )
    audit.record(by=by, at=at, action="redeem_coupon", subject=redemption, code=coupon.code)
    return redemption


@content_of("coupon")
def _content_of_change(change: PolicyChange) -> dict[str, object]:
    return _content(Coupon.objects.get(policy_change=change))


def _content(coupon: Coupon) -> dict[str, object]:
    """Write the whole coupon as plain values: what the approver's hash is taken of."""
    return {
        "code": coupon.code,
        "name": coupon.name,
        "percent": None if coupon.percent is None else plain(coupon.percent),
        "amount_minor": coupon.amount_minor,
        "currency": coupon.currency,
        "kinds": coupon.kinds,
        "periods": coupon.periods,
        "starts_at": coupon.starts_at.isoformat(),
        "expires_at": coupon.expires_at.isoformat() if coupon.expires_at else None,
        "max_redemptions": coupon.max_redemptions,
    }


def _from_at(subscription: Subscription) -> datetime:
    """Return where the next period begins; at a subscription's sale that is its start."""
    last = billing_periods_of(subscription).last()
    return last.end_at if last else subscription.start_at


def _refuse_unredeemable(
    coupon: Coupon, subscription: Subscription, taken: int, at: datetime
) -> None:
    currency = subscription.plan_version.currency
    if coupon.policy_change.status != PolicyStatus.APPROVED:
        raise Conflict(f"coupon {coupon} is not approved: it is {coupon.policy_change.status}")
    if at < coupon.starts_at:
        raise Conflict(f"coupon {coupon} begins at {coupon.starts_at.isoformat()}")
    if coupon.expires_at is not None and at >= coupon.expires_at:
        raise Conflict(
            f"coupon {coupon} expired at {coupon.expires_at.isoformat()}", code="coupon_expired"
        )
    if coupon.max_redemptions is not None and taken >= coupon.max_redemptions:
        raise Conflict(
            f"coupon {coupon} was redeemed {taken} of {coupon.max_redemptions} times: none is left",
            code="coupon_used_up",
        )
    if coupon.currency and coupon.currency != currency:
        raise Conflict(f"coupon {coupon} is in {coupon.currency}, the subscription in {currency}")


def _refuse_bad(terms: CouponTerms) -> None:
    """Judge what a coupon takes off as a plan's discount is judged, and its dates and numbers."""
    offer = Item(
        "discount", terms.code.lower(), terms.name, terms.amount_minor, terms.percent,
        periods=terms.periods, kinds=terms.kinds,
    )  # fmt: skip
    try:
        refuse_unsound([offer])
    except BadItem as error:
        raise Invalid(str(error).replace("item ", "coupon ", 1)) from error
    if terms.code != terms.code.upper():
        raise Invalid("a coupon's code has capital letters", field="code")
    if terms.percent is None and not is_currency(terms.currency):
        raise Invalid("a coupon over an amount has a currency", field="currency")
    if terms.percent is not None and terms.currency:
        raise Invalid("a coupon over a percent has no currency", field="currency")
    if terms.expires_at is not None and terms.expires_at <= terms.starts_at:
        raise Invalid("a coupon expires after it begins", field="expires_at")
    if terms.max_redemptions is not None and not 0 < terms.max_redemptions <= _MOST_REDEMPTIONS:
        raise Invalid(
            f"a coupon is redeemed 1 to {_MOST_REDEMPTIONS} times", field="max_redemptions"
        )
