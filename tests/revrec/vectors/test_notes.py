"""Published credit notes: before payment, after it, and taken back again."""

from datetime import date
from decimal import Decimal

from revrec.crediting import CreditSplit, Promise, Reason, split_credit
from revrec.modification import caught_up
from revrec.posting import (
    About,
    Account,
    CreditedPart,
    Settled,
    credit_note_issued,
    fee_earned,
    fee_invoiced,
    payment_received,
)
from revrec.schedule import straight_line
from tests.revrec.vectors import VECTORS, by_month, minor, minors, moved

USD = About("USD")
QUARTER = (date(2026, 1, 1), date(2026, 4, 1))  # 31 + 28 + 31 days.


def _note(split: CreditSplit, settled: Settled) -> dict[str, int]:
    part = CreditedPart(Account.FEES_LIABILITY, split.contra_minor, split.liability_minor, USD)
    return moved(credit_note_issued([part], settled, USD))


def test_str_26_a_note_before_payment_lowers_claim_and_liability() -> None:
    vector = VECTORS["STR-26"]
    price, off = minor(vector["inputs"]["invoice"]), minor(vector["inputs"]["credit_note"])
    expected = vector["expected"]

    split = split_credit(Promise(price, 0, Decimal(0), Decimal(90)), off, Reason.PRICE_CONCESSION)
    note = _note(split, Settled(open_minor=off))
    months = list(by_month(straight_line(price - off, *QUARTER)).values())
    paid = moved(payment_received(price - off, USD))

    # Published for 2024 with a February of 28 days: the days are those of 2026.
    assert moved(fee_invoiced(price, USD))["1100"] + note["1100"] == minor(
        expected["AccountsReceivable"][0]
    )
    assert [0, paid["1000"], 0] == minors(expected["Cash"])
    assert months == minors(expected["Revenue"])
    assert "4900" not in note


def test_str_27_a_note_after_a_month_catches_up_whichever_way_it_is_settled() -> None:
    vector = VECTORS["STR-27"]
    price, off = minor(vector["inputs"]["invoice"]), minor(vector["inputs"]["credit_note"])
    expected = vector["expected"]

    split = split_credit(
        Promise(price, 3_100, Decimal(31), Decimal(90)), off, Reason.SERVICE_FAILURE
    )
    note = _note(split, Settled(open_minor=0, owed_minor=1_500 + 1_000, given_minor=2_000))
    rest = list(by_month(straight_line(price - off - 1_550, date(2026, 2, 1), QUARTER[1])).values())

    # Published 5.10 + 10.40, rounded apart (exact 5.1667 + 10.3333); their sum 15.50 is right.
    # Its months are labelled 2024 and have 28 days: 2026.
    assert note["4900"] == minor(Decimal("5.10") + Decimal("10.40")) == 1_550
    assert rest == minors(expected["Revenue"][1:])
    assert -note["2120"] - rest[0] == minor(expected["DeferredRevenue"][1])
    assert note["2200"] == -(1_500 + minor(expected["CustomerBalance"][1]))
    assert -note["1000"] == minor(expected["ExternalCustomerBalance"][1])


def test_str_29_a_note_taken_back_is_caught_up_in_the_open_period() -> None:
    expected = VECTORS["STR-29"]["expected"]
    # 181.00 for 181 days from 1 January; 90.50 off on 1 February, taken back on 3 May.
    price, off, whole = 18_100, 9_050, Decimal(181)
    split = split_credit(Promise(price, 3_100, Decimal(31), whole), off, Reason.BILLING_ERROR)
    assert split.contra_minor == minor(expected["CreditNotes"][1])
    before_may = 3_100 - split.contra_minor + (1_400 + 1_550 + 1_500)  # At half price.

    # Through 31 May: 151 of 181 days, at the whole price again.
    may = caught_up(price, Decimal(151), whole, before_may)
    june = caught_up(price, whole, whole, before_may + may)

    # Revenue of May 75.50 and the contra taken back, 15.50: 91.00 in all.
    assert may == minor(expected["Revenue"][4]) - minor(expected["CreditNotes"][4])
    assert june == minor(expected["Revenue"][5])
    # Published as an ending balance of 15.50; its own columns, like ours, end on nothing.
    contra = split.contra_minor + minor(expected["CreditNotes"][4])
    assert contra == minor(expected["ending_CreditNotes"]) == 0
    assert moved(fee_earned(june, USD))["4000"] == -3_000
