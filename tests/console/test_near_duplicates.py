"""Near duplicates with their cost: over HTTP and on the page, where a person may cancel one."""

from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from billing_project.console.near_duplicates import near_duplicate_report
from billing_project.kernel.approvals import approve
from billing_project.kernel.models import User
from credits.services.rates import RateInput, propose_rate_card_version
from metering.events import EventInput
from metering.models import Customer, MeterEvent
from metering.services.capture import capture_events
from metering.services.customers import create_workspace
from tests.console.backoffice import action_url, client_of
from tests.console.chain import USED_AT
from tests.credits.builders import rate
from tests.invoicing.builders import END, START, Shop, open_shop, subscribed, use, words
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db
DAY = {"first_on": f"{USED_AT:%Y-%m-%d}", "last_on": f"{USED_AT:%Y-%m-%d}"}


@pytest.fixture
def shop(db: None) -> Shop:
    """Return a shop in which acme sent the same twice."""
    shop = open_shop()
    subscribed(shop)
    for identifier in ("req-1", "req-2"):
        use(shop, 60, USED_AT, identifier)
    return shop


def test_the_cost_is_that_of_the_reports_after_the_first(shop: Shop) -> None:
    customer = MeterEvent.objects.select_related("customer").earliest("id").customer

    report = near_duplicate_report(customer, START, END)

    (rate,) = report.cost.values()
    assert (report.extra, report.quantities) == (1, {"output_tokens": Decimal(60)})
    assert rate == 60  # One credit each.
    assert report.clusters[0].cost == report.cost


def _price(shop: Shop, rates: list[RateInput]) -> None:
    """Approve a next version of the card."""
    version = propose_rate_card_version(
        rate_card=shop.rate_card, rates=rates, proposal=words(START), by=shop.maker, at=START
    )
    approve(change=version.policy_change, by=shop.approver, reason="fits", at=START)


def test_a_workspace_costs_what_its_own_rate_says(shop: Shop) -> None:
    customer = Customer.objects.get(external_id="acme")
    create_workspace(customer=customer, external_id="lab", name="lab", by=shop.maker, at=USED_AT)
    place = {"output_tokens": "10", "model": "small"}
    events = [
        EventInput(
            event_name="llm_request", identifier=f"{workspace}-{number}", customer="acme",
            timestamp=USED_AT, properties=place, workspace=workspace,
        )
        for workspace in ("lab", "") for number in "ab"
    ]  # fmt: skip
    capture_events(items=events, sender="test", at=USED_AT)
    _price(shop, [rate("output_tokens", "1"), rate("output_tokens", "7", workspace="lab")])

    found = near_duplicate_report(customer, START, END)

    costs = {one.cluster.identifiers[0]: one.cost["credit"] for one in found.clusters[1:]}
    assert costs == {"lab-a": 70, "-a": 10}


def test_what_is_more_than_can_be_charged_costs_nothing_yet(shop: Shop) -> None:
    customer = Customer.objects.get(external_id="acme")
    _price(shop, [rate("output_tokens", "1000")])
    use(shop, "9" * 24, USED_AT, "huge-1")
    use(shop, "9" * 24, USED_AT, "huge-2")

    report = near_duplicate_report(customer, START, END)

    assert sorted(one.cost.get("credit", 0) for one in report.clusters) == [0, 60_000]


def test_usage_without_a_rate_costs_nothing_yet(shop: Shop) -> None:
    subscribed(shop, "beta")
    early = START.replace(year=START.year - 1)
    for identifier in ("a", "b"):
        use(shop, 5, USED_AT, identifier, "beta")
    customer = MeterEvent.objects.filter(identifier="a").select_related("customer").get().customer

    assert near_duplicate_report(customer, early, early.replace(day=early.day + 1)).cost == {}
    assert near_duplicate_report(customer, START, END).extra == 1


def test_the_api_answers_clusters_with_cost(shop: Shop) -> None:
    span = {"start": f"{START:%Y-%m-%dT%H:%M:%SZ}", "end": f"{END:%Y-%m-%dT%H:%M:%SZ}"}

    answer = Caller("usage:read").get("near_duplicates", customer="acme", **span).json()
    too_long = Caller("usage:read").get("near_duplicates", **span)

    (cluster,) = answer["data"]
    assert cluster["identifiers"] == ["req-1", "req-2"]
    assert cluster["added"][0]["quantity"] == "60"
    assert list(answer["cost"].values()) == ["60"]
    assert too_long.status_code == 422


def test_the_page_offers_to_cancel_all_but_the_first(
    shop: Shop, engineer: User, auditor: User, settings: Any
) -> None:
    settings.BILLING_CLOCK = USED_AT.isoformat()
    url = reverse("console:near_duplicates")
    first, second = MeterEvent.objects.order_by("id")

    of_engineer, of_auditor, unasked, of_nobody = (
        client_of(person).get(url, query).content.decode()
        for person, query in (
            (engineer, DAY), (auditor, DAY), (auditor, {}), (auditor, {**DAY, "customer": "x"}),
        )
    )  # fmt: skip

    assert "60 output_tokens" in of_engineer
    assert "no rate" not in of_engineer
    assert action_url(second, "cancel") in of_engineer
    assert action_url(first, "cancel") not in of_engineer
    assert action_url(second, "cancel") not in of_auditor
    assert "Reports beside the first" not in unasked
    assert "No customer has this external id." in of_nobody


def test_the_page_tells_what_no_rate_prices(
    shop: Shop, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits.selectors.worth._rate", lambda *_: None)

    page = client_of(auditor).get(reverse("console:near_duplicates"), DAY).content.decode()

    assert "no rate" in page
    assert "1 cluster without a rate" in page
