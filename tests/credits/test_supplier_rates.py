"""What suppliers charge: proposed as a difference, approved by somebody else, never changed."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction
from django.urls import reverse

from billing_project.console.demo.traffic import DATA
from billing_project.kernel.approvals import Proposal, approve, is_as_proposed, reject
from billing_project.kernel.effects import effect_in
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import SupplierRate, SupplierSheet
from credits.selectors.supplier_costs import cost_currency, price_spans
from credits.selectors.supplier_rates import dearest_at
from credits.services.supplier_rates import propose_supplier_rates
from credits.supplier_prices import SupplierPrice, TokenKind
from tests.console.backoffice import client_of
from tests.credits.builders import NOVEMBER, Shop

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
KEY = ("small", "input")


def price(amount: str, supplier: str = "acme", kind: TokenKind = TokenKind.INPUT) -> SupplierPrice:
    return SupplierPrice(supplier, "small", kind, Decimal(amount))


def proposed(
    by: User,
    at: datetime,
    *prices: SupplierPrice,
    currency: str = "USD",
    until: datetime | None = None,
) -> SupplierSheet:
    words = Proposal("Prices", "Margins", "Rows", "price", at, until)
    return propose_supplier_rates(
        prices=prices, currency=currency, source="list", proposal=words, by=by, at=at
    )


def approved(
    maker: User, approver: User, at: datetime, *prices: SupplierPrice, **said: Any
) -> SupplierSheet:
    sheet = proposed(maker, at, *prices, **said)
    approve(change=sheet.policy_change, by=approver, reason="as published", at=at)
    return sheet


def test_a_price_counts_once_somebody_else_approved_it(
    product: User, approver: User, at: datetime
) -> None:
    sheet = proposed(product, at, price("0.000005"), price("0.00002", kind=TokenKind.OUTPUT))
    assert dearest_at(at, "USD") == {}

    approve(change=sheet.policy_change, by=approver, reason="as published", at=at)

    assert dearest_at(at, "USD")[KEY].unit_price == Decimal("0.000005")
    assert is_as_proposed(sheet.policy_change)


def test_a_proposal_does_not_choose_the_currency_of_all_costs(
    product: User, approver: User, at: datetime
) -> None:
    approved(product, approver, at, price("0.000005"))
    euros = proposed(product, at, *(price("1", f"s{n}") for n in range(3)), currency="EUR")
    assert cost_currency() == "USD"
    approve(change=euros.policy_change, by=approver, reason="as published", at=at)
    assert cost_currency() == "EUR"


def test_only_what_differs_is_proposed(product: User, approver: User, at: datetime) -> None:
    output = price("0.00002", kind=TokenKind.OUTPUT)
    approved(product, approver, at, price("0.000005"), output)

    sheet = approved(product, approver, at + DAY, price("0.000004"), output)

    assert [rate.token_kind for rate in sheet.rates.all()] == ["input"]
    found = [dearest_at(day, "USD") for day in (at - DAY, at, at + DAY)]
    assert found[0] == {}
    assert [p[KEY].unit_price for p in found[1:]] == [Decimal("0.000005"), Decimal("0.000004")]
    with pytest.raises(Conflict):
        proposed(product, at + DAY, price("0.000004"), output)


def test_the_difference_and_its_cost_stand_on_the_proposal(shop: Shop, at: datetime) -> None:
    # 300 tokens of small: at 0.01 3.00, at 0.02 6.00.
    shop.use(input="300")
    approved(shop.maker, shop.approver, NOVEMBER.start, price("0.01"))

    sheet = proposed(shop.maker, at, price("0.02"))

    effect, _ = effect_in(sheet.policy_change.effect or {})
    total, one = effect.rows
    assert (total.before, total.after) == (Decimal(3), Decimal(6))
    assert (one.before, one.after) == (Decimal(10_000), Decimal(20_000))


def test_a_rejected_price_never_counts_and_blocks_no_other(
    product: User, approver: User, at: datetime
) -> None:
    wrong = proposed(product, at, price("9"))
    reject(change=wrong.policy_change, by=approver, reason="a typing error", at=at)

    approved(product, approver, at, price("0.000009"))

    assert dearest_at(at, "USD")[KEY].unit_price == Decimal("0.000009")


def test_a_price_that_ends_gives_way_to_the_one_before(
    product: User, approver: User, at: datetime
) -> None:
    approved(product, approver, at, price("5"))
    approved(product, approver, at + DAY, price("4"), until=at + 2 * DAY)

    held = [dearest_at(at + n * DAY, "USD")[KEY].unit_price for n in range(3)]
    spans = price_spans("USD", at + 9 * DAY)

    assert held == [Decimal(5), Decimal(4), Decimal(5)]
    assert [(span.unit_price, span.start, span.end) for span in spans] == [
        (Decimal(5), at, at + DAY),
        (Decimal(4), at + DAY, at + 2 * DAY),
        (Decimal(5), at + 2 * DAY, None),
    ]


def test_a_price_in_another_currency_ends_the_one_before(
    product: User, approver: User, at: datetime
) -> None:
    approved(product, approver, at, price("5"))
    approved(product, approver, at + DAY, price("4"), currency="EUR", until=at + 3 * DAY)

    held = [KEY in dearest_at(at + n * DAY, "USD") for n in range(4)]
    spans = price_spans("USD", at + 9 * DAY)

    assert held == [True, False, False, True]
    assert [(span.start, span.end) for span in spans] == [
        (at, at + DAY),
        (at + 3 * DAY, None),
    ]
    assert [
        (span.unit_price, span.start, span.end) for span in price_spans("EUR", at + 9 * DAY)
    ] == [(Decimal(4), at + DAY, at + 3 * DAY)]


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_sheets_of_a_day_the_later_counts_whichever_was_approved_first(
    product: User, approver: User, at: datetime, first: int
) -> None:
    sheets = [proposed(product, at + DAY, price(amount)) for amount in ("3", "2")]

    for number in (first, 1 - first):
        approve(change=sheets[number].policy_change, by=approver, reason="seen", at=at + DAY)

    assert dearest_at(at + DAY, "USD")[KEY].unit_price == 2
    assert [span.unit_price for span in price_spans("USD", at + 9 * DAY)] == [2]


def test_the_dearest_supplier_stands_for_all(product: User, approver: User, at: datetime) -> None:
    approved(product, approver, at, price("0.000005"), price("0.000006", supplier="other"))
    approved(product, approver, at, price("0.9", supplier="third"), currency="EUR")

    assert dearest_at(at, "USD")[KEY].supplier == "other"


def test_words_are_asked_for(product: User, at: datetime) -> None:
    with pytest.raises(Invalid, match="1 to 50,000 prices"):
        proposed(product, at)
    with pytest.raises(Invalid, match="currency"):
        proposed(product, at, price("1"), currency="usd")
    with pytest.raises(Invalid, match="one price"):
        proposed(product, at, price("1"), price("2"))
    assert not SupplierRate.objects.exists()


def test_the_database_keeps_every_price(product: User, approver: User, at: datetime) -> None:
    sheet = approved(product, approver, at, price("0.000005"))
    (rate,) = sheet.rates.all()

    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierRate.objects.update(unit_price=0)
    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierRate.objects.all().delete()
    rate.pk, rate.token_kind = None, "output"
    with pytest.raises(DatabaseError, match="after the decision"), transaction.atomic():
        rate.save(force_insert=True)  # What was approved takes no other price.


def test_the_command_proposes_the_demo_s_list_and_then_nothing(
    approver: User, capsys: pytest.CaptureFixture[str]
) -> None:
    path = DATA / "supplier_prices.json"

    call_command("import_supplier_rates", str(path), "--effective", "2026-11-01")
    sheet = SupplierSheet.objects.get()
    approve(change=sheet.policy_change, by=approver, reason="as published", at=NOVEMBER.end)
    call_command("import_supplier_rates", str(path), "--effective", "2026-11-01")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Proposed as suppliers' prices v1: finance approves it, then it counts"
    assert lines[1] == "77 new prices, 0 in force already"
    assert "0 new prices, 77 in force already" in lines
    assert "whisper-1" in lines[2]
    opus = SupplierRate.objects.get(model="claude-opus-4-6", token_kind="output")
    assert (opus.unit_price, opus.currency) == (Decimal("0.000025"), "USD")
    assert (opus.source, opus.supplier) == ("supplier_prices.json", "anthropic")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"m": {"litellm_provider": "a", "input_cost_per_token": -1}}')

    with pytest.raises(CommandError, match="no file"):
        call_command("import_supplier_rates", str(tmp_path / "none.json"))
    with pytest.raises(CommandError, match="m: input_cost_per_token is not between 0"):
        call_command("import_supplier_rates", str(bad))
    with pytest.raises(CommandError, match="nobody is called xyz"):
        call_command("import_supplier_rates", str(DATA / "supplier_prices.json"), "--by", "xyz")


def test_the_back_office_imports_a_list(maker: User, at: datetime, settings: Any) -> None:
    settings.BILLING_CLOCK = at.isoformat()
    client = client_of(maker)
    url = reverse("admin:credits_suppliersheet_import_list")
    said = {
        "nonce": "n" * 24, "title": "Prices", "product_requirement": "Margins",
        "engineering_note": "Rows", "reason_code": "price", "effective_at_0": "2026-12-01",
        "effective_at_1": "00:00:00", "source": "list", "currency": "USD",
        "rates": '{"m": {"litellm_provider": "a", "input_cost_per_token": 1e-6}}',
    }  # fmt: skip

    bad = client.post(url, {**said, "rates": "{"})
    shown = client.post(url, said)
    done = client.post(
        url, {**said, "confirmed": "on", "seal": shown.context["form"]["seal"].value()}
    )

    assert "line 1" in bad.content.decode()
    assert "A million input of m" in shown.content.decode()
    assert done.status_code == 302
    assert SupplierSheet.objects.get().policy_change.proposed_by == maker
