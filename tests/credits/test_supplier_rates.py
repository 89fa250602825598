"""What suppliers charge: recorded once, never changed, the newest price in force counts."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, transaction

from billing_project.console.demo.traffic import DATA
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, User
from credits.models import SupplierRate
from credits.selectors.supplier_rates import dearest_at
from credits.services.supplier_rates import Imported, record_supplier_rates
from credits.supplier_prices import SupplierPrice, TokenKind

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def price(amount: str, supplier: str = "acme", kind: TokenKind = TokenKind.INPUT) -> SupplierPrice:
    return SupplierPrice(supplier, "small", kind, Decimal(amount))


def record(by: User, at: datetime, *prices: SupplierPrice, currency: str = "USD") -> Imported:
    return record_supplier_rates(
        prices=prices, currency=currency, effective_at=at, source="list", by=by, at=at
    )


def test_the_same_list_again_writes_nothing(product: User, at: datetime) -> None:
    prices = price("0.000005"), price("0.00002", kind=TokenKind.OUTPUT)

    assert record(product, at, *prices) == Imported(new=2, same=0)
    assert record(product, at, *prices) == Imported(new=0, same=2)
    assert record(product, at + DAY, *prices) == Imported(new=0, same=2)
    assert SupplierRate.objects.count() == 2
    assert AuditEntry.objects.filter(action="record_supplier_rates").count() == 1


def test_a_new_price_holds_from_its_day_on(product: User, at: datetime) -> None:
    record(product, at, price("0.000005"))

    assert record(product, at + DAY, price("0.000004")) == Imported(new=1, same=0)

    prices = [dearest_at(day, "USD") for day in (at - DAY, at, at + DAY)]
    key = ("small", "input")
    assert prices[0] == {}
    assert [p[key].unit_price for p in prices[1:]] == [Decimal("0.000005"), Decimal("0.000004")]


def test_the_dearest_supplier_stands_for_all(product: User, at: datetime) -> None:
    record(product, at, price("0.000005"), price("0.000006", supplier="other"))
    record(product, at, price("0.9", supplier="third"), currency="EUR")

    assert dearest_at(at, "USD")["small", "input"].supplier == "other"


def test_another_price_at_the_same_instant_is_refused(product: User, at: datetime) -> None:
    record(product, at, price("0.000005"))

    with pytest.raises(Conflict, match=r"small has another input price .* 0.000005 USD"):
        record(product, at, price("0.000004"))


def test_words_are_asked_for(product: User, at: datetime) -> None:
    with pytest.raises(Invalid, match="1 to 50,000 prices"):
        record(product, at)
    with pytest.raises(Invalid, match="currency"):
        record(product, at, price("1"), currency="usd")
    with pytest.raises(Invalid, match="source"):
        record_supplier_rates(
            prices=[price("1")], currency="USD", effective_at=at, source=" ", by=product, at=at
        )
    assert not SupplierRate.objects.exists()


def test_the_database_keeps_every_price(product: User, at: datetime) -> None:
    record(product, at, price("0.000005"))

    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierRate.objects.update(unit_price=0)
    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierRate.objects.all().delete()


def test_the_command_reads_the_demo_s_list_twice(capsys: pytest.CaptureFixture[str]) -> None:
    path = DATA / "supplier_prices.json"

    for _ in range(2):
        call_command("import_supplier_rates", str(path), "--effective", "2026-11-01")

    first, left_out, second, _ = capsys.readouterr().out.splitlines()
    assert first == "77 new prices, 0 in force already"
    assert second == "0 new prices, 77 in force already"
    assert "whisper-1" in left_out
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
