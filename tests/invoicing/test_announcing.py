"""Everything that other systems are told is said as OpenAPI describes it, once."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from billing_project.api.webhook_schema import DATA, body_schema
from billing_project.kernel.models import WebhookDelivery, WebhookEvent
from billing_project.kernel.webhooks.announcing import TEST, announce
from billing_project.kernel.webhooks.endpoints import Wish, create_endpoint
from credits.models import Alert, AlertKind
from credits.services.alerting import end_alerts, raise_alerts
from credits.services.grants import expire_due_grants, issue_grant, void_grant
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.endings import void_invoice
from invoicing.services.payments import record_payment
from metering.models import LagEpisode
from metering.services.announcing import announce_caught_up, announce_lagging
from tests.invoicing.builders import START, Shop, customer_of, issued

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.com/billing"


def _everything_happens(shop: Shop) -> None:
    customer = customer_of(shop)
    paid, void, credited = (issued(shop, customer_of(shop, external_id=n), 10_000) for n in "abc")
    record_payment(
        invoice=paid, amount_minor=paid.open_minor, method="wire", reference="1", paid_at=START,
        by=shop.maker, at=START,
    )  # fmt: skip
    void_invoice(invoice=void, reason="never owed", by=shop.maker, at=START)
    issue_credit_note(
        invoice=credited, lines=[(credited.lines.get(), 100)], reason="goodwill", memo="sorry",
        key="note", by=shop.maker, at=START,
    )  # fmt: skip
    grants = [
        issue_grant(
            customer=customer, category="promotional", amount=Decimal("7.50"),
            pricing_unit=shop.unit, reason_code="gift", source_key=key, by=shop.maker, at=START,
            effective_at=START, expires_at=START + timedelta(days=1),
        )
        for key in ("lapses", "void")
    ]  # fmt: skip
    void_grant(grant=grants[1], reason_code="mistake", by=shop.maker, at=START)
    expire_due_grants(by=shop.worker, at=START + timedelta(days=2))
    for kind in (AlertKind.FORECAST, AlertKind.BALANCE, AlertKind.QUARANTINED):
        alert = Alert(
            customer=customer, kind=kind, title="Soon", facts={"left": "1"}, raised_at=START,
            source_key=kind, owner=shop.maker,
        )  # fmt: skip
        assert [raise_alerts([alert]), raise_alerts([alert])] == [1, 0]
    end_alerts(Alert.objects.all(), START)
    episode = LagEpisode.objects.create(
        opened_at=START, worst_lag_seconds=Decimal(90), worst_at=START
    )
    announce_lagging(episode, START)
    announce_caught_up(episode, START)
    announce(TEST, key="test", data={"endpoint": "1"}, at=START)


def test_what_happens_is_said_as_it_is_described(shop: Shop) -> None:
    wish = Wish(URL, ["*"], shop.maker)
    create_endpoint(wish=wish, by=shop.maker, at=START)

    _everything_happens(shop)

    said = {event.kind: json.loads(event.body) for event in WebhookEvent.objects.all()}
    assert set(said) == set(DATA)
    for kind, body in said.items():
        schema = {**body_schema(kind), "additionalProperties": False}
        schema["properties"]["data"]["additionalProperties"] = False
        Draft202012Validator(schema).validate(body)
    assert said["invoice.paid"]["data"]["open"] == "0.00"
    assert said["invoice.voided"]["data"]["status"] == "void"
    assert said["credit_grant.expired"]["data"]["credits"] == "7.5"
    assert said["credit_note.issued"]["data"]["total"] == "1.00"
    keys = WebhookEvent.objects.filter(kind="credit_grant.granted").count()
    assert (keys, WebhookDelivery.objects.count()) == (2, WebhookEvent.objects.count())
