"""Published foreign currency: liabilities keep their rate, money does not."""

from decimal import Decimal

import pytest

from billing_project.kernel.errors import NotFound
from revrec.fx import Carried, Rate, required, revaluation, revalued, settled_at
from revrec.posting import About, Account, fee_earned, fee_invoiced, pair
from tests.revrec.vectors import VECTORS, minor, minors, moved

USD = About("USD")


def _rates(*values: str) -> list[Rate]:
    return [Rate("EUR", "USD", Decimal(value)) for value in values]


def test_str_34_one_day_one_rate() -> None:
    vector = VECTORS["STR-34"]
    [rate] = _rates(vector["inputs"]["rate"])
    book = rate.of(minor(vector["inputs"]["eur"]))

    entry = moved(
        fee_invoiced(book, USD), fee_earned(book, USD),
        settled_at(Account.RECEIVABLE, book, book, USD),
    )  # fmt: skip

    assert entry == {
        "1000": minor(vector["expected"]["Cash"]),
        "4000": -minor(vector["expected"]["Revenue"]),
    }


def test_str_35_a_receivable_loses_until_it_is_paid() -> None:
    vector = VECTORS["STR-35"]
    eur, expected = minor(vector["inputs"]["eur"]), vector["expected"]
    then, now = _rates(*vector["inputs"]["rates"])

    january = moved(fee_invoiced(then.of(eur), USD), fee_earned(then.of(eur), USD))
    february = moved(settled_at(Account.RECEIVABLE, then.of(eur), now.of(eur), USD))

    assert [january["1100"], february["1100"]] == minors(expected["AccountsReceivable"])
    assert [-january["4000"], 0] == minors(expected["Revenue"])
    assert [0, february["1000"]] == minors(expected["Cash"])
    assert [0, february["7000"]] == minors(expected["FxLoss"])


def test_ifc22_2_an_advance_keeps_the_rate_of_its_receipt() -> None:
    vector = VECTORS["IFC22-2"]
    august, september, end = _rates(*vector["inputs"]["rates"].values())
    expected = vector["expected"]
    advance, rest = august.of(4_000), september.of(6_000)

    received = moved(pair(Account.CASH, Account.FEES_LIABILITY, advance, USD))
    delivered = moved(fee_earned(advance, USD), fee_invoiced(rest, USD), fee_earned(rest, USD))
    paid = moved(settled_at(Account.RECEIVABLE, rest, end.of(6_000), USD))

    assert received == {
        "1000": minor(expected["08-01"]["Dr Cash"]),
        "2120": -minor(expected["08-01"]["Cr Contract liability"]),
    }
    assert delivered == {
        "2120": minor(expected["09-01"]["Dr Contract liability"]),
        "1100": minor(expected["09-01"]["Dr Receivable"]),
        "4000": -minor(expected["09-01"]["Cr Revenue"]),
    }
    assert paid == {
        "1000": minor(expected["09-30"]["Dr Cash"]),
        "7000": minor(expected["09-30"]["Dr FX loss"]),
        "1100": -minor(expected["09-30"]["Cr Receivable"]),
    }


def test_own_15_a_grant_earns_at_the_rate_of_its_sale() -> None:
    vector = VECTORS["OWN-15"]
    sale, _, refund = _rates(*vector["inputs"]["rates"])
    eur, expected = minor(vector["inputs"]["eur"]), vector["expected"]
    carried = Carried(eur, sale.of(eur))

    used = carried.part(eur * 40 // 100)  # Spot is 1.20 by then, which does not matter.
    left = carried.left(eur * 40 // 100)
    entry = moved(
        settled_at(Account.CREDITS_LIABILITY, -left.book_minor, -refund.of(left.amount_minor), USD)
    )

    assert carried.book_minor == minor(expected["cl_initial"])
    assert used == minor(expected["revenue_usd"])
    assert entry == {
        "2100": minor(expected["refund"]["Dr 2100"]),
        "7000": minor(expected["refund"]["Dr 7000 FX loss"]),
        "1000": -minor(expected["refund"]["Cr Cash"]),
    }


def test_money_is_valued_anew_at_a_close_and_yen_have_no_cents() -> None:
    rate = Rate("JPY", "USD", Decimal("0.0067"))
    receivable = Carried(10_000, 6_500)  # 10,000 yen, booked at 65.00.

    change = revaluation(receivable, rate)  # 67.00 now.

    assert change == 200
    assert moved(revalued(Account.RECEIVABLE, change, USD)) == {"1100": 200, "7000": -200}


def test_a_rate_of_exchange_that_is_missing_is_named() -> None:
    assert required(None, "USD", "USD").of(123) == 123
    with pytest.raises(NotFound, match="EUR to USD"):
        required(None, "EUR", "USD")
