"""The burn table in money: the value of a credit, margins, totals, and what is missing."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from billing_project.console.burn_table import first_choice, plans_of, report_of, versions_of
from billing_project.kernel.approvals import approve, reject
from billing_project.kernel.models import User
from credits.margins import Mark
from credits.models import RateCardVersion
from credits.services.grants import issue_grant
from credits.services.rates import RateInput, propose_rate_card_version
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.models import Subscription
from tests.console.backoffice import client_of
from tests.console.chain import USED_AT
from tests.credits.pricing import supplier_prices
from tests.invoicing.builders import START, Shop, open_shop, subscribed, use, words

pytestmark = pytest.mark.django_db
MILLION = Decimal(1_000_000)


@pytest.fixture
def shop(db: None, settings: Any) -> Shop:
    """Return a shop whose supplier takes USD 5 for a million output tokens of `small`."""
    settings.BILLING_CLOCK = (USED_AT + timedelta(days=1)).isoformat()
    shop = open_shop()
    supplier_prices(
        [SupplierPrice("acme", "small", TokenKind.OUTPUT, Decimal("0.000005"))],
        START,
        shop.maker,
        shop.approver,
    )
    return shop


@pytest.fixture
def acme(shop: Shop) -> Subscription:
    return subscribed(shop)


def version_of(shop: Shop, price: str, days: int, *, is_approved: bool = True) -> RateCardVersion:
    version = propose_rate_card_version(
        rate_card=shop.rate_card,
        rates=[RateInput("output_tokens", {"model": "small"}, Decimal(price))],
        proposal=words(START + timedelta(days=days)), by=shop.maker, at=START,
    )  # fmt: skip
    if is_approved:
        approve(change=version.policy_change, by=shop.approver, reason="fits", at=START)
    return version


def test_margins_follow_from_credits_the_overage_price_and_the_supplier(
    shop: Shop, acme: Subscription
) -> None:
    # 1,000,000 x 0.0006 credits x USD 0.012 = 7.2; 7.2 - 5 = 2.2: 30.6 %.
    # 1,000,000 x 0.0004 x 0.012 = 4.8; 4.8 - 5 = -0.2: negative.
    one, two = version_of(shop, "0.0006", 1), version_of(shop, "0.0004", 30, is_approved=False)
    use(shop, 500_000, USED_AT)
    (plan,) = plans_of(shop.rate_card, USED_AT)

    report = report_of(shop.rate_card, [one, two], plan, USED_AT + timedelta(days=1))

    (line,) = report.lines
    first, second = line.cells
    assert first
    assert second
    assert first.margin
    assert second.margin
    assert (line.scale, line.supplier, first.credits) == (MILLION, Decimal(5), Decimal(600))
    assert (first.revenue, first.margin.amount) == (Decimal("7.2"), Decimal("2.2"))
    assert (first.margin.mark, second.margin.mark) == (Mark.GOOD, Mark.NEGATIVE)
    assert second.margin.amount == Decimal("-0.2")
    # Half a million was used: half of each margin.
    assert [total.amount for total in report.totals] == [Decimal("1.1"), Decimal("-0.1")]


def test_paid_credits_earn_what_they_cost_on_average(shop: Shop, acme: Subscription) -> None:
    # USD 90 for 10,000 credits: 0.009 each. 600 x 0.009 = 5.4; 5.4 - 5 = 0.4: thin.
    issue_grant(
        customer=acme.customer, category="paid", amount=Decimal(10_000), price_minor=9_000,
        pricing_unit=shop.unit, reason_code="pack", source_key="test:pack", by=shop.maker,
        at=START, effective_at=START,
    )  # fmt: skip
    version = version_of(shop, "0.0006", 1)
    (plan,) = plans_of(shop.rate_card, USED_AT)

    report = report_of(shop.rate_card, [version], plan, USED_AT)

    assert report.value.paid == Decimal("0.009")
    (cell,) = report.lines[0].cells
    assert cell
    assert cell.paid_margin
    assert (cell.paid_margin.amount, cell.paid_margin.mark) == (Decimal("0.4"), Mark.THIN)


def test_the_first_choice_is_what_governs_and_what_waits(shop: Shop, acme: Subscription) -> None:
    governing = version_of(shop, "0.0006", 1)
    rejected = version_of(shop, "0.0005", 2, is_approved=False)
    reject(change=rejected.policy_change, by=shop.approver, reason="too low", at=START)
    waiting = version_of(shop, "0.0004", 30, is_approved=False)
    versions = versions_of(shop.rate_card)

    assert rejected not in versions
    assert first_choice(shop.rate_card, versions, USED_AT) == (governing, waiting)
    alone = [one for one in versions if one != waiting]
    assert first_choice(shop.rate_card, alone, USED_AT) == (governing, None)


def test_the_page_marks_what_is_missing_and_what_loses(
    shop: Shop, acme: Subscription, auditor: User
) -> None:
    version_of(shop, "0.0004", 1)
    use(shop, 500_000, USED_AT)
    use(shop, 7, USED_AT, "req-2", model="next")

    page = client_of(auditor).get(reverse("console:burn_table")).content.decode()
    other = client_of(auditor).get(reverse("console:burn_table"), {"model": "next"})

    assert 'bo-tag-bad">negative' in page
    assert "in traffic, no rate" in page
    assert "no supplier price" in page
    assert "-0.20" in page
    assert "Nothing fits." not in page
    assert [row["model"] for row in other.context["rows"]] == ["next"]


def test_versions_are_chosen_and_nonsense_falls_back(
    shop: Shop, acme: Subscription, auditor: User
) -> None:
    one, two = version_of(shop, "0.0006", 1), version_of(shop, "0.0004", 30, is_approved=False)
    client, url = client_of(auditor), reverse("console:burn_table")

    def shown(**said: object) -> list[int]:
        response = client.get(url, {name: str(value) for name, value in said.items()})
        return [version.number for version in response.context["versions"]]

    card = shop.rate_card.pk
    assert shown() == [one.number, two.number]
    assert shown(card=card, version=two.number, beside=one.number) == [two.number, one.number]
    assert shown(card=card, version=one.number, beside="") == [one.number]
    assert shown(card="x", version="y", beside="z", plan="w") == [one.number, two.number]


def test_the_table_can_be_taken_along(shop: Shop, acme: Subscription, auditor: User) -> None:
    version = version_of(shop, "0.0006", 1)
    use(shop, 500_000, USED_AT)

    response = client_of(auditor).get(reverse("console:burn_table"), {"format": "csv"})

    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    (row,) = csv.DictReader(io.StringIO(text))
    prefix = f"v{version.number}_"
    assert (row["model"], row["per"], row["used"]) == ("small", "1000000", "500000")
    assert (row["supplier_price"], row[f"{prefix}credits"]) == ("5", "600")
    assert (row[f"{prefix}margin"], row[f"{prefix}margin_percent"]) == ("2.2", "30.6")
