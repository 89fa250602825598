"""Rules of alerts: what each finds, once for each crossing, and who is told."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from credits.models import Alert, AlertRule, RuleWindow, Watched
from credits.selectors.alert_measures import measures
from credits.services import alert_rules
from credits.services.alert_rules import RuleTerms, propose_alert_rule, watch_rule, watch_rules
from credits.services.controls import acknowledge_alert
from credits.services.rating import rate_pending
from credits.services.telling import tell_alerts
from credits.services.watching import watch_unrated
from metering.events import EventInput
from metering.models import Customer, Meter
from metering.selectors.quarantine import Chosen
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from metering.services.quarantine import dismiss_quarantined
from tests.console.backoffice import action_url, client_of, person, send, url_above_list
from tests.credits.builders import NOVEMBER, Shop, make_customer, rate, words
from tests.invoicing.builders import at_once

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_OF_CREDITS = (Watched.BALANCE, Watched.SPEND, Watched.FORECAST, Watched.CHANGE)


def propose(shop: Shop, watched: Watched, threshold: str, code: str, **more: Any) -> AlertRule:
    """Propose a rule, of our customer's kind of credits where it is about credits."""
    said = {"unit": shop.unit, **more} if watched in _OF_CREDITS else more
    terms = RuleTerms(watched, Decimal(threshold), shop.maker, **said)
    return propose_alert_rule(
        code=code, terms=terms, proposal=words(NOVEMBER.start), by=shop.maker, at=shop.at
    )


def rule(shop: Shop, watched: Watched, threshold: str, code: str = "r", **more: Any) -> AlertRule:
    """Propose and approve a rule."""
    proposed = propose(shop, watched, threshold, code, **more)
    shop.approve(proposed.policy_change)
    return AlertRule.objects.get(pk=proposed.pk)


def spend(shop: Shop, tokens: str, at: datetime) -> None:
    """Use so many input tokens at half a credit each."""
    shop.use(at, input=tokens)
    shop.rate()


@pytest.fixture
def open_shop(shop: Shop) -> Shop:
    shop.period()
    return shop


def titles() -> list[str]:
    """List what was said, in order."""
    return list(Alert.objects.order_by("pk").values_list("title", flat=True))


@pytest.mark.django_db
def test_a_low_balance_is_raised_once_until_it_was_filled(open_shop: Shop) -> None:
    shop = open_shop
    make_customer("other", shop.maker, shop.at)
    shop.grant("100")
    rule(shop, Watched.BALANCE, "50")
    assert watch_rules(at=NOON) == 0
    spend(shop, "120", NOON - HOUR)

    assert [watch_rules(at=NOON), watch_rules(at=NOON + HOUR)] == [1, 0]
    assert titles() == ["40 credit left, below 50"]
    shop.grant("10")  # 50: not below.
    assert watch_rules(at=NOON + HOUR) == 0
    first = Alert.objects.get()
    assert (first.ended_at, first.owner, first.customer) == (NOON + HOUR, shop.maker, shop.customer)
    spend(shop, "2", NOON)
    assert watch_rules(at=NOON + 2 * HOUR) == 1
    assert titles()[1] == "49 credit left, below 50"


@pytest.mark.django_db
def test_spending_is_raised_once_in_its_window(open_shop: Shop) -> None:
    shop = open_shop
    rule(shop, Watched.SPEND, "50", window=RuleWindow.DAY)
    spend(shop, "60", NOON - HOUR)
    assert watch_rules(at=NOON) == 0
    spend(shop, "60", NOON)

    assert [watch_rules(at=NOON + HOUR), watch_rules(at=NOON + 2 * HOUR)] == [1, 0]
    [alert] = Alert.objects.all()
    assert alert.title == "60 credit spent this day, 50 or more"
    assert alert.facts["since"] == "2026-11-20T00:00:00+00:00"
    assert watch_rules(at=NOON + DAY) == 0  # Another day, in which nothing is spent.


@pytest.mark.django_db
def test_a_window_begins_in_the_customers_time_zone(open_shop: Shop) -> None:
    shop = open_shop
    Customer.objects.filter(pk=shop.customer.pk).update(time_zone="Asia/Tokyo")
    rule(shop, Watched.SPEND, "50", window=RuleWindow.DAY)
    spend(shop, "120", datetime(2026, 11, 19, 14, tzinfo=UTC))  # 23:00 of the 19th in Tokyo.

    assert watch_rules(at=datetime(2026, 11, 19, 14, 59, tzinfo=UTC)) == 1
    assert watch_rules(at=datetime(2026, 11, 19, 15, 1, tzinfo=UTC)) == 0
    [alert] = Alert.objects.all()
    assert alert.facts["since"] == "2026-11-18T15:00:00+00:00"


