"""Who approves a market, a tax rate or a policy of invoices sees what it makes of last month."""

from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.approvals import approve
from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period
from invoicing.services.drafts import Draft, create_draft
from invoicing.services.holds import propose_invoice_policy
from invoicing.services.markets import (
    Checklist,
    propose_market_gate,
    propose_tax_rate,
)
from metering.models import Customer
from metering.services.customers import create_customer
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    issued,
    note_on,
    registered_in,
    words,
)

pytestmark = pytest.mark.django_db
LATER = START + 5 * DAY


def _customer(shop: Shop, name: str, country: str, currency: str = "EUR") -> Customer:
    return create_customer(
        external_id=name, name=name, currency=currency, country=country, by=shop.maker, at=LAUNCH
    )


def _figures(effect: Effect | None) -> list[tuple[str, str, str, str]]:
    assert effect is not None
    return [(row.subject, str(row.before), str(row.after), row.unit) for row in effect.rows]


def _stored(change: PolicyChange) -> Effect | None:
    change.refresh_from_db()
    return simulate(change)


def _rate(shop: Shop, rate: str, *, is_inclusive: bool = False) -> PolicyChange:
    return propose_tax_rate(
        country="DE", name="VAT", rate=Decimal(rate), is_inclusive=is_inclusive,
        has_reverse_charge=True, proposal=words(LATER + DAY), by=shop.maker, at=LATER,
    ).policy_change  # fmt: skip


def test_a_tax_rate_taxes_what_was_issued_again(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    first, second = _customer(shop, "one", "DE"), _customer(shop, "two", "DE")
    abroad = _customer(shop, "three", "FR")
    for customer, minor in ((first, 10_000), (second, 30_000), (abroad, 7_000)):
        issued(shop, customer, minor, "EUR")

    effect = _stored(_rate(shop, "0.16"))

    # 16 % of 300.00 and of 100.00; what went to France has no part in it.
    assert _figures(effect) == [
        ("Tax of two", "57.00", "48.00", "EUR"),
        ("Tax of one", "19.00", "16.00", "EUR"),
    ]
    assert effect is not None
    assert effect.customers == 2


def test_what_was_issued_longer_ago_has_no_part_in_it(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    issued(shop, _customer(shop, "one", "DE"), 10_000, "EUR")

    change = propose_tax_rate(
        country="DE", name="VAT", rate=Decimal("0.16"), is_inclusive=False,
        has_reverse_charge=True, proposal=words(END + 60 * DAY), by=shop.maker, at=END + 59 * DAY,
    ).policy_change  # fmt: skip

    assert _figures(_stored(change)) == []


def test_a_market_says_whom_it_opens_and_what_waits_for_it(shop: Shop) -> None:
    customer = _customer(shop, "one", "CH", "CHF")
    create_draft(Draft(customer, None, "CHF", Period(START, END), START, "waits"), START)
    checklist = Checklist("CH", "CHF", "not_required", "CHF", "CH", 2)

    gate = propose_market_gate(
        checklist=checklist, proposal=words(LATER), by=shop.maker, at=LATER
    ).policy_change
    effect = _stored(gate)

    assert _figures(effect) == [
        ("Customers who can be sold to", "0", "1", "customer"),
        ("Drafts that wait for the market", "1", "0", "invoice"),
    ]
    assert effect is not None
    assert effect.basis == "The market of CH in CHF when the change begins. It is closed"
    approve(change=gate, by=shop.approver, reason="ready", at=LATER)
    again = propose_market_gate(
        checklist=Checklist("CH", "CHF", "not_required", "CHF", "CH", 3),
        proposal=words(LATER), by=shop.maker, at=LATER,
    ).policy_change  # fmt: skip
    assert _figures(_stored(again))[0] == ("Customers who can be sold to", "1", "1", "customer")


def test_a_policy_of_invoices_counts_what_would_have_waited(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19")
    one = _customer(shop, "one", "DE")
    big, _small = issued(shop, one, 50_000, "EUR"), issued(shop, one, 5_000, "EUR")
    note_on(shop, big, 2_000)

    def effect(**limits: Any) -> list[tuple[str, str, str, str]]:
        said: dict[str, Any] = {
            "approval_above": {}, "approves_first": False, "notes_above": {}, "most_lines": 1000,
            "most_drafts": 50, **limits,
        }  # fmt: skip
        policy = propose_invoice_policy(**said, proposal=words(LATER), by=shop.maker, at=LATER)
        return _figures(_stored(policy.policy_change))

    assert [row[1:3] for row in effect()] == [("0", "0"), ("0", "0"), ("1", "1")]
    # 595.00 is above 500.00 and 59.50 is not; the note is over 20.00 and its tax of 3.80. Where no
    # limit is stated for euros, support proposes.
    limits: dict[str, Any] = {"approval_above": {"EUR": 50_000}, "notes_above": {"EUR": 2_379}}
    assert [row[1:3] for row in effect(**limits)] == [("0", "1"), ("0", "0"), ("1", "1")]
    assert effect(approves_first=True)[0][1:3] == ("0", "1")
    assert [row[1:3] for row in effect(notes_above={"EUR": 2_380})][2] == ("1", "0")
