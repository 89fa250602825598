"""Make plans and propose their terms; a version is sold only after somebody else approved it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, content_of, propose_version
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.money import is_currency
from billing_project.kernel.quantity import plain, round_unrounded
from credits.models import RateCard
from invoicing.items import BadItem, Item, content_of_item, refuse_unsound
from invoicing.models import Anchor, Plan, PlanItem, PlanVersion
from invoicing.periods import Unit
from invoicing.selectors import items_of, terms_end_before
from metering.models import Customer

_LARGEST_FEE, _LARGEST_CREDITS, _LARGEST_PRICE = 10**15, Decimal(10) ** 24, Decimal(10) ** 15
_LONGEST_COUNT, _LONGEST_HOURS, _LONGEST_DAYS = 366, 24 * 35, 366


@dataclass(frozen=True)
class PlanTerms:
    """What a plan version sells: a fee in advance, credits with it, a price beyond them."""

    currency: str
    fee_minor: int
    included_credits: Decimal
    overage_price: Decimal  # Major units for one credit; 1 where the rate card is in a currency.
    rate_card: RateCard
    interval_unit: str  # "day" or "month"
    interval_count: int
    grace_hours: int = 24
    payment_days: int = 30
    anchor: str = "start"  # Or "calendar": periods begin with a month, the first one is shorter.
    threshold_minor: int | None = None  # Overage that is invoiced before the period ends.
    customer: Customer | None = None  # Whose own terms they are; None: anybody's.
    items: tuple[Item, ...] = ()  # What else is sold: seats, a commit, discounts, packs.


@transaction.atomic
def create_plan(*, code: str, name: str, by: User, at: datetime) -> Plan:
    """Make a named package without terms; the same again returns the same row.

    Raises:
        Conflict: the code belongs to a plan of another name.
    """
    if not code.strip() or not name.strip():
        raise Invalid("a plan needs its code and its name")
    plan, is_new = Plan.objects.get_or_create(code=code, defaults={"name": name})
    if plan.name != name:
        raise Conflict(f"plan {code} exists under the name {plan.name}")
    if is_new:
        audit.record(by=by, at=at, action="create_plan", subject=plan)
    return plan


@transaction.atomic
def propose_plan_version(
    *, plan: Plan, terms: PlanTerms, proposal: Proposal, by: User, at: datetime
) -> PlanVersion:
    """Write down new terms of a plan and propose them for approval.

    Raises:
        Invalid: a term is out of its bounds, an item is unsound, the rate card is in another
            currency, or the plan would have no terms for a while; the message says from when.
    """
    _refuse_out_of_bounds(terms)
    _refuse_other_worth(terms)
    _refuse_unsound_items(terms)
    locked = Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)
    if terms.customer is None:
        _refuse_gap(locked, proposal.effective_at)
    elif terms.customer.currency != terms.currency:
        raise Invalid(f"{terms.customer} pays in {terms.customer.currency}", field="currency")
    newest = locked.versions.order_by("-number").values_list("number", flat=True).first()
    version = PlanVersion(
        plan=locked,
        number=(newest or 0) + 1,
        currency=terms.currency,
        fee_minor=terms.fee_minor,
        included_credits=terms.included_credits,
        overage_price_unrounded=terms.overage_price,
        rate_card=terms.rate_card,
        interval_unit=terms.interval_unit,
        interval_count=terms.interval_count,
        grace_hours=terms.grace_hours,
        payment_days=terms.payment_days,
        threshold_minor=terms.threshold_minor,
        anchor=terms.anchor,
        customer=terms.customer,
    )
    propose_version(
        version,
        kind="plan",
        subject=f"plan:{locked.code}:{version.number}",
        content=_content(version, terms.items),
        proposal=proposal,
        by=by,
        at=at,
    )
    _write_items(version, terms.items)
    return version


def _write_items(version: PlanVersion, items: Sequence[Item]) -> None:
    PlanItem.objects.bulk_create(
        PlanItem(
            plan_version=version, position=position, kind=item.kind, code=item.code,
            name=item.name, amount_minor=item.amount_minor, percent=item.percent,
            credits=item.credits, timing=item.timing, periods=item.periods,
            kinds=list(item.kinds),
        )
        for position, item in enumerate(items, start=1)
    )  # fmt: skip


@content_of("plan")
def _content_of_change(change: PolicyChange) -> dict[str, object]:
    versions = PlanVersion.objects.select_related("plan", "rate_card", "customer")
    version = versions.get(policy_change=change)
    return _content(version, items_of(version))


def _content(version: PlanVersion, items: Sequence[Item]) -> dict[str, object]:
    """Write the whole version as plain values: what the approver's hash is taken of.

    What a version does not use is left out, so that older ones read as they were approved.
    """
    content: dict[str, object] = {
        "plan": version.plan.code,
        "number": version.number,
        "currency": version.currency,
        "fee_minor": version.fee_minor,
        "included_credits": plain(version.included_credits),
        "overage_price": plain(version.overage_price_unrounded),
        "rate_card": version.rate_card.code,
        "interval": f"{version.interval_count} {version.interval_unit}",
        "grace_hours": version.grace_hours,
        "payment_days": version.payment_days,
    }
    if version.anchor != Anchor.START:
        content["anchor"] = version.anchor
    if version.threshold_minor is not None:
        content["threshold_minor"] = version.threshold_minor
    if version.customer is not None:
        content["customer"] = version.customer.external_id
    if items:
        content["items"] = [content_of_item(item) for item in items]
    return content


def _refuse_unsound_items(terms: PlanTerms) -> None:
    try:
        refuse_unsound(terms.items)
    except BadItem as error:
        raise Invalid(str(error), field="items") from error


def _refuse_gap(plan: Plan, effective_at: datetime) -> None:
    """Refuse terms that begin after earlier ones ran out: nothing could be sold in between."""
    ends_at = terms_end_before(plan, effective_at)
    if ends_at is not None:
        raise Invalid(
            f"plan {plan.code} would have no terms from {ends_at.isoformat()}"
            f" to {effective_at.isoformat()}: begin at {ends_at.isoformat()} or before",
            field="effective_at",
        )


def _refuse_other_worth(terms: PlanTerms) -> None:
    """Where usage is priced in a currency, what is not covered is claimed as it was priced."""
    unit = terms.rate_card.pricing_unit
    if terms.rate_card.base_id is not None:
        raise Invalid("a plan names a rate card, not an override of one", field="rate_card")
    if not unit.currency:
        return
    if unit.currency != terms.currency:
        raise Invalid(
            f"the rate card is priced in {unit.currency}: so is the plan", field="currency"
        )
    if terms.overage_price != 1:
        raise Invalid(f"one {unit} of overage is worth 1 {unit.currency}", field="overage_price")


def _refuse_out_of_bounds(terms: PlanTerms) -> None:
    if not is_currency(terms.currency):
        raise Invalid(f"{terms.currency} is no currency", field="currency")
    if terms.interval_unit not in set(Unit):
        raise Invalid("an interval counts days or months", field="interval")
    if terms.anchor not in set(Anchor):
        raise Invalid("periods are counted from the start or the calendar", field="anchor")
    if terms.anchor == Anchor.CALENDAR and terms.interval_unit != Unit.MONTH:
        raise Invalid("only months begin with the calendar", field="anchor")
    bounds: dict[str, tuple[Decimal | int, int, Decimal | int]] = {
        "fee": (terms.fee_minor, 0, _LARGEST_FEE),
        "included credits": (terms.included_credits, 0, _LARGEST_CREDITS),
        "overage price": (terms.overage_price, 0, _LARGEST_PRICE),
        "interval": (terms.interval_count, 1, _LONGEST_COUNT),
        "grace hours": (terms.grace_hours, 0, _LONGEST_HOURS),
        "payment days": (terms.payment_days, 0, _LONGEST_DAYS),
    }
    if terms.threshold_minor is not None:
        bounds["threshold"] = (terms.threshold_minor, 1, _LARGEST_FEE)
    for name, (value, least, most) in bounds.items():
        _refuse_outside(name, Decimal(value), Decimal(least), Decimal(most))


def _refuse_outside(name: str, value: Decimal, least: Decimal, most: Decimal) -> None:
    field = name.replace(" ", "_")
    if not value.is_finite() or not least <= value < most:
        raise Invalid(f"a plan's {name} is at least {least} and less than {most:f}", field=field)
    if round_unrounded(value) != value:
        raise Invalid(f"a plan's {name} has at most 12 decimals", field=field)
