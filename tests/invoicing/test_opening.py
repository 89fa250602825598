"""Opening files are read exactly, and each fault says where it is and what is allowed."""

import json
from typing import Any

import pytest

from invoicing.opening import ItemKind, Reading, read_csv
from invoicing.opening_stripe import read_stripe

HEAD = "kind,source_id,customer,name,currency,credits,unit,category,price,effective_at,expires_at"
CUSTOMER = {"object": "customer", "id": "cus_1", "name": "Acme", "email": "a@acme.test",
            "currency": "usd", "balance": -500, "metadata": {"external_id": "acme"}}  # fmt: skip


def _grant(**changes: Any) -> dict[str, Any]:
    standard = {
        "object": "billing.credit_grant", "id": "credgr_1", "customer": "cus_1",
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 1000}},
        "applicability_config": {"scope": {"price_type": "metered"}}, "category": "paid",
        "created": 1795420800, "effective_at": 1795420800, "expires_at": 1800000000,
        "priority": 10, "name": "Pack",
    }  # fmt: skip
    return {**standard, **changes}


def _debit(value: int, grant: str = "credgr_1") -> dict[str, Any]:
    amount = {"type": "monetary", "monetary": {"currency": "usd", "value": value}}
    return {
        "object": "billing.credit_balance_transaction", "id": "cbtxn_1", "credit_grant": grant,
        "type": "debit", "debit": {"type": "credits_applied", "amount": amount},
    }  # fmt: skip


def _stripe(*things: Any, plans: dict[str, str] | None = None) -> Reading:
    return read_stripe("\n".join(map(json.dumps, things)), plans or {})


def _faults(reading: Reading) -> list[str]:
    return [str(fault) for fault in reading.faults]


def test_a_csv_of_customers_and_grants_is_read_exactly() -> None:
    reading = read_csv(
        f"{HEAD}\ncustomer,c1,acme,Acme,usd,,,,,,\n"
        "grant,g1,acme,,USD,12.000000000001,credit,paid,9.99,2026-01-31,2027-01-31T00:00:00+02:00\n"
    )
    assert _faults(reading) == []
    customer, grant = reading.items
    assert (customer.kind, customer.content["currency"]) == (ItemKind.CUSTOMER, "USD")
    assert grant.line == 3
    assert grant.content == {
        "credits": "12.000000000001", "unit": "credit", "category": "paid", "price_minor": 999,
        "currency": "USD", "effective_at": "2026-01-31T00:00:00+00:00",
        "expires_at": "2027-01-30T22:00:00+00:00", "priority": 50, "name": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("grant,g1,acme,,USD,0,credit,paid,,2026-01-31,",
         "line 2, credits: read '0'; allowed is a number above 0 with at most 12 decimals"),
        ("grant,g1,acme,,USD,1_000,credit,paid,,2026-01-31,", "line 2, credits: read '1_000'"),
        ("grant,g1,acme,,USD,1.0000000000001,credit,paid,,2026-01-31,", "line 2, credits"),
        ("grant,g1,acme,,USD,NaN,credit,paid,,2026-01-31,", "line 2, credits: read 'NaN'"),
        ("grant,g1,acme,,JPY,1,credit,paid,9.5,2026-01-31,",
         "line 2, price: read '9.5'; allowed is an amount of JPY with at most 0 decimals"),
        ("grant,g1,acme,,USD,1,credit,promotional,9,2026-01-31,", "line 2, price: read '9'"),
        ("grant,g1,acme,,XXQ,1,credit,paid,9,2026-01-31,", "line 2, currency: read 'XXQ'"),
        ("grant,g1,acme,,USD,1,credit,gift,9,2026-01-31,",
         "line 2, category: read 'gift'; allowed is one of paid, promotional, goodwill"),
        ("grant,g1,acme,,USD,1,credit,paid,9,2026-01-31T10:00:00,", "line 2, effective_at"),
        ("grant,g1,acme,,USD,1,credit,paid,9,9999-12-31T23:00:00-02:00,", "line 2, effective_at"),
        ("grant,g1,acme,,USD,1,credit,paid,9,31.1.2026,", "line 2, effective_at: read '31.1.2026'"),
        ("grants,g1,acme,,USD,1,credit,paid,9,2026-01-31,", "line 2, kind: read 'grants'"),
        ("grant,,acme,,USD,1,credit,paid,9,2026-01-31,", "line 2, source_id: read ''"),
        ("grant,g1,acme", "line 2, : read '3 cells'; allowed is 11 cells"),
    ],
)  # fmt: skip
def test_a_fault_says_line_column_what_was_read_and_what_is_allowed(row: str, fault: str) -> None:
    reading = read_csv(f"{HEAD}\n{row}\n")
    assert reading.items == []
    [said] = _faults(reading)
    assert said.startswith(fault)


