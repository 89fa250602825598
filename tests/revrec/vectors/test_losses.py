"""Published voids, bad debts and disputes: a loss where it was delivered, a release where not."""

from collections.abc import Mapping
from decimal import Decimal

from billing_project.kernel.money import prorate
from revrec.crediting import Promise, Reason, split_credit
from revrec.impairment import Loss, Unpaid, losses, recovery
from revrec.losing import LostPart, recovered, written_off
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    invoice_voided,
)
from revrec.provider import Delivery, dispute_lost, dispute_opened, fee_kept
from revrec.provider import losses as dispute_losses
from tests.revrec.vectors import VECTORS, minor, moved

USD = About("USD")
# 90.00 for 90 days, a month of it earned: the case of most of these examples.
PRICE, EARNED = 9_000, 3_100
OPEN = Unpaid(PRICE, PRICE, EARNED)


def _second(vector: str, name: str) -> int:
    """Return what a published account moves in the second period."""
    return minor(VECTORS[vector]["expected"][name][1])


def _part(loss: Loss, promise: Account | None = Account.FEES_LIABILITY) -> LostPart:
    return LostPart(promise, loss.impaired_minor, loss.released_minor, USD)


def _written_off(amount: int, *lines: Unpaid) -> Mapping[str, int]:
    return moved(written_off([_part(loss) for loss in losses(amount, lines)], amount, USD))


def test_str_17_a_void_takes_back_what_was_earned_and_releases_the_rest() -> None:
    split = split_credit(
        Promise(PRICE, EARNED, Decimal(31), Decimal(90)), PRICE, Reason.BILLING_ERROR
    )
    part = CreditedPart(Account.FEES_LIABILITY, split.contra_minor, split.liability_minor, USD)

    entry = moved(invoice_voided([part], PRICE, USD))

    assert entry == {
        "1100": _second("STR-17", "AccountsReceivable"),
        "2120": -_second("STR-17", "DeferredRevenue"),
        "4900": _second("STR-17", "Voids"),
    }


def test_str_18_bad_debt_is_an_expense() -> None:
    entry = _written_off(PRICE, OPEN)

    # Published as contra revenue; IFRS 15.108 and IFRS 9 make it an impairment loss: 6200.
    assert entry == {
        "1100": _second("STR-18", "AccountsReceivable"),
        "2120": -_second("STR-18", "DeferredRevenue"),
        "6200": _second("STR-18", "BadDebt"),
    }


def test_str_19_a_recovery_takes_the_expense_back() -> None:
    expected = VECTORS["STR-19"]["expected"]

    found = recovery(PRICE, losses(PRICE, [OPEN]))
    entry = moved(recovered(map(_part, found), PRICE, USD))

    assert entry["1000"] == minor(expected["Cash"][3])
    assert entry["6200"] == minor(expected["BadDebt"][3])
    # Published as a gain, because the service was stopped. Ours restores the promise, which is
    # then kept, or is ended by a note.
    assert -entry["2120"] == minor(expected["Recoverables"][3])


def test_str_21_of_what_the_balance_paid_nothing_is_lost() -> None:
    # 31.00, of which 17.00 is earned; 11.00 came from the balance, 20.00 is written off.
    entry = _written_off(2_000, Unpaid(3_100, 3_100, 1_700))

    # 20.00 * 17/31 = 10.97 (published: 11, rounded); 14.00 - 9.03 = 4.97 stays paid (published: 5).
    assert entry == {"1100": _second("STR-21", "AccountsReceivable"), "6200": 1_097, "2120": 903}
    assert round(entry["6200"] / 100) == VECTORS["STR-21"]["expected"]["BadDebt"][1]
    paid = 1_400 - entry["2120"]
    assert (paid, round(paid / 100)) == (497, VECTORS["STR-21"]["expected"]["Recoverables"][1])


def test_str_22_an_older_debt_is_lost_whole() -> None:
    expected = VECTORS["STR-22"]["expected"]
    older = Unpaid(1_000, 1_000, 1_000)  # Delivered long ago.

    entry = _written_off(4_100, Unpaid(3_100, 3_100, 1_700), older)

    assert entry["1100"] == minor(expected["AccountsReceivable"][1])
    assert entry["2120"] == -minor(expected["DeferredRevenue"][1])
    # Published as bad debt 17 and negative recoverables 10; both are one impairment.
    assert entry["6200"] == minor(expected["BadDebt"][1] - expected["Recoverables"][1])


def test_str_23_a_dispute_after_a_recovery_takes_it_back_once() -> None:
    expected = VECTORS["STR-23"]["expected"]
    delivery = Delivery(PRICE, Account.FEES_LIABILITY, PRICE - EARNED, USD)
    opened = dispute_opened(PRICE, USD)

    found, elsewhere = dispute_losses(PRICE, [delivery])
    ended = moved(opened, dispute_lost(found, elsewhere, False, USD))

    assert moved(opened) == {"1000": minor(expected["Cash"][4]), "1230": PRICE}
    assert ended == {
        "1000": minor(expected["Cash"][4]),
        "4920": minor(expected["Disputes"][4]),
        "2120": -minor(expected["Recoverables"][4]),  # What the recovery had restored.
    }


def test_str_24_a_dispute_that_is_won_never_touched_revenue() -> None:
    cash = VECTORS["STR-24"]["expected"]["Cash"]

    opened, won = moved(dispute_opened(PRICE, USD)), moved(dispute_opened(-PRICE, USD))

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
    delivery = Delivery(left, Account.FEES_LIABILITY, left - earned, USD)
    [loss], elsewhere = dispute_losses(disputed, [delivery])

    assert split.contra_minor == minor(expected["Refunds"][1])
    february = earned - (1_000 - split.contra_minor)
    assert february == minor(expected["Revenue"][1])
    assert -split.liability_minor - february == minor(expected["DeferredRevenue"][1])
    assert loss.lost_minor == minor(expected["Disputes"][2])
    assert -loss.released_minor == minor(expected["DeferredRevenue"][2])
    assert elsewhere == minor(expected["OtherLoss"][2])


def test_ldg_03_a_dispute_is_parked_until_it_is_decided() -> None:
    vector = VECTORS["LDG-03"]
    amount, fee = (minor(vector["inputs"][name]) for name in ("amount", "fee"))
    expected = vector["expected"]
    found, elsewhere = dispute_losses(amount, [Delivery(amount, None, 0, USD)])

    opened = moved(dispute_opened(amount, USD), fee_kept(fee, True, USD))
    lost = moved(dispute_lost(found, elsewhere, True, USD))
    won = moved(dispute_opened(-amount, USD))

    assert opened == {
        "1230": minor(expected["opened"]["Dr Disputes receivable"]),
        "6110": minor(expected["opened"]["Dr Dispute fees"]),
        "1000": -minor(expected["opened"]["Cr Clearing"]),
    }
    # Fraud is an expense; a customer who was right is less revenue: 4920 in its place.
    assert lost == {"1230": -amount, "6200": minor(expected["lost"]["Dr Dispute expense"])}
    assert won == {"1230": -amount, "1000": minor(expected["won"]["Dr Clearing"])}
