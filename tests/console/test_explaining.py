"""Why is this not billed? The whole way of an event, over all apps."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_project.console.explaining import explain, explain_all
from billing_project.kernel.models import User
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from metering.events import EventInput
from metering.models import Customer
from metering.selectors.customers import customer_named
from metering.services.capture import capture_events
from metering.services.mapping import map_customer_id
from tests.console.backoffice import client_of
from tests.console.chain import CLOSED_AT, USED_AT, run_chain
from tests.invoicing.builders import END, Shop, open_shop, subscribed, use
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db: None) -> Shop:
    return open_shop()


def test_overage_is_on_its_invoice_and_recognised() -> None:
    run_chain()

    told = explain("acme", "req-2", CLOSED_AT)

    assert [step.name for step in told.steps] == [
        "received", "metered", "aggregated", "rated", "overage", "invoiced", "recognised",
    ]  # fmt: skip
    assert {str(step.progress) for step in told.steps} == {"done"}
    assert told.state == "recognised"
    assert told.summary.startswith("Billed: 40 ")
    assert "drawn from" in told.summary
    assert "50" in told.summary
    assert "INV-" in told.summary
    assert "(0.60 USD)" in told.summary


def test_what_credits_paid_is_not_invoiced_again() -> None:
    run_chain()

    told = explain("acme", "req-1", CLOSED_AT)

    assert told.summary.endswith("paid by credits: nothing of it is to be invoiced.")
    assert told.steps[-1].name == "recognised"


def test_the_invoice_of_an_open_period_is_to_come(shop: Shop) -> None:
    customer = subscribed(shop).customer
    use(shop, 150, USED_AT, "req-1")

    told = explain("acme", "req-1", USED_AT)

    assert told.state == "rated"
    assert "is still open; its overage will be on the invoice that follows" in told.summary
    assert told.summary.startswith("Not billed yet: the period 2026-10-21 to 2026-11-20 ")
    Customer.objects.filter(pk=customer.pk).update(time_zone="America/New_York")
    told = explain("acme", "req-1", USED_AT)
    assert told.summary.startswith("Not billed yet: the period 2026-10-20 to 2026-11-19 ")


def test_a_draft_is_named_with_the_end_of_its_grace(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 150, USED_AT, "req-1")
    after = END + timedelta(hours=1)
    before = explain("acme", "req-1", after).summary
    draft_overage_invoices(by=shop.worker, at=after)

    told = explain("acme", "req-1", after)

    assert "has ended and its overage is not drafted yet" in before
    assert told.summary.startswith("Not billed yet: it is on draft ")


def test_what_came_after_its_period_was_invoiced_waits_for_a_further_invoice(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 150, USED_AT, "req-1")
    invoiced_at = END + timedelta(days=3)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=invoiced_at)
    use(shop, 40, USED_AT, "req-2", known_at=invoiced_at)  # Of the same hour.

    told = explain("acme", "req-2", invoiced_at)

    assert "on INV-" in explain("acme", "req-1", invoiced_at).summary
    assert "was invoiced before this was known; a further invoice will claim it" in told.summary


def test_usage_without_a_period_says_so(shop: Shop) -> None:
    subscribed(shop, "beta")
    use(shop, 150, USED_AT - timedelta(days=20), "req-1", "beta")

    told = explain("beta", "req-1", USED_AT)

    assert told.summary == ("Not billed yet: its usage has no charge: no billing period covers it.")


def test_an_identifier_is_explained_for_each_customer(shop: Shop) -> None:
    for customer in ("acme", "beta"):
        subscribed(shop, customer)
        use(shop, 1, USED_AT, "req-1", customer)
    lost = EventInput(event_name="llm_request", identifier="req-1", customer="nobody")
    capture_events(items=[lost], sender="test", at=USED_AT)

    told = explain_all("req-1", USED_AT)

    assert [(one.customer, one.state) for one in told] == [
        ("acme", "rated"), ("beta", "rated"), ("nobody", "quarantined"),
    ]  # fmt: skip


def test_an_event_that_was_mapped_is_explained_once_with_its_quarantine(
    shop: Shop, support: User
) -> None:
    subscribed(shop)
    properties = {"model": "small", "output_tokens": "5"}
    lost = EventInput(
        event_name="llm_request", identifier="req-1", customer="acme-west", properties=properties
    )
    capture_events(items=[lost], sender="test", at=USED_AT)
    acme = customer_named("acme")
    result = map_customer_id(
        external_id="acme-west", customer=acme, reason="renamed", by=support, at=USED_AT
    )
    assert result.replayed == 1

    (told,) = explain_all("req-1", USED_AT)

    assert (told.customer, told.steps[0].name, told.steps[1].name) == (
        "acme", "quarantined", "received",
    )  # fmt: skip
    assert "sent for acme-west" in told.steps[0].text
    assert "replayed by sam.support" in told.steps[0].text


def test_the_page_draws_the_steps(shop: Shop, auditor: User, settings: Any) -> None:
    settings.BILLING_CLOCK = USED_AT.isoformat()
    subscribed(shop)
    use(shop, 150, USED_AT, "req-1")
    client, url = client_of(auditor), reverse("console:why")

    by_name, by_both, lost = (
        client.get(url, {"q": q}).content.decode() for q in ("req-1", "acme/req-1", "<b>")
    )

    assert "Not billed yet: " in by_name
    assert "bo-link-waiting" in by_name
    assert "Not billed yet: " in by_both
    assert "Nothing was ever kept under “&lt;b&gt;”" in lost


def test_the_api_explains_any_event(shop: Shop, settings: Any) -> None:
    settings.BILLING_CLOCK = USED_AT.isoformat()
    subscribed(shop)
    use(shop, 150, USED_AT, "req-1")
    caller = Caller("usage:read")

    one = caller.get("events/acme/req-1").json()
    (found,) = caller.get("event_explanations", identifier="req-1").json()["data"]
    never = caller.get("event_explanations", identifier="never", customer="acme")

    assert one["summary"] == found["summary"]
    assert one["explanation"] == found["explanation"]
    assert found["explanation"][0]["step"] == "received"
    assert found["explanation"][-2]["owner"] == "finance"
    assert never.status_code == 404
    assert caller.get("event_explanations", identifier="never").json()["data"] == []
