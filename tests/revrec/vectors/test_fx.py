"""Published foreign currency: liabilities keep their rate, money does not."""

from collections import Counter
from decimal import Decimal

import pytest

from billing_project.kernel.errors import NotFound
from revrec.fx import Carried, Rate, required, revaluation, revalued, worth_alone
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Lines,
    Settled,
    credit_note_issued,
    credits_used,
    fee_earned,
    fee_invoiced,
    pack_sold_for_cash,
    pair,
    payment_received,
    refunded,
)
from revrec.translating import Holdings, translate
from tests.revrec.vectors import VECTORS, minor, minors, moved

USD = About("USD")
EUR = About("EUR", 1)  # Of one promise.


def _rates(*values: str) -> list[Rate]:
    return [Rate("EUR", "USD", Decimal(value)) for value in values]


def _worth(holdings: Holdings, rate: Rate, *entries: Lines) -> dict[str, int]:
    """Sum by account what entries are worth as services post them; 7000 takes the difference."""
    sums: Counter[str] = Counter()
    for lines in entries:
        told = translate(lines, holdings, rate)
        sums["7000"] += told.difference_minor
        for line, worth in zip(lines, told.book_minor, strict=True):
            sums[line.account.value] += worth
    return {account: total for account, total in sorted(sums.items()) if total}


def test_str_34_one_day_one_rate() -> None:
    vector = VECTORS["STR-34"]
    [rate] = _rates(vector["inputs"]["rate"])
    eur = minor(vector["inputs"]["eur"])

    entry = _worth(
        Holdings(), rate, fee_invoiced(eur, EUR), fee_earned(eur, EUR), payment_received(eur, EUR)
    )

    assert entry == {
        "1000": minor(vector["expected"]["Cash"]),
        "4000": -minor(vector["expected"]["Revenue"]),
    }


def test_str_35_a_receivable_loses_until_it_is_paid() -> None:
    vector = VECTORS["STR-35"]
    eur, expected = minor(vector["inputs"]["eur"]), vector["expected"]
    then, now = _rates(*vector["inputs"]["rates"])
    holdings = Holdings()

    january = _worth(holdings, then, fee_invoiced(eur, EUR), fee_earned(eur, EUR))
    february = _worth(holdings, now, payment_received(eur, EUR))

    assert [january["1100"], february["1100"]] == minors(expected["AccountsReceivable"])
    assert [-january["4000"], 0] == minors(expected["Revenue"])
    assert [0, february["1000"]] == minors(expected["Cash"])
    assert [0, february["7000"]] == minors(expected["FxLoss"])


def test_ifc22_2_an_advance_keeps_the_rate_of_its_receipt() -> None:
    vector = VECTORS["IFC22-2"]
    august, september, end = _rates(*vector["inputs"]["rates"].values())
    expected, holdings, rest = vector["expected"], Holdings(), About("EUR", 2)

    received = _worth(holdings, august, pair(Account.CASH, Account.FEES_LIABILITY, 4_000, EUR))
    delivered = _worth(
        holdings, september,
        fee_earned(4_000, EUR), fee_invoiced(6_000, rest), fee_earned(6_000, rest),
    )  # fmt: skip
    paid = _worth(holdings, end, payment_received(6_000, EUR))

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
    sale, use, refund = _rates(*vector["inputs"]["rates"])
    eur, expected, holdings = minor(vector["inputs"]["eur"]), vector["expected"], Holdings()
    used = eur * 40 // 100
    part = CreditedPart(Account.CREDITS_LIABILITY, 0, eur - used, EUR)

    sold = _worth(holdings, sale, pack_sold_for_cash(eur, EUR))
    earned = _worth(holdings, use, credits_used(used, EUR))
    given_back = _worth(
        holdings, refund,
        credit_note_issued([part], Settled(0, eur - used), EUR), refunded(eur - used, EUR),
    )  # fmt: skip

    assert -sold["2100"] == minor(expected["cl_initial"])
    assert -earned["4010"] == minor(expected["revenue_usd"])
    assert given_back == {
        "2100": minor(expected["refund"]["Dr 2100"]),
        "7000": minor(expected["refund"]["Dr 7000 FX loss"]),
        "1000": -minor(expected["refund"]["Cr Cash"]),
    }


def test_money_is_valued_anew_at_a_close_and_yen_have_no_cents() -> None:
    rate = Rate("JPY", "USD", Decimal("0.0067"))
    receivable = Carried(10_000, 6_500)  # 10,000 yen, booked at 65.00.

    change = revaluation(receivable, rate)  # 67.00 now.

    assert change == 200
    lines = revalued(Account.RECEIVABLE, change, USD)
    assert moved(lines) == {"1100": 200, "7000": -200}
    told = [(one.amount_minor, one.currency, one.functional_minor) for one in
            worth_alone(lines, "JPY")]  # fmt: skip
    assert told == [(0, "JPY", 200), (0, "JPY", -200)]


def test_a_rate_of_exchange_that_is_missing_is_named() -> None:
    assert required(None, "USD", "USD").of(123) == 123
    with pytest.raises(NotFound, match="EUR to USD"):
        required(None, "EUR", "USD")
