"""Make versions of plans of what drafts say; see `credits.services.from_drafts`."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    minor_in,
    text_in,
    texts_in,
    whole_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from credits.models import RateCard
from invoicing.items import Item
from invoicing.models import Plan
from invoicing.models.plan import IntervalUnit
from invoicing.services.plans import PlanTerms, propose_plan_version
from metering.models import Customer
from metering.selectors.customers import customer_named

_OF_ITEMS = {
    "kind", "code", "name", "amount_minor", "percent", "credits", "timing", "periods", "kinds",
}  # fmt: skip


@materialise(
    "plan",
    {
        "plan": "scale", "rate_card": "standard", "currency": "USD", "fee_minor": 87500,
        "included_credits": "10000", "overage_price": "0.01", "interval": "1 month",
        "anchor": "calendar", "grace_hours": 24, "payment_days": 30,
        "items": [
            {"kind": "seat", "code": "seats", "name": "Team seats", "amount_minor": 2000},
            {
                "kind": "commit", "code": "minimum", "name": "Monthly minimum",
                "amount_minor": 87500, "periods": 1, "kinds": ["overage"],
            },
        ],
    },
)  # fmt: skip
def plan_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a plan."""
    plan = Plan.objects.filter(code=text_in(content, "plan")).first()
    if plan is None:
        raise Invalid(f"no plan has the code {content['plan']}", field="plan")
    cards = RateCard.objects.select_related("pricing_unit")
    card = cards.filter(code=text_in(content, "rate_card")).first()
    if card is None:
        raise Invalid(f"no rate card has the code {content['rate_card']}", field="rate_card")
    count, unit = _interval(content)
    terms = PlanTerms(
        currency=text_in(content, "currency"),
        fee_minor=minor_in(content, "fee_minor"),
        included_credits=decimal_or_none_in(content, "included_credits") or Decimal(0),
        overage_price=decimal_or_none_in(content, "overage_price") or Decimal(0),
        rate_card=card,
        interval_unit=unit,
        interval_count=count,
        grace_hours=whole_in(content, "grace_hours", PlanTerms.grace_hours),
        payment_days=whole_in(content, "payment_days", PlanTerms.payment_days),
        threshold_minor=minor_in(content, "threshold_minor")
        if "threshold_minor" in content
        else None,
        anchor=text_in(content, "anchor", PlanTerms.anchor),
        items=_items(content),
        customer=_customer(content),
    )
    propose_plan_version(plan=plan, terms=terms, proposal=proposal, by=by, at=at)


def _customer(content: Content) -> Customer | None:
    """Read whose own terms they are; the external id names them."""
    return customer_named(text_in(content, "customer")) if content.get("customer") else None


def _interval(content: Content) -> tuple[int, str]:
    """Read "1 month" or "30 days" as a count and a unit."""
    count, _, words = text_in(content, "interval").partition(" ")
    unit = words.removesuffix("s")
    is_count = count.isascii() and count.isdecimal() and len(count) < 4
    if not is_count or unit not in IntervalUnit.values:
        raise Invalid("an interval reads as 1 month or 30 days", field="interval")
    return int(count), unit


def _items(content: Content) -> tuple[Item, ...]:
    """Read items as `content_of_item` writes them; whether they are sound is theirs to say."""
    rows = content.get("items", [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Invalid("items are a list of named values", field="items")
    items = []
    for index, row in enumerate(rows):
        path = f"items[{index}]."
        _refuse_unknown(row, _OF_ITEMS, path)
        try:
            items.append(_item(row))
        except Invalid as error:
            raise Invalid(str(error), field=path + error.field) from error
    return tuple(items)


def _item(row: Content) -> Item:
    return Item(
        text_in(row, "kind"),
        text_in(row, "code"),
        text_in(row, "name"),
        amount_minor=minor_in(row, "amount_minor", 0),
        percent=decimal_or_none_in(row, "percent"),
        credits=decimal_or_none_in(row, "credits"),
        timing=text_in(row, "timing", Item.timing),
        periods=whole_in(row, "periods", Item.periods),
        kinds=tuple(texts_in(row, "kinds")),
    )


def _refuse_unknown(row: Content, known: set[str], path: str) -> None:
    if unknown := sorted(map(str, row.keys() - known)):
        raise Invalid(f"known are {', '.join(sorted(known))}", field=f"{path}{unknown[0]}")
