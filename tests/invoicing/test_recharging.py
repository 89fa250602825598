"""Balances that are filled by themselves: payment first, credits after, never twice."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing_project.kernel.errors import BillingError, Invalid, NotAllowed
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.money import Money
from credits.models import Alert, CreditGrant
from credits.services.authorizing import authorize
from credits.services.grants import issue_grant
from credits.services.standing import Request
from invoicing.models import AutoRecharge, BillingHold, Invoice, Recharge
from invoicing.recharge_checks import recharges_are_their_invoices, recharges_are_within_limits
from invoicing.recharging import Agreed, Buy, Standing, WhyNot, decide
from invoicing.selectors.recharging import standing_of
from invoicing.services import recharging
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import void_invoice
from invoicing.services.recharging import (
    Wish,
    end_recharge,
    recharge_customer,
    recharge_due,
    set_up_recharge,
)
from invoicing.services.rejecting import reject_draft
from metering.models import Customer
from tests.console.backoffice import action_url, client_of, send, url_above_list
from tests.invoicing.builders import (
    START,
    Shop,
    at_once,
    customer_of,
    issued,
    note_on,
    paid,
    set_limits,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AGREED = Agreed(
    Decimal(100), None, Decimal(1_000), Decimal("0.01"), "USD", 2_000, timedelta(hours=1)
)


def _standing(available: str, **more: Any) -> Standing:
    said = {"refused": None, "last_at": None, "month_minor": 0, **more}
    return Standing(available=Decimal(available), **said)


@pytest.mark.parametrize(
    ("standing", "decided"),
    [
        (_standing("40"), Buy(Decimal(960), 960)),  # 960 x 0.01 = 9.60.
        (_standing("100"), WhyNot.ENOUGH),
        (_standing("99.5"), Buy(Decimal("900.5"), 901)),  # 9.005 is 9.01.
        (_standing("500", refused=Decimal(900)), Buy(Decimal(500), 500)),
        (_standing("1000", refused=Decimal(900)), WhyNot.ENOUGH),  # The target holds already.
        (_standing("500", refused=Decimal(1_001)), WhyNot.TOO_LARGE),
        (_standing("1000", refused=Decimal(1_001)), WhyNot.TOO_LARGE),
        (_standing("40", refused=Decimal(1_001)), Buy(Decimal(960), 960)),  # Low anyhow.
        (_standing("40", last_at=START - HOUR), Buy(Decimal(960), 960)),
        (_standing("40", last_at=START - HOUR + timedelta(seconds=1)), WhyNot.COOLS_DOWN),
        (_standing("40", month_minor=1_040), Buy(Decimal(960), 960)),  # 10.40 + 9.60 = 20.00.
        (_standing("40", month_minor=1_041), WhyNot.MONTHLY_LIMIT),
    ],
)
def test_worked_examples(standing: Standing, decided: Buy | WhyNot) -> None:
    assert decide(AGREED, standing, START) == decided


def wish(shop: Shop, **changes: Any) -> Wish:
    """Say what a customer agrees to: below 100 buy 500 for 45.00, at most 100.00 a month."""
    said = {
        "pricing_unit": shop.unit, "threshold": Decimal(100), "amount": Decimal(500),
        "unit_price": Decimal("0.09"), "monthly_limit": Money(10_000, "USD"),
        "consent": "order form 7, § 3", "consented_by": "Ada of Acme", "consented_at": START,
        **changes,
    }  # fmt: skip
    return Wish(**said)


@pytest.fixture
def acme(shop: Shop) -> Customer:
    """Return a customer who agreed, and has 120 credits."""
    customer = customer_of(shop)
    set_up_recharge(customer=customer, wish=wish(shop), by=shop.maker, at=START)
    give(shop, customer, "120")
    return customer


def give(shop: Shop, customer: Customer, amount: str, key: str = "gift") -> None:
    """Give credits."""
    issue_grant(
        customer=customer, category="promotional", amount=Decimal(amount), pricing_unit=shop.unit,
        reason_code="gift", source_key=key, by=shop.maker, at=START, effective_at=START,
    )  # fmt: skip


def hold(customer: Customer, credits_: str, at: datetime) -> None:
    """Ask for work that costs so many credits."""
    request = Request(credits=Decimal(credits_))
    authorize(customer=customer, request=request, api_key=None, at=at)


def fill(shop: Shop, at: datetime) -> int:
    """Let the worker look once."""
    return recharge_due(by=shop.worker, at=at)


def test_who_disputes_a_payment_is_charged_nothing_by_itself(shop: Shop, acme: Customer) -> None:
    hold(acme, "100", START)
    fill(shop, START)
    invoice = paid(shop, Invoice.objects.get())
    fill(shop, START)
    dispute = record_dispute(
        invoice=invoice, amount_minor=4_500, reason="fraudulent", method="card", reference="d1",
        opened_at=START, by=shop.worker, at=START,
    )  # fmt: skip

    hold(acme, "100", START + DAY)
    assert fill(shop, START + DAY) == 0  # Its 500 credits are frozen: 20 are left.
    record_dispute_outcome(
        dispute=dispute, verdict="lost", decided_at=START, by=shop.worker, at=START + DAY
    )
    hold(acme, "100", START + 2 * DAY)
    assert fill(shop, START + 2 * DAY) == 0
    assert "the bank gave it back" in AutoRecharge.objects.get().end_reason
    set_up_recharge(customer=acme, wish=wish(shop), by=shop.maker, at=START + 3 * DAY)
    hold(acme, "100", START + 3 * DAY)
    assert fill(shop, START + 3 * DAY) == 1


def _bought() -> list[tuple[str, str]]:
    rows = Recharge.objects.order_by("pk")
    return [(one.state, f"{one.invoice.total_minor}") for one in rows]


def _sound() -> bool:
    return not [*recharges_are_within_limits(), *recharges_are_their_invoices()]


@pytest.mark.django_db
def test_a_balance_that_falls_is_filled_once_it_is_paid(shop: Shop, acme: Customer) -> None:
    assert fill(shop, START) == 0
    hold(acme, "30", START)

    assert [fill(shop, START), fill(shop, START), fill(shop, START + 2 * DAY)] == [1, 0, 0]

    one = Recharge.objects.get()
    assert (one.available, one.credits, one.price_minor) == (Decimal(90), Decimal(500), 4_500)
    assert not CreditGrant.objects.filter(category="paid").exists()  # Payment first.
    paid(shop, one.invoice)
    assert CreditGrant.objects.get(category="paid").remaining == 500
    assert (fill(shop, START), _bought(), _sound()) == (0, [("paid", "4500")], True)


@pytest.mark.django_db
def test_work_that_was_refused_asks_for_credits_too(shop: Shop, acme: Customer) -> None:
    hold(acme, "121", START)

    assert [fill(shop, START + 11 * timedelta(minutes=1)), fill(shop, START)] == [0, 1]

    paid(shop, Recharge.objects.get().invoice)
    assert fill(shop, START + HOUR) == 0  # That refusal was answered.


@pytest.mark.django_db
def test_work_that_no_purchase_lets_begin_buys_nothing_and_is_told_once(
    shop: Shop, acme: Customer
) -> None:
    for minute in range(3):  # 120 are there, and 500 are bought each time.
        hold(acme, "621", START + minute * timedelta(minutes=1))
        assert fill(shop, START + minute * timedelta(minutes=1)) == 0

    alert = Alert.objects.get()
    assert (
        alert.title == "Work for 621 credits is refused: no purchase that was agreed lets it begin"
    )
    hold(acme, "620", START + 3 * timedelta(minutes=1))
    assert fill(shop, START + 3 * timedelta(minutes=1)) == 1


@pytest.mark.django_db
def test_the_cool_down_and_the_months_limit_hold_in_the_customers_month(
    shop: Shop, acme: Customer
) -> None:
    Customer.objects.filter(pk=acme.pk).update(time_zone="America/New_York")
    at = datetime(2026, 11, 29, 12, tzinfo=UTC)
    hold_at = []
    for number in range(2):
        hold(acme, f"{110 + 500 * number}", at)
        hold_at.append(fill(shop, at))
        paid(shop, Recharge.objects.latest("pk").invoice)
        at += HOUR
    assert hold_at == [1, 1]
    hold(acme, "1050", at)  # What was held before has lapsed: 1,120 - 1,050.

    assert [fill(shop, at), fill(shop, at)] == [0, 0]  # 90.00 + 45.00 is above 100.00.
    alert = Alert.objects.get()
    assert (alert.kind, alert.title) == (
        "recharge",
        "Recharges reached the month's limit of 100.00 USD",
    )
    first_of_december = datetime(2026, 12, 1, 4, 59, tzinfo=UTC)  # 23:59 of 30 November there.
    hold(acme, "1050", first_of_december)
    assert fill(shop, first_of_december) == 0
    assert fill(shop, first_of_december + timedelta(minutes=1)) == 1
    assert _sound()


@pytest.mark.django_db
def test_what_is_taken_back_counts_no_more_and_frees_the_way(shop: Shop, acme: Customer) -> None:
    hold(acme, "30", START)
    fill(shop, START)
    void = Recharge.objects.get().invoice
    void_invoice(invoice=void, reason="wrong card", by=shop.worker, at=START)
    hold(acme, "30", START + HOUR)

    assert fill(shop, START + HOUR) == 1
    assert [state for state, _ in _bought()] == ["failed", "open"]


@pytest.mark.django_db
def test_a_rejected_purchase_is_over_and_ends_what_was_agreed(shop: Shop, acme: Customer) -> None:
    set_limits(shop, approval_above={"USD": 1})
    hold(acme, "30", START)
    fill(shop, START)
    held = BillingHold.objects.get(released_at=None)
    reject_draft(held=held, reason="no such order", by=shop.approver, at=START)
    assert _sound()

    assert [fill(shop, START + HOUR), fill(shop, START + 2 * HOUR)] == [0, 0]

    why = "its draft was rejected: no such order"
    assert (_bought(), _sound()) == ([("failed", "0")], True)
    assert (AutoRecharge.objects.get().end_reason, Alert.objects.get().title) == (
        why, f"Auto-recharge is off: {why}",
    )  # fmt: skip


@pytest.mark.django_db
def test_what_was_refused_before_the_credits_came_asks_for_no_second_purchase(
    shop: Shop, acme: Customer
) -> None:
    set_up_recharge(customer=acme, wish=wish(shop, cool_down=timedelta(0)), by=shop.maker, at=START)
    hold(acme, "30", START)
    fill(shop, START)
    hold(acme, "130", START + timedelta(seconds=30))  # Refused: 90 are left, none came yet.
    hold(acme, "130", START + timedelta(seconds=61))  # While the payment waits to be written.
    paid(shop, Recharge.objects.get().invoice, at=START + timedelta(minutes=1))

    assert [fill(shop, START + timedelta(minutes=minute)) for minute in (2, 3)] == [0, 0]

    hold(acme, "700", START + timedelta(minutes=4))  # 590 are there now.
    assert fill(shop, START + timedelta(minutes=4)) == 1


@pytest.mark.django_db
def test_an_open_purchase_is_followed_after_its_agreement_ended(shop: Shop, acme: Customer) -> None:
    hold(acme, "30", START)
    fill(shop, START)
    row = AutoRecharge.objects.get()
    end_recharge(row=row, reason="they asked", by=shop.maker, at=START)
    paid(shop, Recharge.objects.get().invoice)

    assert (fill(shop, START + HOUR), _bought()) == (0, [("paid", "4500")])


@pytest.mark.django_db
def test_a_purchase_that_was_credited_in_full_brought_nothing(shop: Shop, acme: Customer) -> None:
    hold(acme, "30", START)
    fill(shop, START)
    note_on(shop, Recharge.objects.get().invoice, 4_500)

    fill(shop, START + timedelta(minutes=1))

    assert (_bought(), _sound()) == ([("failed", "4500")], True)
    assert not CreditGrant.objects.filter(category="paid").exists()


@pytest.mark.django_db
def test_a_balance_of_money_pays_at_once(shop: Shop, acme: Customer) -> None:

    settled = paid(shop, issued(shop, acme, 10_000))
    note_on(shop, settled, 10_000)
    hold(acme, "30", START)

    assert fill(shop, START) == 1

    assert _bought() == [("paid", "4500")]
    assert CreditGrant.objects.get(category="paid").remaining == 500


@pytest.mark.django_db
def test_a_closed_customer_and_one_who_ended_it_buy_nothing(shop: Shop, acme: Customer) -> None:
    hold(acme, "30", START)
    row = AutoRecharge.objects.get()
    end_recharge(row=row, reason="they asked", by=shop.maker, at=START)
    assert fill(shop, START) == 0
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE auto_recharge SET threshold = 1")
    set_up_recharge(customer=acme, wish=wish(shop), by=shop.maker, at=START)
    Customer.objects.filter(pk=acme.pk).update(closed_at=START)
    assert fill(shop, START) == 0
    assert recharge_customer(customer_id=acme.pk, by=shop.worker, at=START) == 0


@pytest.mark.django_db
def test_a_refused_sale_is_said_once_a_day(
    shop: Shop, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> Invoice:
        raise BillingError("its market is not open")

    monkeypatch.setattr(recharging, "sell_credit_pack", refuse)
    hold(acme, "30", START)

    assert [fill(shop, START), fill(shop, START)] == [0, 0]

    assert Alert.objects.get().title == "A recharge is refused: its market is not open"


@pytest.mark.django_db
def test_another_agreement_replaces_and_the_same_is_the_same(shop: Shop, acme: Customer) -> None:
    first = AutoRecharge.objects.get()
    same = set_up_recharge(customer=acme, wish=wish(shop), by=shop.maker, at=START + DAY)
    other = set_up_recharge(
        customer=acme, wish=wish(shop, amount=None, target=Decimal(900)), by=shop.maker, at=START
    )

    first.refresh_from_db()
    assert (same, first.end_reason) == (first, "another one replaced it")
    assert list(AutoRecharge.objects.filter(ended_at=None)) == [other]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target": Decimal(900)}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": None, "target": Decimal(100)}, "target"),
        ({"threshold": Decimal(0)}, "threshold"),
        ({"threshold": Decimal("NaN")}, "threshold"),
        ({"unit_price": Decimal(0)}, "unit_price"),
        ({"monthly_limit": Money(0, "USD")}, "monthly_limit"),
        ({"monthly_limit": Money(100, "EUR")}, "monthly_limit"),
        ({"cool_down": timedelta(days=32)}, "cool_down_seconds"),
        ({"most_failures": 0}, "most_failures"),
        ({"consent": " "}, "consent"),
        ({"consented_by": ""}, "consented_by"),
        ({"consented_at": START + DAY}, "consented_at"),
    ],
)
def test_what_nobody_can_agree_to_is_refused(
    shop: Shop, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        set_up_recharge(
            customer=customer_of(shop), wish=wish(shop, **changes), by=shop.maker, at=START
        )

    assert refused.value.field == field


@pytest.mark.django_db
def test_recharges_over_http(shop: Shop, client: Any) -> None:
    customer_of(shop)
    _, token = create_api_key(name="ops", scopes=["admin"], at=START)
    headers = {"Authorization": f"Bearer {token}"}
    body = {
        "customer": "acme", "unit": "credit", "threshold": "100", "amount": "500",
        "unit_price": "0.09", "monthly_limit": "100", "consent": "order form 7",
        "consented_by": "Ada", "consented_at": "2026-10-01T00:00:00Z",
    }  # fmt: skip

    def post(path: str, said: dict[str, Any]) -> Any:
        return client.post(f"/v1/{path}", said, content_type="application/json", headers=headers)

    made = post("auto_recharges", body).json()
    assert (made["monthly_limit"], made["cool_down_seconds"]) == ("100.00", 3_600)
    assert post("auto_recharges", body).json()["id"] == made["id"]
    assert post("auto_recharges", {**body, "target": "900"}).status_code == 422
    assert post("auto_recharges", {**body, "monthly_limit": "0.001"}).status_code == 422
    assert post("auto_recharges", {**body, "customer": "nobody"}).status_code == 404
    path = f"auto_recharges/{made['id']}/switch_off"
    ended = post(path, {"reason": "they asked"}).json()
    assert ended["end_reason"] == post(path, {"reason": "again"}).json()["end_reason"]
    assert post("auto_recharges/999999/switch_off", {"reason": "x"}).status_code == 404
    listed = client.get("/v1/auto_recharges?customer=acme", headers=headers).json()["data"]
    assert [row["id"] for row in listed] == [made["id"]]
    assert client.get("/v1/recharges?customer=acme", headers=headers).json()["data"] == []


@pytest.mark.django_db
def test_finance_sets_one_up_and_switches_it_off(shop: Shop) -> None:
    customer = customer_of(shop)
    client = client_of(shop.maker)

    made = send(
        client, url_above_list(AutoRecharge, "set_up"), customer="acme", threshold="100",
        amount="500", unit_price="0.09", monthly_limit="100", consented_by="Ada",
        pricing_unit=shop.unit.pk, consent="form 7", consented_at_0="2026-10-01",
        consented_at_1="00:00:00",
    )  # fmt: skip

    assert made.status_code == 302
    row = AutoRecharge.objects.get()
    assert (row.customer, row.monthly_limit_minor, row.set_up_by) == (customer, 10_000, shop.maker)
    send(client, action_url(row, "switch_off"), reason="they asked")
    row.refresh_from_db()
    assert row.end_reason == "they asked"
    with pytest.raises(NotAllowed):
        set_up_recharge(customer=customer, wish=wish(shop), by=shop.approver, at=START)


def _race(shop: Shop, customer: Customer, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let two workers look at one balance before either buys, if the lock lets them."""
    met = threading.Barrier(2)

    def late(*said: Any) -> Standing:
        found = standing_of(*said)
        with suppress(threading.BrokenBarrierError):  # The other one waits for the lock.
            met.wait(timeout=0.3)
        return found

    monkeypatch.setattr(recharging, "standing_of", late)

    def act() -> int | type[Exception]:
        try:
            return recharge_customer(customer_id=customer.pk, by=shop.worker, at=START)
        except IntegrityError as error:
            return type(error)

    return at_once(act, act)


@pytest.mark.django_db(transaction=True)
def test_two_workers_buy_once(shop: Shop, acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(acme, "30", START)

    assert sorted(_race(shop, acme, monkeypatch), key=str) == [0, 1]
    assert Recharge.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_try_and_the_key_refuses_the_second(
    shop: Shop, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(acme, "30", START)
    monkeypatch.setattr(recharging, "lock_customer", lambda pk: Customer.objects.get(pk=pk))

    assert sorted(_race(shop, acme, monkeypatch), key=str) == [1, IntegrityError]
    assert (
        Recharge.objects.count() == Invoice.objects.filter(lines__kind="credit_pack").count() == 1
    )