def test_a_header_that_nobody_knows_stops_the_file() -> None:
    assert _faults(read_csv("kind,source_id,owner\n"))[0].startswith("line 1, owner: read 'owner'")
    assert "line 1, customer" in _faults(read_csv("kind,source_id\n"))[0]


def test_what_a_file_names_twice_is_refused() -> None:
    row = "grant,g1,acme,,USD,1,credit,paid,,2026-01-31,"
    [fault] = _faults(read_csv(f"{HEAD}\n{row}\n{row}\n"))
    assert fault == "line 3, source_id: read 'g1'; allowed is each once; line 2 has it"


def test_what_is_left_of_a_stripe_grant_is_taken_over_at_its_share_of_the_price() -> None:
    reading = _stripe({"object": "list", "data": [CUSTOMER]}, _grant(), _debit(250))
    assert _faults(reading) == []
    customer, money, grant = reading.items
    assert (customer.customer, customer.content["stripe_id"]) == ("acme", "cus_1")
    assert (money.kind, money.content["amount_minor"]) == (ItemKind.MONEY, 500)
    assert grant.content == {
        "credits": "7.50", "unit": "USD", "category": "paid", "price_minor": 750,
        "currency": "USD", "effective_at": "2026-11-23T08:00:00+00:00",
        "expires_at": "2027-01-15T08:00:00+00:00", "priority": 10, "name": "Pack",
    }  # fmt: skip


def test_a_currency_that_stripe_counts_in_hundredths_is_taken_over_as_it_is() -> None:
    money = {"monetary": {"currency": "isk", "value": 100_000}}
    customer = {**CUSTOMER, "currency": "isk"}
    summary = {"object": "billing.credit_balance_summary", "customer": "cus_1",
               "balances": [{"ledger_balance": money}]}  # fmt: skip
    invoice = {"object": "invoice", "id": "in_1", "customer": "cus_1", "status": "open",
               "amount_remaining": 4900, "currency": "isk"}  # fmt: skip
    items = _stripe(customer, _grant(amount=money), summary, invoice).items
    said = {item.kind: item.content for item in items}
    assert (said[ItemKind.GRANT]["credits"], said[ItemKind.GRANT]["price_minor"]) == ("1000", 1000)
    assert said[ItemKind.BALANCE]["credits"] == "1000"
    assert (said[ItemKind.MONEY]["amount_minor"], said[ItemKind.CLAIM]["amount_minor"]) == (5, 49)
    [fault] = _faults(_stripe(customer, {**invoice, "amount_remaining": 4950}))
    assert fault == "line 2, amount_remaining: read '4950'; allowed is an amount of whole ISK"


def test_credits_that_came_back_when_an_invoice_was_void_are_left_again() -> None:
    amount = {"monetary": {"currency": "usd", "value": 250}}
    back = {**_debit(0), "id": "cbtxn_2", "type": "credit",
            "credit": {"type": "credits_application_invoice_voided", "amount": amount}}  # fmt: skip
    reading = _stripe(CUSTOMER, _grant(), _debit(250), back)
    assert reading.items[-1].content["credits"] == "10.00"


