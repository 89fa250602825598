"""A proposed plan tells what subscribers' last periods would have come to, and can be drafted."""

import json
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.approvals import approve, is_as_proposed
from billing_project.kernel.backoffice.policies import preview_html
from billing_project.kernel.drafts import draft, revise, submit
from billing_project.kernel.effects import Effect, effect_in, simulate
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from credits.services.grants import issue_grant
from invoicing.items import Item
from invoicing.models import PlanVersion, Subscription
from invoicing.plan_worth import Bill, Usage, Worth, period_bill
from invoicing.selectors.plan_effects import BASIS
from invoicing.services.coupons import CouponTerms, propose_coupon
from invoicing.services.plans import propose_plan_version
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    dollar_card,
    subscribed,
    terms,
    use,
    words,
)

pytestmark = pytest.mark.django_db
CONTENT: dict[str, Any] = {
    "plan": "plan-acme", "currency": "USD", "fee_minor": 5900, "included_credits": "300",
    "overage_price": "0.01", "rate_card": "standard", "interval": "30 days", "grace_hours": 24,
    "payment_days": 30,
    "items": [
        {
            "kind": "commit", "code": "commit", "name": "Commit", "amount_minor": 9000,
            "periods": 3, "kinds": ["overage"],
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("charge", "otherwise", "worth"),
    [
        ("350", "0", "52.00"),  # 49.00 + (350 - 100) x 0.012
        ("350", "200", "49.60"),  # 49.00 + (150 - 100) x 0.012
        ("100", "0", "49.00"),
        ("50", "80", "49.00"),  # Repriced below what grants paid: nothing is paid back.
        ("100.4", "0", "49.00"),  # 0.0048 settles to nothing.
    ],
)
def test_included_credits_pay_what_other_grants_did_not(
    charge: str, otherwise: str, worth: str
) -> None:
    standard = Worth("USD", 4900, Decimal(100), Decimal("0.012"))

    came_to = period_bill(standard, Usage(Decimal(charge), Decimal(otherwise))).total

    assert came_to.decimal == Decimal(worth)


SEAT = Item("seat", "seat", "Seat", 1000)
FURTHER = Item("recurring", "more", "Support", 2000)
COMMIT = Item("commit", "commit", "Commit", 24000, periods=3, kinds=("overage", "recurring"))
TENTH = Item("discount", "ten", "Ten", percent=Decimal(10), kinds=("recurring",), periods=2)


@pytest.mark.parametrize(
    ("items", "index", "worth"),
    [
        ([SEAT], 0, "82.00"),  # 49.00 + 3.00 + 3 x 10.00
        ([FURTHER], 0, "72.00"),  # 49.00 + 20.00 + 3.00
        ([COMMIT], 0, "80.00"),  # 240.00 / 3 = 80.00; 52.00 count, 28.00 are missing.
        ([TENTH], 1, "47.10"),  # 49.00 - 4.90 + 3.00: overage is never discounted.
        ([TENTH], 2, "52.00"),  # It lasted two periods.
        ([COMMIT, TENTH, SEAT], 0, "105.10"),  # 44.10 + 3.00 + 30.00 + 28.00: before discounts.
    ],
)
def test_items_are_part_of_what_a_period_comes_to(
    items: list[Item], index: int, worth: str
) -> None:
    terms = Worth("USD", 4900, Decimal(100), Decimal("0.012"), tuple(items))

    bill = period_bill(terms, Usage(Decimal(350), Decimal(0), seats=3, index=index))

    assert bill.total.decimal == Decimal(worth)


def test_a_bill_says_each_part() -> None:
    terms = Worth("USD", 4900, Decimal(100), Decimal("0.012"), (COMMIT, TENTH, SEAT))

    bill = period_bill(terms, Usage(Decimal(350), Decimal(0), seats=3))

    assert bill == Bill("USD", fees=4900, seats=3000, overage=300, discounts=-490, commit=2800)


@pytest.fixture
def acme(shop: Shop) -> Subscription:
    """Return a subscription with 350 credits used in its first period, which is over."""
    subscription = subscribed(shop)
    use(shop, 350, START + DAY)
    use(shop, 5, END + DAY, "req-2")
    return subscription


def _proposed(shop: Shop, subscription: Subscription, **changes: Any) -> PlanVersion:
    return propose_plan_version(
        plan=subscription.plan_version.plan, terms=terms(shop, **changes), proposal=words(END),
        by=shop.maker, at=END + 2 * DAY,
    )  # fmt: skip


def _effect(version: PlanVersion) -> Effect:
    effect = simulate(version.policy_change)
    assert effect is not None
    return effect


def _told(effect: Effect) -> list[str]:
    return [
        f"{row.subject}: {plain(row.before)} {plain(row.after)} {row.unit}"
        for row in effect.figures
    ]


def _parts(effect: Effect) -> list[str]:
    return [
        f"{row.subject}: {plain(row.before)} {plain(row.after)}"
        for row in effect.rows
        if row.part_of == "Charges of acme"
    ]


def test_a_plan_bills_its_subscribers_last_period_again(shop: Shop, acme: Subscription) -> None:
    subscribed(shop, "other")

    effect = _effect(
        _proposed(
            shop, acme, fee_minor=5900, included_credits=Decimal(300),
            overage_price=Decimal("0.01"),
        )
    )  # fmt: skip

    # From 49.00 + 250 x 0.012 to 59.00 + 50 x 0.01; the other plan's subscriber is not touched.
    assert _told(effect) == ["Charges of acme: 52 59.5 USD"]
    assert (effect.basis, effect.customers) == (BASIS, 1)


def test_terms_of_one_customer_are_compared_with_that_customer_only(
    shop: Shop, acme: Subscription
) -> None:
    other = subscribed(shop, "other")

    theirs = _effect(_proposed(shop, acme, customer=other.customer, fee_minor=5900))
    own = _effect(_proposed(shop, other, customer=acme.customer, fee_minor=5900))

    assert _told(theirs) == ["Charges of other: 49 59 USD"]
    # Whatever plan they have now: acme's own terms are of the other plan.
    assert _told(own) == ["Charges of acme: 52 62 USD"]


def test_items_are_billed_again(shop: Shop, acme: Subscription) -> None:
    items = (
        Item("commit", "commit", "Commit", 18000, periods=3, kinds=("overage", "recurring")),
        Item("discount", "half", "Half", percent=Decimal(50), kinds=("recurring",)),
    )

    effect = _effect(_proposed(shop, acme, items=items))

    # 24.50 + 3.00, and 60.00 - 52.00 that the commit misses.
    assert _told(effect) == ["Charges of acme: 52 35.5 USD"]
    assert _parts(effect) == [
        "Fees: 49 49", "Overage: 3 3", "Discounts: 0 -24.5", "Missing to the commit: 0 8",
    ]  # fmt: skip


def test_parts_that_offset_each_other_are_shown(shop: Shop, acme: Subscription) -> None:
    effect = _effect(_proposed(shop, acme, fee_minor=5200, overage_price=Decimal(0)))

    assert _told(effect) == ["Charges of acme: 52 52 USD"]
    page = preview_html(effect)
    assert "<td>Fees</td>" in page
    assert "<td>Overage</td>" in page


def test_a_coupon_tells_what_it_takes_off_the_last_period(shop: Shop, acme: Subscription) -> None:
    terms = CouponTerms(
        code="LAUNCH20", name="Launch", kinds=("recurring",), starts_at=END, percent=Decimal(20),
        periods=2, max_redemptions=100,
    )  # fmt: skip
    coupon = propose_coupon(terms=terms, proposal=words(END), by=shop.maker, at=END + 2 * DAY)
    effect, _ = effect_in(coupon.policy_change.effect or {})

    # 20 % of 49.00 are 9.80.
    assert _told(effect) == ["Charges of acme: 52 42.2 USD"]
    assert _parts(effect) == ["Fees: 49 49", "Overage: 3 3", "Discounts: 0 -9.8"]
    assert effect.basis.endswith("lowers 2 of their periods, and at most 100 may redeem it")


def test_what_other_grants_paid_they_pay_again(shop: Shop) -> None:
    acme = subscribed(shop)
    issue_grant(
        customer=acme.customer, category="promotional", amount=Decimal(200),
        pricing_unit=shop.unit, reason_code="welcome", source_key="welcome", by=shop.maker,
        at=START, effective_at=START, priority=0,
    )  # fmt: skip
    use(shop, 350, START + DAY)

    # 150 credits are not paid by the gift: 50 above the 100 included, or all 150.
    [told] = _told(_effect(_proposed(shop, acme, included_credits=Decimal(0))))
    assert told == "Charges of acme: 49.6 50.8 USD"


def test_another_rate_card_prices_the_usage_again(shop: Shop, acme: Subscription) -> None:
    effect = _effect(
        _proposed(
            shop, acme, rate_card=dollar_card(shop), included_credits=Decimal(0),
            overage_price=Decimal(1), interval_unit="month", interval_count=1,
        )
    )  # fmt: skip

    # 49.00 + 100 x 0.03 + 250 x 0.02.
    assert _told(effect) == ["Charges of acme: 52 57 USD"]
    assert effect.basis.endswith(". The proposed fee is for 1 month, theirs for 30 day")


def test_in_another_currency_nothing_is_compared(shop: Shop, acme: Subscription) -> None:
    effect = _effect(_proposed(shop, acme, currency="EUR"))

    assert (effect.rows, effect.customers) == ((), 1)


def test_a_plan_is_drafted_and_an_edit_voids_its_approval(shop: Shop, acme: Subscription) -> None:
    first = submit(change=_drafted(shop, CONTENT | {"anchor": "start"}), by=shop.maker, at=END)
    assert is_as_proposed(first)

    second = submit(
        change=revise(change=first, by=shop.maker, reason="words", at=END), by=shop.maker, at=END
    )

    approve(change=second, by=shop.approver, reason="fits", at=END)
    version = PlanVersion.objects.get(policy_change=second)
    assert (version.number, version.fee_minor, version.interval_count) == (3, 5900, 30)
    assert is_as_proposed(second)
    assert json.loads(second.content) == {**CONTENT, "interval": "30 day", "number": 3}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"plan": "none"}, "plan"),
        ({"plan": ["none"]}, "plan"),
        ({"rate_card": "none"}, "rate_card"),
        ({"currency": "XXQ"}, "currency"),
        ({"fee_minor": "many"}, "fee_minor"),
        ({"fee_minor": -1}, "fee"),
        ({"included_credits": "1e-13"}, "included_credits"),
        ({"overage_price": {}}, "overage_price"),
        ({"interval": "month"}, "interval"),
        ({"interval": "1 week"}, "interval"),
        ({"interval": "1 dayss"}, "interval"),
        ({"interval": 7}, "interval"),
        ({"grace_hours": 10**6}, "grace_hours"),
        ({"payment_days": None}, "payment_days"),
        ({"seats": 3}, "seats"),
        ({"items": {}}, "items"),
        ({"items": [{"kind": "commit", "code": "a", "name": 7}]}, "items[0].name"),
        ({"items": [{"color": "red"}]}, "items[0].color"),
        ({"items": [{"kind": "luck", "code": "a", "name": "A"}]}, "items"),
    ],
)
def test_a_draft_that_is_no_plan_names_its_field(
    shop: Shop, acme: Subscription, change: dict[str, Any], field: str
) -> None:
    row = _drafted(shop, CONTENT | change)

    with pytest.raises(Invalid) as refused:
        submit(change=row, by=shop.maker, at=END)

    assert refused.value.field == field


def _drafted(shop: Shop, content: dict[str, Any]) -> PolicyChange:
    return draft(kind="plan", content=content, proposal=words(END), by=shop.maker, at=END)
