"""Nothing is sold into a market that finance did not open; what is sold there is taxed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import approve
from billing_project.kernel.checks import guards_stand
from billing_project.kernel.drafts import draft, submit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.period import Period
from invoicing.checks import settlements_add_up, totals_are_lines
from invoicing.crediting import Settlement
from invoicing.documents import invoice_data
from invoicing.lines import Kind, Line
from invoicing.models import Invoice
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.endings import void_and_regenerate
from invoicing.services.invoices import finalize_due, finalize_invoice
from invoicing.services.markets import (
    Checklist,
    propose_market_gate,
    propose_tax_rate,
    record_tax_id,
)
from invoicing.services.packs import sell_credit_pack
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from metering.services.customers import create_customer
from tests.invoicing.builders import (
    END,
    LAUNCH,
    START,
    Shop,
    check_what_is_deferred,
    issued,
    note_on,
    open_market,
    paid,
    registered_in,
    sell_plan,
    words,
)

pytestmark = pytest.mark.django_db


def _customer(shop: Shop, country: str, currency: str = "EUR") -> Customer:
    return create_customer(
        external_id=f"of-{country}".lower(), name="Of there", currency=currency, country=country,
        by=shop.maker, at=LAUNCH,
    )  # fmt: skip


def _pack(shop: Shop, customer: Customer) -> Invoice:
    return sell_credit_pack(
        customer=customer, pricing_unit=shop.unit, amount=Decimal(100), price_minor=11_900,
        key="pack", by=shop.worker, at=START,
    )  # fmt: skip


def _figures(invoice: Invoice) -> tuple[int, int, int]:
    invoice.refresh_from_db()
    return invoice.total_minor - invoice.tax_minor, invoice.tax_minor, invoice.total_minor


def test_nothing_is_sold_into_a_market_that_is_not_open(shop: Shop) -> None:
    customer = _customer(shop, "FR")
    version = sell_plan(shop, currency="EUR")

    with pytest.raises(Conflict, match="the market of FR in EUR is not open"):
        _pack(shop, customer)
    with pytest.raises(Conflict, match="finance approves its checklist first"):
        subscribe(customer=customer, plan_version=version, start_at=START, by=shop.maker, at=START)
    proposed = propose_market_gate(
        checklist=Checklist("FR", "EUR", "not_required", "EUR", "FR", 3),
        proposal=words(START), by=shop.maker, at=START,
    )  # fmt: skip
    with pytest.raises(Conflict):  # Proposed is not approved.
        _pack(shop, customer)
    approve(change=proposed.policy_change, by=shop.approver, reason="ready", at=START)
    assert _pack(shop, customer).number == "INV-000001"


def test_a_draft_that_was_made_around_the_gate_is_not_issued(shop: Shop) -> None:
    customer = _customer(shop, "FR")
    draft = create_draft(Draft(customer, None, "EUR", Period(START, END), START, "around"), START)
    write_lines(draft, [Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(1), 100, "fee")])

    with pytest.raises(Conflict, match="not open"):
        finalize_invoice(invoice=draft, by=shop.worker, at=START)
    assert finalize_due(by=shop.worker, at=START) == 0
    with pytest.raises(DatabaseError, match="is not open"), transaction.atomic():
        _issue_by_hand()


def _issue_by_hand() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE number_series SET last_number = 1 WHERE code = 'INV'")
        cursor.execute(
            "UPDATE invoice SET status = 'finalized', number = 'INV-1', sequence = 1,"
            " open_minor = total_minor, finalized_at = %s",
            [START],
        )


def test_a_version_that_expired_closes_its_market(shop: Shop) -> None:
    customer = _customer(shop, "FR")
    gate = propose_market_gate(
        checklist=Checklist("FR", "EUR", "not_required", "EUR", "FR", 3), by=shop.maker, at=LAUNCH,
        proposal=words(LAUNCH).__class__(
            **{**vars(words(LAUNCH)), "expires_at": START - timedelta(days=1)}
        ),
    )  # fmt: skip
    approve(change=gate.policy_change, by=shop.approver, reason="for a year", at=LAUNCH)

    with pytest.raises(Conflict, match="not open"):
        _pack(shop, customer)


def test_tax_comes_on_top_of_the_price(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    invoice = issued(shop, _customer(shop, "DE"), 10_000, "EUR")

    assert _figures(invoice) == (10_000, 1_900, 11_900)
    line = invoice.lines.get()
    assert (line.amount_minor, line.tax_minor, line.tax_rate) == (10_000, 1_900, Decimal("0.19"))
    rows = {str(row["label"]): row["amount"] for row in invoice_data(invoice)["subtotals"]}  # type: ignore[attr-defined]
    assert rows == {"Net": "€100.00", "VAT 19%": "€19.00"}
    check_what_is_deferred()
    assert [*totals_are_lines()] == []


def test_tax_is_in_the_price_of_fees_and_packs_where_the_market_has_it_so(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19", is_inclusive=True)
    pack = _pack(shop, _customer(shop, "DE"))

    assert _figures(pack) == (10_000, 1_900, 11_900)
    assert _pack(shop, pack.customer).pk == pack.pk  # The same sale, by its price.
    again = void_and_regenerate(invoice=pack, reason="address", by=shop.maker, at=START)
    assert _figures(finalize_invoice(invoice=again, by=shop.worker, at=END)) == (
        10_000, 1_900, 11_900,
    )  # fmt: skip


def test_a_business_abroad_accounts_for_the_tax_itself(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    customer = _customer(shop, "DE")
    record_tax_id(customer=customer, kind="eu_vat", value="DE 136 695 976", by=shop.maker, at=START)

    invoice = issued(shop, customer, 10_000, "EUR")

    assert _figures(invoice) == (10_000, 0, 10_000)
    assert (invoice.tax_treatment, invoice.customer_tax_id) == ("reverse_charge", "DE136695976")
    data = invoice_data(invoice)
    assert "Reverse charge" in str(data["subtotals"])
    assert "Tax id DE136695976" in str(data["customer"])
    record_tax_id(customer=customer, kind="eu_vat", value="", by=shop.maker, at=END)
    assert _figures(issued(shop, customer, 10_000, "EUR")) == (10_000, 1_900, 11_900)


def test_a_draft_is_taxed_by_what_holds_when_it_is_issued(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    customer = _customer(shop, "DE")
    draft = create_draft(Draft(customer, None, "EUR", Period(START, END), START, "later"), START)
    write_lines(draft, [Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(1), 10_000, "fee")])
    before = _figures(draft)
    lower = propose_tax_rate(
        country="DE", name="VAT", rate=Decimal("0.16"), is_inclusive=False,
        has_reverse_charge=True, proposal=words(END), by=shop.maker, at=START,
    )  # fmt: skip
    approve(change=lower.policy_change, by=shop.approver, reason="the law", at=START)

    finalize_invoice(invoice=draft, by=shop.worker, at=END)

    assert (before, _figures(draft)) == ((10_000, 1_900, 11_900), (10_000, 1_600, 11_600))


def test_without_an_approved_rate_nothing_is_issued_where_we_are_registered(shop: Shop) -> None:
    open_market(
        shop, "DE", "EUR", tax_registration="registered", tax_number="DE1",
        registered_on=LAUNCH.date(),
    )  # fmt: skip

    with pytest.raises(Conflict, match="registered for tax in DE, but no rate"):
        _pack(shop, _customer(shop, "DE"))


@pytest.mark.parametrize(
    ("currency", "minor", "tax"), [("JPY", 10_005, 1_001), ("KWD", 12_345, 1_235)]
)
def test_currencies_with_no_decimals_or_three_round_to_their_own_units(
    shop: Shop, currency: str, minor: int, tax: int
) -> None:
    registered_in(shop, "JP", "0.1", currency)
    invoice = issued(shop, _customer(shop, "JP", currency), minor, currency)

    assert _figures(invoice) == (minor, tax, minor + tax)


def test_a_note_takes_tax_in_proportion_and_the_last_one_all_that_is_left(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    invoice = paid(shop, issued(shop, _customer(shop, "DE"), 1_000, "EUR"), 500)  # Of 11.90.

    first = note_on(shop, invoice, 333, key="a")  # 3.33 + 0.63 off the 6.90 that are open.
    invoice.refresh_from_db()
    second = note_on(shop, invoice, 667, Settlement(refund_minor=500), key="b")

    assert (first.total_minor, first.tax_minor, first.open_minor) == (396, 63, 396)
    assert (second.total_minor, second.tax_minor, second.open_minor) == (794, 127, 294)
    assert (invoice.lines.get().tax_credited_minor, first.lines.get().tax_minor) == (190, 63)
    check_what_is_deferred()
    assert [*settlements_add_up()] == []


@pytest.mark.parametrize(
    ("changes", "words_of_it"),
    [
        ({"country": "XX"}, "no country"),
        ({"currency": "ABC"}, "no currency"),
        ({"bank_country": ""}, "no country"),
        ({"tax_registration": "registered"}, "its number and its date"),
        ({"tax_registration": "later"}, "one of registered, not_required"),
        ({"tax_number": "DE1"}, "without a registration"),
        ({"payout_days": 400}, "0 to 366 days"),
        ({"threshold_minor": -1}, "at least nothing"),
    ],
)
def test_a_checklist_with_a_part_missing_is_refused(
    shop: Shop, changes: dict[str, Any], words_of_it: str
) -> None:
    whole = {
        "country": "FR", "currency": "EUR", "tax_registration": "not_required",
        "settlement_currency": "EUR", "bank_country": "FR", "payout_days": 3,
    }  # fmt: skip

    with pytest.raises(Invalid, match=words_of_it):
        propose_market_gate(
            checklist=Checklist(**{**whole, **changes}), proposal=words(START), by=shop.maker,
            at=START,
        )  # fmt: skip


def test_a_tax_id_of_another_country_is_refused(shop: Shop) -> None:
    customer = _customer(shop, "FR")

    with pytest.raises(Conflict, match="of DE, the customer of FR"):
        record_tax_id(
            customer=customer, kind="eu_vat", value="DE136695976", by=shop.maker, at=START
        )
    with pytest.raises(Invalid, match="no eu vat"):
        record_tax_id(customer=customer, kind="eu_vat", value="FR0", by=shop.maker, at=START)


def test_the_guard_of_markets_is_the_one_of_its_migration(shop: Shop) -> None:
    assert [finding for finding in guards_stand() if finding.subject == "table:invoice"] == []


@pytest.mark.parametrize(
    ("kind", "content", "field"),
    [
        ("tax_rate", {"country": "DE", "rate": "0.19", "name": "VAT"}, "is_inclusive"),
        ("market_gate", {"country": "DE"}, "currency"),
        ("invoice_policy", {}, "approval_above"),
    ],
)
def test_a_draft_that_leaves_something_out_names_it(
    shop: Shop, kind: str, content: dict[str, str], field: str
) -> None:
    kept = draft(kind=kind, content=content, proposal=words(START), by=shop.maker, at=START)

    with pytest.raises(Invalid, match="does not say its") as refused:
        submit(change=kept, by=shop.maker, at=START)

    assert refused.value.field == field