@pytest.mark.parametrize(
    ("grant", "debit", "why"),
    [({"voided_at": 1795500000}, 0, "void at the source"), ({}, 1000, "used up at the source")],
)
def test_what_is_gone_at_the_source_stays_there_by_name(
    grant: dict[str, Any], debit: int, why: str
) -> None:
    reading = _stripe(CUSTOMER, _grant(**grant), _debit(debit))
    assert reading.items[-1].content == {"why": why, "what": "grant of credgr_1"}


def test_open_invoices_and_stated_balances_are_kept_beside() -> None:
    money = {"type": "monetary", "monetary": {"currency": "usd", "value": 750}}
    summary = {"object": "billing.credit_balance_summary", "customer": "cus_1",
               "balances": [{"ledger_balance": money, "available_balance": money}]}  # fmt: skip
    invoice = {"object": "invoice", "id": "in_1", "customer": "cus_1", "status": "open",
               "number": "A-1", "amount_remaining": 4900, "currency": "usd"}  # fmt: skip
    paid = {**invoice, "id": "in_2", "status": "paid"}
    items = _stripe({**CUSTOMER, "balance": 0}, summary, invoice, paid).items
    assert [item.kind for item in items] == ["customer", "balance", "claim"]
    assert items[1].content == {"credits": "7.50", "unit": "USD"}
    assert items[2].content == {"number": "A-1", "amount_minor": 4900, "currency": "USD"}


def test_what_pages_of_stripe_hold_twice_is_refused_and_never_counted_twice() -> None:
    twice = {"object": "list", "data": [_grant(), _grant()]}
    assert _faults(_stripe(CUSTOMER, twice)) == [
        "line 2, source_id: read 'credgr_1'; allowed is each once; line 2 has it"
    ]
    reading = _stripe(CUSTOMER, _grant(), _debit(250), _debit(250))
    assert _faults(reading) == ["line 4, id: read 'cbtxn_1'; allowed is each once; line 3 has it"]
    assert reading.items[-1].content["credits"] == "7.50"


def _subscription(**changes: Any) -> dict[str, Any]:
    standard = {
        "object": "subscription", "id": "sub_1", "customer": "cus_1", "status": "active",
        "items": {"data": [{"price": {"id": "price_1"}, "current_period_end": 1798000000}]},
    }  # fmt: skip
    return {**standard, **changes}


def test_a_subscription_goes_on_where_its_paid_period_ends() -> None:
    reading = _stripe(CUSTOMER, _subscription(), plans={"price_1": "starter"})
    assert reading.items[-1].content == {
        "plan": "starter", "start_at": "2026-12-23T04:26:40+00:00", "seats": 0,
        "quantity": 1,
    }  # fmt: skip


@pytest.mark.parametrize("end", [{"cancel_at_period_end": True}, {"cancel_at": 1798000000}])
def test_who_has_cancelled_is_not_sold_another_period(end: dict[str, Any]) -> None:
    reading = _stripe(CUSTOMER, _subscription(**end), plans={"price_1": "starter"})
    assert (reading.items[-1].kind, reading.items[-1].content["why"]) == (
        "left", "ends with its period at the source",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("cancel_at", 1798000001), ("pause_collection", {"behavior": "void"}),
     ("discount", {"id": "di_1"}), ("discounts", ["di_1"])],
)  # fmt: skip
def test_what_would_be_billed_otherwise_than_at_stripe_is_refused(name: str, value: Any) -> None:
    given = _subscription(**{name: value})
    [fault] = _faults(_stripe(CUSTOMER, given, plans={"price_1": "starter"}))
    assert fault.startswith(f"line 2, {name}: read ")
    none = _subscription(cancel_at=None, discounts=[], discount=None, cancel_at_period_end=False)
    assert not _stripe(CUSTOMER, none, plans={"price_1": "starter"}).faults