@pytest.mark.django_db
def test_usage_of_a_meter_counts_by_hour(open_shop: Shop) -> None:
    shop = open_shop
    meter = Meter.objects.get(code="input")
    rule(shop, Watched.USAGE, "100", window=RuleWindow.HOUR, meter=meter)
    spend(shop, "99", NOON)
    assert watch_rules(at=NOON + timedelta(minutes=30)) == 0
    spend(shop, "1", NOON)

    assert watch_rules(at=NOON + timedelta(minutes=30)) == 1
    assert watch_rules(at=NOON + HOUR) == 0


@pytest.mark.django_db
def test_a_forecast_is_raised_within_its_days(open_shop: Shop) -> None:
    shop = open_shop
    shop.grant("100")
    for day in range(1, 8):
        spend(shop, "20", NOON - day * DAY)  # 10 credits a day; 30 are left.
    rule(shop, Watched.FORECAST, "2", "two")
    assert watch_rules(at=NOON) == 0
    rule(shop, Watched.FORECAST, "3", "three")

    assert watch_rules(at=NOON) == 1
    assert titles() == ["Credits (credit) run out in 3 days at this pace"]


@pytest.mark.django_db
def test_a_change_is_measured_against_the_seven_days_before(open_shop: Shop) -> None:
    shop = open_shop
    for day in range(1, 8):
        spend(shop, "20", NOON - DAY - day * DAY)  # 10 a day.
    rule(shop, Watched.CHANGE, "50", window=RuleWindow.DAY, floor=Decimal(5))
    spend(shop, "28", NOON - HOUR)
    assert watch_rules(at=NOON) == 0  # 14: 40 % more.
    spend(shop, "2", NOON - HOUR)

    assert [watch_rules(at=NOON), watch_rules(at=NOON + timedelta(minutes=5))] == [1, 0]
    alert = Alert.objects.get()
    assert alert.title == "50 % more credit spent in a day than before"
    assert (alert.facts["spent"], alert.facts["before"]) == ("15", "10")
    assert watch_rules(at=NOON + 2 * DAY) == 0
    alert.refresh_from_db()
    assert alert.ended_at == NOON + 2 * DAY


def _wait(
    shop: Shop, name: str, customer: str, event_name: str = "input", at: datetime | None = None
) -> None:
    event = EventInput(
        event_name=event_name, identifier=name, customer=customer, timestamp=shop.at,
        properties={"input": "1", "model": "small"},
    )  # fmt: skip
    capture_events(items=[event], sender="test", at=at or shop.at)


@pytest.mark.django_db
def test_what_waits_and_what_lags_is_about_all_usage(open_shop: Shop) -> None:
    shop = open_shop
    rule(shop, Watched.QUARANTINED, "2", "quarantine")
    rule(shop, Watched.QUARANTINED, f"{10**20}", "more than PostgreSQL counts")
    rule(shop, Watched.UNRATED, "1", "unrated")
    rule(shop, Watched.LAG, "60", "lag")
    shop.version([rate("output", "2")])  # Input has none any more.
    assert watch_rules(at=shop.at) == 0
    shop.use(input="1")
    shop.rate()
    watch_unrated(at=shop.at)
    for name, customer in (("a", "nobody"), ("b", "nobody"), ("c", "acme")):
        _wait(shop, name, customer)

    assert watch_rules(at=shop.at + timedelta(seconds=90)) == 3

    assert {alert.customer for alert in Alert.objects.all()} == {None}
    assert set(titles()) == {
        "1 usage windows wait for a rate",
        "2 events or more wait in quarantine",
        "Usage is counted 90 seconds late",
    }


