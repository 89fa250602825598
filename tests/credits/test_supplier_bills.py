"""A supplier's bill beside what usage costs: read exactly, compared by model, explained once."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from credits.models import SupplierBill, SupplierBillComparison, SupplierBillLine
from credits.selectors.supplier_bills import newest_lines
from credits.services.supplier_bills import (
    compare_bill_again,
    explain_difference,
    import_supplier_bill,
)
from credits.supplier_bills import Difference, UnreadableBill, compared, read_bill
from credits.supplier_prices import SupplierPrice, TokenKind, read_price_list
from tests.console.backoffice import client_of
from tests.credits.builders import NOVEMBER, Shop
from tests.credits.pricing import supplier_prices

AFTER = NOVEMBER.end + timedelta(days=1)
AMOUNTS = st.decimals(-1000, 1000, places=4, allow_nan=False, allow_infinity=False)


def test_a_bill_is_read_by_model_and_rows_of_a_model_are_summed() -> None:
    text = "model,kind,amount\nsmall,input,1.25\nlarge,output,3\nsmall,output,0.755\n"

    assert read_bill(text) == {"small": Decimal("2.005"), "large": Decimal(3)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the first row names"),
        ("model,price\na,1\n", "the first row names"),
        ("model,amount\n", "no rows"),
        ("model,amount\n,1\n", "row 2: name a model"),
        ("model,amount\na,1_0\n", "row 2"),
        ("model,amount\na,NaN\n", "out of bounds"),
        ("model,amount\na,1e20\n", "out of bounds"),
        ("model,amount\na\n", "is no amount"),
        ("model,amount\na\x00,1\n", "no text has"),
        (f"model,amount\n{'a' * 200_000},1\n", "no CSV"),
    ],
)
def test_what_is_no_bill_is_refused_with_its_row(text: str, why: str) -> None:
    with pytest.raises(UnreadableBill, match=why):
        read_bill(text)


@given(
    st.dictionaries(st.sampled_from("abcd"), AMOUNTS),
    st.dictionaries(st.sampled_from("abcd"), AMOUNTS),
)
def test_differences_sum_to_the_difference_of_the_sums(
    billed: dict[str, Decimal], expected: dict[str, Decimal]
) -> None:
    rows = compared(billed, expected)

    whole = sum(billed.values(), Decimal(0)) - sum(expected.values(), Decimal(0))
    assert sum((row.amount for row in rows), Decimal(0)) == whole
    assert {row.model for row in rows} == billed.keys() | expected.keys()


def test_a_cent_is_no_difference() -> None:
    assert not Difference("m", Decimal("1.01"), Decimal(1)).is_open
    assert Difference("m", Decimal("1.0101"), Decimal(1)).is_open


def test_prices_of_batches_are_read() -> None:
    found = read_price_list(
        '{"m": {"litellm_provider": "a", "input_cost_per_token_batches": 1e-6,'
        ' "output_cost_per_token_batches": 2e-6}}'
    )

    assert [price.token_kind for price in found.prices] == [
        TokenKind.BATCH_INPUT, TokenKind.BATCH_OUTPUT,
    ]  # fmt: skip


@pytest.fixture
def priced(shop: Shop) -> Shop:
    """Return a shop that used 300 input and 10 output tokens of `small`; 0.01 and 0.10 each."""
    prices = [
        SupplierPrice("acme-ai", "small", TokenKind.INPUT, Decimal("0.01")),
        SupplierPrice("acme-ai", "small", TokenKind.OUTPUT, Decimal("0.1")),
        SupplierPrice("other-ai", "small", TokenKind.OUTPUT, Decimal(9)),
    ]
    supplier_prices(prices, NOVEMBER.start, shop.maker, shop.approver)
    shop.use(input="300")
    shop.use(output="10")
    return shop


def imported(shop: Shop, text: str, by: User | None = None) -> SupplierBill:
    return import_supplier_bill(
        text=text, supplier="acme-ai", month_on=date(2026, 11, 12), currency="USD",
        source="november.csv", owner=shop.maker, by=by or shop.maker, at=AFTER,
    )  # fmt: skip


@pytest.mark.django_db
def test_a_bill_is_laid_beside_usage_and_differences_have_an_owner(priced: Shop) -> None:
    # 300 x 0.01 + 10 x 0.10 = 4.00 of small; 4.50 are billed, and 2.00 of a model unknown here.
    text = "model,amount\nsmall,4.5\nghost,2\n"

    bill, again = imported(priced, text), imported(priced, text)

    assert bill == again
    rows = {
        line.model: (line.billed, line.expected, line.is_open, line.owner)
        for line in bill.lines.all()
    }
    assert rows == {
        "small": (Decimal("4.5"), Decimal(4), True, priced.maker),
        "ghost": (Decimal(2), Decimal(0), True, priced.maker),
    }
    line = bill.lines.get(model="small")
    seen = explain_difference(line=line, explanation="A test", by=priced.maker, at=AFTER)
    assert (seen.is_open, seen.explained_by) == (False, priced.maker)
    with pytest.raises(Conflict):
        explain_difference(line=line, explanation="Again", by=priced.maker, at=AFTER)


@pytest.mark.django_db
def test_a_bill_is_compared_again_beside_what_was_compared(priced: Shop) -> None:
    shop = priced
    late: dict[str, Any] = {"owner": shop.approver, "reason": "usage came late"}
    bill = imported(shop, "model,amount\nsmall,5\nghost,2\nother,0\n")
    with pytest.raises(Conflict, match="costs what it did"):
        compare_bill_again(bill=bill, by=shop.maker, at=AFTER, **late)
    ghost = bill.lines.get(model="ghost")
    explain_difference(line=ghost, explanation="A test", by=shop.maker, at=AFTER)
    shop.use(output="5")  # 0.50 more: 4.50 of the 5.00.

    made = compare_bill_again(bill=bill, by=shop.maker, at=AFTER, **late)

    assert (made.number, made.compared_by, made.reason) == (2, shop.maker, "usage came late")
    rows = bill.lines.order_by("number", "model").values_list(
        "number", "model", "expected", "is_open", "explanation", "owner__username"
    )
    maker, approver = shop.maker.username, shop.approver.username
    assert list(rows) == [
        (1, "ghost", 0, False, "A test", maker),
        (1, "other", 0, False, "", maker),
        (1, "small", 4, False, "", maker),  # Asked for by the next one.
        (2, "ghost", 0, False, "A test", maker),
        (2, "other", 0, False, "", approver),
        (2, "small", Decimal("4.5"), True, "", approver),
    ]
    assert [line.model for line in newest_lines(bill).filter(is_open=True)] == ["small"]
    shop.use(output="5")
    compare_bill_again(bill=bill, by=shop.maker, at=AFTER, **late)
    assert not newest_lines(bill).filter(is_open=True).exists()
    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierBillComparison.objects.update(reason="")


@pytest.mark.django_db
def test_comparing_again_wants_a_reason_a_person_and_the_permission(
    priced: Shop, approver: User
) -> None:
    bill = imported(priced, "model,amount\nsmall,5\n")
    said: dict[str, Any] = {"bill": bill, "owner": priced.maker, "reason": "late", "at": AFTER}

    with pytest.raises(NotAllowed):
        compare_bill_again(**said, by=approver)
    with pytest.raises(Invalid):
        compare_bill_again(**said | {"reason": " "}, by=priced.maker)
    with pytest.raises(Invalid):
        compare_bill_again(**said | {"owner": worker_user()}, by=priced.maker)


@pytest.mark.django_db
def test_what_is_not_on_the_bill_is_a_difference_too(priced: Shop) -> None:
    (ghost, small) = imported(priced, "model,amount\nghost,4.005\n").lines.order_by("model")

    assert (ghost.is_open, small.is_open) == (True, True)
    assert small.billed == 0
    (even,) = imported(priced, "model,amount\nsmall,4.005\n").lines.all()
    assert not even.is_open


@pytest.mark.django_db
def test_a_month_that_goes_on_and_strangers_are_refused(priced: Shop, approver: User) -> None:
    with pytest.raises(NotAllowed):
        imported(priced, "model,amount\na,1\n", by=approver)
    with pytest.raises(Conflict):
        import_supplier_bill(
            text="model,amount\na,1\n", supplier="a", month_on=date(2026, 12, 1), currency="USD",
            source="x", owner=priced.maker, by=priced.maker, at=AFTER,
        )  # fmt: skip
    imported(priced, "model,amount\na,1\n")
    with pytest.raises(Conflict, match="was imported in USD"):
        import_supplier_bill(
            text="model,amount\na,1\n", supplier="acme-ai", month_on=date(2026, 11, 1),
            currency="EUR", source="x", owner=priced.maker, by=priced.maker, at=AFTER,
        )  # fmt: skip
    with pytest.raises(Invalid) as refused:
        imported(priced, "model\na\n")
    assert refused.value.field == "text"


@pytest.mark.django_db
def test_the_database_keeps_bills(priced: Shop) -> None:
    imported(priced, "model,amount\nsmall,4\n")

    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierBillLine.objects.update(billed=0)
    with pytest.raises(DatabaseError), transaction.atomic():
        SupplierBill.objects.all().delete()


@pytest.mark.django_db
def test_the_back_office_imports_and_explains(priced: Shop, maker: User, settings: Any) -> None:
    settings.BILLING_CLOCK = AFTER.isoformat()
    client = client_of(maker)
    url = reverse("admin:credits_supplierbill_import_bill")
    said = {
        "nonce": "n" * 24, "supplier": "acme-ai", "month_on": "2026-11-01", "currency": "USD",
        "source": "november.csv", "owner": maker.pk,
    }  # fmt: skip

    refused = client.post(url, {**said, "text": "model\na\n"})
    done = client.post(url, {**said, "text": "model,amount\r\nsmall,9\r\n"})

    assert refused.status_code == 422
    assert done.status_code == 302, done.context["form"].errors
    line = SupplierBillLine.objects.get()
    explain = reverse("admin:credits_supplierbillline_explain", args=[line.pk])
    assert client.post(explain, {"nonce": "m" * 24, "reason": "a trial"}).status_code == 302
    priced.use(output="5")
    again = reverse("admin:credits_supplierbill_compare_again", args=[line.bill_id])
    wanted = {"nonce": "k" * 24, "reason": "came late", "owner": maker.pk}
    assert client.post(again, wanted).status_code == 302
    page = client.get(reverse("admin:credits_supplierbill_changelist")).content.decode()
    assert "9.00 USD" in page
    assert "4.50 USD" in page


@pytest.mark.django_db
def test_the_command_tells_what_differs(
    priced: Shop, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BILLING_CLOCK = AFTER.isoformat()
    path = tmp_path / "november.csv"
    path.write_text("model,amount\nsmall,4.5\n")

    call_command(
        "import_supplier_bill", str(path), "--supplier", "acme-ai", "--month", "2026-11-01",
        "--owner", priced.maker.username,
    )  # fmt: skip

    assert "small: 4.5 billed, 4 by usage  to explain" in capsys.readouterr().out