def test_how_many_of_a_price_were_sold_is_taken_over() -> None:
    parts: list[dict[str, Any]] = [
        {"price": {"id": f"price_{n}"}, "quantity": n, "current_period_end": 1798000000}
        for n in (1, 5, 9)
    ]
    plans = {"price_1": "team", "price_5": "team", "price_9": "-"}
    said = _stripe(CUSTOMER, _subscription(items={"data": parts}), plans=plans).items[-1].content
    assert (said["plan"], said["quantity"]) == ("team", 5)
    parts[0]["quantity"] = "5"
    assert _faults(_stripe(CUSTOMER, _subscription(items={"data": parts}), plans=plans)) == [
        "line 2, items.data.quantity: read '5'; allowed is a whole number"
    ]


def test_a_price_without_a_plan_here_is_asked_for_or_left_behind() -> None:
    [fault] = _faults(_stripe(CUSTOMER, _subscription()))
    assert fault.startswith("line 2, items.data.price: read 'price_1'; allowed is prices of one")
    left = _stripe(CUSTOMER, _subscription(), plans={"price_1": "-"})
    assert left.items[-1].kind == ItemKind.LEFT
    ended = _stripe(CUSTOMER, _subscription(status="canceled"))
    assert ended.items[-1].content["why"] == "canceled at the source"


@pytest.mark.parametrize(
    ("things", "fault"),
    [
        ([_grant()], "line 1, customer: read 'cus_1'; allowed is a customer who is in the file"),
        ([CUSTOMER, _grant(category="gift")], "line 2, category: read 'gift'"),
        ([CUSTOMER, _grant(), _debit(2000)], "line 2, amount.monetary.value: read '1000'"),
        ([CUSTOMER, _grant(amount={"monetary": {"currency": "usd", "value": "10"}})],
         "line 2, amount.monetary.value: read '10'; allowed is a whole number"),
        ([CUSTOMER, _grant(applicability_config={"scope": {"prices": [{"id": "price_1"}]}})],
         "line 2, applicability_config.scope.prices"),
        ([{**CUSTOMER, "currency": None}], "line 1, currency: read ''"),
        ([{"object": "charge", "id": "ch_1"}], "line 1, object: read 'charge'"),
        ([CUSTOMER, _subscription(status="odd")], "line 2, status: read 'odd'"),
    ],
)  # fmt: skip
def test_what_stripe_says_otherwise_is_refused_by_its_path(things: list[Any], fault: str) -> None:
    assert _faults(_stripe(*things))[0].startswith(fault)


@pytest.mark.parametrize("name", ["a\ud800b", "a\0b"])
def test_what_no_text_has_is_a_fault_and_other_line_ends_are_text(name: str) -> None:
    [fault] = _faults(_stripe({**CUSTOMER, "name": name}))
    assert fault.startswith("line 1, : read")
    fault.encode()
    written = json.dumps({**CUSTOMER, "name": "a\u2028b\u0085c"}, ensure_ascii=False)
    assert read_stripe(f"{written}\r\n", {}).items[0].content["name"] == "a\u2028b\u0085c"


def test_a_line_that_is_no_json_is_named() -> None:
    assert _faults(read_stripe("{", {}))[0].startswith("line 1, : read '{'; allowed is one JSON")


@pytest.mark.parametrize("other", [None, 7, "x", [1], {"data": 3}, True])
def test_parts_of_other_shapes_are_faults_and_never_errors(other: Any) -> None:
    for thing in (CUSTOMER, _grant(), _debit(1), _subscription()):
        for name in thing:
            _stripe({**thing, name: other}, CUSTOMER | {"id": "cus_2"})
    assert _stripe(CUSTOMER, _grant(amount=other)).faults
    assert read_stripe("[" * 100_000, {}).faults