@pytest.mark.django_db
def test_what_waits_of_each_customer_is_told_once_and_ends_by_itself(open_shop: Shop) -> None:
    shop, meter = open_shop, Meter.objects.get(code="input")
    make_customer("other", shop.maker, shop.at)
    rule(shop, Watched.QUARANTINED, "2", "each kept", is_by_customer=True)
    rule(shop, Watched.QUARANTINED, "1", "kept", customer=shop.customer)
    rule(shop, Watched.UNRATED, "2", "windows", is_by_customer=True)
    rule(shop, Watched.UNRATED, "70", "tokens", is_by_customer=True, meter=meter)
    rule(shop, Watched.UNRATED, "71", "more", customer=shop.customer, meter=meter)
    shop.version([rate("output", "2")])  # Input has none any more.
    for hour, tokens in ((0, "40"), (1, "30")):
        shop.use(NOON - hour * HOUR, input=tokens)
    shop.rate()
    for name, customer in (("a", "other"), ("b", "other"), ("c", "nobody"), ("d", "nobody")):
        _wait(shop, name, customer, "unheard of")

    assert [watch_rules(at=NOON), watch_rules(at=NOON + HOUR)] == [3, 0]

    said = Alert.objects.values_list("customer__external_id", "title", "ended_at").order_by("title")
    assert list(said) == [
        ("other", "2 events wait in quarantine", None),
        ("acme", "2 usage windows wait for a rate", None),
        ("acme", "70 tokens wait for a rate", None),
    ]
    shop.version([rate("input", "1"), rate("output", "2")], NOON - HOUR)
    shop.rate()
    of_other = list(Chosen(customer_external_id="other").open_rows().values_list("pk", flat=True))
    dismiss_quarantined(ids=of_other, reason="a test", by=worker_user(), at=shop.at)
    assert watch_rules(at=NOON + HOUR) == 0
    assert not Alert.objects.filter(ended_at=None).exists()


@pytest.mark.django_db
def test_lag_of_a_customer_begins_when_their_usage_was_stored(open_shop: Shop) -> None:
    shop = open_shop
    make_customer("other", shop.maker, shop.at)
    rule(shop, Watched.LAG, "60", "each", is_by_customer=True)
    rule(shop, Watched.LAG, "90.5", "of acme", customer=shop.customer)
    _wait(shop, "a", "other")
    shop.use(input="1")  # Both are aggregated; neither is rated.
    _wait(shop, "b", "other", at=shop.at + timedelta(seconds=50))  # Not even aggregated.

    def look(seconds: int) -> int:
        return watch_rules(at=shop.at + timedelta(seconds=seconds))

    assert [look(59), look(60), look(61), look(91)] == [0, 2, 0, 1]
    shop.rate()
    assert look(92) == 0
    assert Alert.objects.get(ended_at=None).customer != shop.customer
    aggregate_batches(at=shop.at)
    rate_pending(by=shop.maker, at=shop.at)
    assert look(93) == 0
    assert not Alert.objects.filter(ended_at=None).exists()


@pytest.mark.django_db
def test_another_version_of_a_rule_ends_what_the_one_before_said(open_shop: Shop) -> None:
    shop = open_shop
    shop.grant("10")
    rule(shop, Watched.BALANCE, "50")
    watch_rules(at=NOON)
    rule(shop, Watched.BALANCE, "20")

    assert watch_rules(at=NOON + HOUR) == 1

    ended = dict(Alert.objects.values_list("rule__number", "ended_at"))
    assert ended == {1: NOON + HOUR, 2: None}


