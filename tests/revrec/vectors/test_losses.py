"""Published voids, bad debts and disputes: a loss where it was delivered, a release where not."""

from collections.abc import Mapping
from decimal import Decimal

from billing_project.kernel.money import prorate
from revrec.crediting import Promise, Reason, split_credit
from revrec.losses import (
    LostPart,
    dispute_lost,
    dispute_opened,
    dispute_won,
    recovered,
    split_loss,
    voided,
    written_off,
)
from revrec.posting import About, Account
from tests.revrec.vectors import VECTORS, minor, moved

USD = About("USD")
# 90.00 for 90 days, a month of it earned: the case of most of these examples.
PRICE, EARNED = 9_000, 3_100


def _part(amount: int, price: int = PRICE, earned: int = EARNED) -> LostPart:
    loss = split_loss(amount, price, earned)
    return LostPart(loss.delivered_minor, loss.undelivered_minor, Account.FEES_LIABILITY, USD)


def _second(vector: str, name: str) -> int:
    """Return what a published account moves in the second period."""
    return minor(VECTORS[vector]["expected"][name][1])


def test_str_17_a_void_takes_back_what_was_earned_and_releases_the_rest() -> None:
    entry = moved(voided([_part(PRICE)], 0, USD))

    assert entry == {
        "1100": _second("STR-17", "AccountsReceivable"),
        "2120": -_second("STR-17", "DeferredRevenue"),
        "4900": _second("STR-17", "Voids"),
    }


def test_str_18_bad_debt_is_an_expense() -> None:
    entry = moved(written_off([_part(PRICE)], 0, USD))

    # Published as contra revenue; IFRS 15.108 and IFRS 9 make it an impairment loss: 6200.
    assert entry == {
        "1100": _second("STR-18", "AccountsReceivable"),
        "2120": -_second("STR-18", "DeferredRevenue"),
        "6200": _second("STR-18", "BadDebt"),
    }


def _recovery() -> Mapping[str, int]:
    loss = split_loss(PRICE, PRICE, EARNED)
    return moved(recovered(loss.delivered_minor, loss.undelivered_minor, Account.FEE_REVENUE, USD))


def test_str_19_a_recovery_takes_the_expense_back() -> None:
    expected = VECTORS["STR-19"]["expected"]

    entry = _recovery()

    # The service was stopped: what was never delivered is no debt to the customer any more.
    assert entry["1000"] == minor(expected["Cash"][3])
    assert entry["6200"] == minor(expected["BadDebt"][3])
    assert -entry["4000"] == minor(expected["Recoverables"][3])


def test_str_21_of_what_the_balance_paid_nothing_is_lost() -> None:
    # 31.00, of which 17.00 is earned; 11.00 came from the balance, 20.00 is written off.
    entry = moved(written_off([_part(2_000, 3_100, 1_700)], 0, USD))

    # 20.00 * 17/31 = 10.97 (published: 11, rounded); 14.00 - 9.03 = 4.97 stays paid (published: 5).
    assert entry == {"1100": _second("STR-21", "AccountsReceivable"), "6200": 1_097, "2120": 903}
    assert round((entry["6200"]) / 100) == VECTORS["STR-21"]["expected"]["BadDebt"][1]
    paid = 1_400 - entry["2120"]
    assert (paid, round(paid / 100)) == (497, VECTORS["STR-21"]["expected"]["Recoverables"][1])


def test_str_22_an_older_debt_is_lost_whole() -> None:
    expected = VECTORS["STR-22"]["expected"]
    older = LostPart(1_000, 0, None, USD)  # Delivered long ago.

    entry = moved(written_off([_part(3_100, 3_100, 1_700), older], 0, USD))

    assert entry["1100"] == minor(expected["AccountsReceivable"][1])
    assert entry["2120"] == -minor(expected["DeferredRevenue"][1])
    # Published as bad debt 17 and negative recoverables 10; both are one impairment.
    assert entry["6200"] == minor(expected["BadDebt"][1] - expected["Recoverables"][1])


def test_str_23_a_dispute_after_a_recovery_takes_it_back_once() -> None:
    expected = VECTORS["STR-23"]["expected"]
    lost = LostPart(EARNED, PRICE - EARNED, Account.FEE_REVENUE, USD)

    opened = moved(dispute_opened(PRICE, 0, USD))
    ended = moved(dispute_opened(PRICE, 0, USD), dispute_lost([lost], 0, USD, is_credit_loss=False))

    assert opened == {"1000": minor(expected["Cash"][4]), "1230": PRICE}
    assert ended == {
        "1000": minor(expected["Cash"][4]),
        "4920": minor(expected["Disputes"][4]),
        "4000": -minor(expected["Recoverables"][4]),
    }


def test_str_24_a_dispute_that_is_won_never_touched_revenue() -> None:
    cash = VECTORS["STR-24"]["expected"]["Cash"]

    opened, won = moved(dispute_opened(PRICE, 0, USD)), moved(dispute_won(PRICE, USD))

    # Published: revenue is reversed when it opens and the win is a gain. Ours is parked in 1230.
    assert [opened["1000"], won["1000"]] == [minor(cash[1]), minor(cash[3])]
    assert opened["1230"] + won["1230"] == 0
    assert set(opened) | set(won) == {"1000", "1230"}


def test_str_25_a_dispute_above_what_is_left_of_the_payment_loses_the_rest() -> None:
    vector = VECTORS["STR-25"]
    price, refund, disputed = (
        minor(vector["inputs"][name]) for name in ("amount", "refund", "dispute")
    )
    expected = vector["expected"]
    month, months = Decimal(1), Decimal(10)

    # 1 February: 10.00 of 100.00 is earned; at 20.00 it would have been 2.00.
    split = split_credit(Promise(price, 1_000, month, months), refund, Reason.BILLING_ERROR)
    left = price - refund
    earned = prorate(left, month + 1, months)  # Through February: 4.00 of 20.00.
    loss = split_loss(disputed, left, earned)

    assert split.contra_minor == minor(expected["Refunds"][1])
    february = earned - (1_000 - split.contra_minor)
    assert february == minor(expected["Revenue"][1])
    assert -split.liability_minor - february == minor(expected["DeferredRevenue"][1])
    assert loss.delivered_minor == minor(expected["Disputes"][2])
    assert -loss.undelivered_minor == minor(expected["DeferredRevenue"][2])
    assert loss.excess_minor == minor(expected["OtherLoss"][2])


def test_ldg_03_a_dispute_is_parked_until_it_is_decided() -> None:
    vector = VECTORS["LDG-03"]
    amount, fee = (minor(vector["inputs"][name]) for name in ("amount", "fee"))
    expected = vector["expected"]
    delivered = LostPart(amount, 0, None, USD)

    opened = moved(dispute_opened(amount, fee, USD))
    lost = moved(dispute_lost([delivered], 0, USD, is_credit_loss=True))
    won = moved(dispute_won(amount, USD))

    assert opened == {
        "1230": minor(expected["opened"]["Dr Disputes receivable"]),
        "6110": minor(expected["opened"]["Dr Dispute fees"]),
        "1000": -minor(expected["opened"]["Cr Clearing"]),
    }
    # Fraud is an expense; a customer who was right is less revenue: 4920 in its place.
    assert lost == {"1230": -amount, "6200": minor(expected["lost"]["Dr Dispute expense"])}
    assert won == {"1230": -amount, "1000": minor(expected["won"]["Dr Clearing"])}