@pytest.mark.django_db
def test_a_rule_that_nobody_approved_says_nothing(open_shop: Shop) -> None:
    shop = open_shop
    shop.grant("10")
    proposed = propose(shop, Watched.BALANCE, "50", "r")

    assert watch_rules(at=NOON) == 0
    with pytest.raises(DatabaseError):
        watch_rule(rule=proposed, at=NOON)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("watched", "more", "field"),
    [
        (Watched.BALANCE, {"unit": None}, "pricing_unit"),
        (Watched.SPEND, {}, "window"),
        (Watched.USAGE, {"window": RuleWindow.DAY}, "meter"),
        (Watched.CHANGE, {"window": RuleWindow.DAY}, "floor"),
        (Watched.CHANGE, {"window": RuleWindow.MONTH, "floor": Decimal(1)}, "window"),
        (Watched.BALANCE, {"window": RuleWindow.DAY}, "window"),
        (Watched.FORECAST, {"threshold": "8"}, "threshold"),
        (Watched.BALANCE, {"threshold": "0"}, "threshold"),
        (Watched.BALANCE, {"threshold": "NaN"}, "threshold"),
        (Watched.BALANCE, {"code": " "}, "code"),
        (Watched.BALANCE, {"is_by_customer": True}, "by_customer"),
        (Watched.LAG, {"window": RuleWindow.DAY}, "window"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    shop: Shop, watched: Watched, more: dict[str, Any], field: str
) -> None:
    said = {"threshold": "5", "code": "r", **more}

    with pytest.raises(Invalid) as refused:
        propose(shop, watched, **said)

    assert refused.value.field == field


@pytest.mark.django_db
def test_owners_are_mailed_and_somebody_else_is_named(
    open_shop: Shop, settings: Any, product: User
) -> None:
    shop = open_shop
    settings.ALERT_EMAILS = ["ops@seller.example"]
    User.objects.filter(pk=shop.maker.pk).update(email="mia@seller.example")
    shop.grant("10")
    rule(shop, Watched.BALANCE, "50")
    watch_rules(at=NOON)

    assert [tell_alerts(at=NOON), tell_alerts(at=NOON)] == [1, 0]

    [sent] = mail.outbox
    assert sent.to == ["ops@seller.example", "mia@seller.example"]
    alert = Alert.objects.get()
    seen = acknowledge_alert(alert=alert, note="topped up", by=shop.maker, owner=product, at=NOON)
    assert (seen.owner, seen.acknowledged_by) == (product, shop.maker)
    with pytest.raises(Conflict):
        acknowledge_alert(alert=alert, note="again", by=product, at=NOON)


@pytest.mark.django_db
def test_rules_and_alerts_over_http(open_shop: Shop, client: Any) -> None:
    shop = open_shop
    _, token = create_api_key(name="ops", scopes=["admin"], at=shop.at)
    headers = {"Authorization": f"Bearer {token}"}
    body = {
        "code": "low", "watched": "balance", "threshold": "50", "unit": "credit",
        "owner": shop.maker.username, "product_requirement": "No surprise", "reason_code": "low",
    }  # fmt: skip

    def post(path: str, said: dict[str, Any]) -> Any:
        return client.post(f"/v1/{path}", said, content_type="application/json", headers=headers)

    made = post("alert_rules", body)
    assert made.status_code == 201
    assert (made.json()["version"], made.json()["status"]) == (1, "submitted")
    assert post("alert_rules", {**body, "owner": "nobody"}).json()["errors"][0]["path"] == "$.owner"
    assert post("alert_rules", {**body, "window": "day"}).status_code == 422
    shop.grant("10")
    rule(shop, Watched.BALANCE, "50", "other")
    watch_rules(at=NOON)
    [alert] = client.get("/v1/alerts", headers=headers).json()["data"]
    assert (alert["kind"], alert["rule"], alert["ended_at"]) == ("balance", "other", None)
    path = f"alerts/{alert['id']}/acknowledge"
    seen = post(path, {"note": "known", "owner": shop.maker.username})
    assert (seen.json()["owner"], seen.json()["note"]) == (shop.maker.username, "known")
    assert post(path, {"note": "again"}).status_code == 409
    assert post("alerts/99999/acknowledge", {"note": "x"}).status_code == 404


@pytest.mark.django_db
def test_product_proposes_a_rule_and_acknowledges_an_alert(open_shop: Shop, settings: Any) -> None:
    shop = open_shop
    settings.BILLING_CLOCK = shop.at.isoformat()
    client = client_of(person("product"))

    made = send(
        client, url_above_list(AlertRule, "new_rule"), title="Low", reason_code="low",
        product_requirement="No surprise", code="low", watched="balance", threshold="50",
        pricing_unit=shop.unit.pk, owner=shop.maker.pk, window="", meter="", confirmed="on",
    )  # fmt: skip

    assert made.status_code == 302
    proposed = AlertRule.objects.get()
    assert (proposed.threshold, proposed.policy_change.status) == (Decimal(50), "submitted")
    shop.grant("10")
    rule(shop, Watched.BALANCE, "50", "other")
    watch_rules(at=shop.at)
    send(client, action_url(Alert.objects.get(), "acknowledge"), reason="known", owner="")
    alert = Alert.objects.get()
    assert (alert.note, alert.owner) == ("known", alert.acknowledged_by)


@pytest.mark.django_db(transaction=True)
def test_two_looks_at_once_raise_it_once(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop
    shop.grant("10")
    low = rule(shop, Watched.BALANCE, "50")
    found = Barrier(2, timeout=5)

    def late(*said: Any) -> Any:
        seen = measures(*said)
        found.wait()
        return seen

    monkeypatch.setattr(alert_rules, "measures", late)
    at_once(*[lambda: watch_rule(rule=low, at=NOON)] * 2)

    assert Alert.objects.count() == 1
