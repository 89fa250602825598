"""Published notes to the statements: what is still to be earned, and how the liability moved."""

from datetime import date

from revrec.disclosures import (
    Claim,
    Released,
    Remaining,
    RollForward,
    from_opening,
    hidden_pair,
    in_bands,
)
from revrec.posting import About, fee_earned, fee_invoiced, payment_received
from revrec.schedule import months_alike
from tests.revrec.vectors import VECTORS, by_month, minor, moved

USD = About("USD")


def test_asc_38a_a_cancellable_contract_owes_nothing_until_it_is_paid() -> None:
    inputs, expected = VECTORS["ASC-38A"]["inputs"], VECTORS["ASC-38A"]["expected"]
    amount = minor(inputs["amount"])
    due, paid = date(2019, 3, 1), moved(payment_received(amount, USD))

    posted = moved(fee_invoiced(amount, USD))
    hidden = hidden_pair(Claim(amount, amount, due, is_cancellable=True), date(2019, 1, 31))

    # We post gross when the invoice is issued; the statement of January hides the pair.
    shown = {"1100": posted["1100"] - hidden, "2120": posted["2120"] + hidden}
    assert {account: total for account, total in shown.items() if total} == expected["01-31"]
    in_march = posted["1100"] + paid["1100"], posted["2120"]
    assert in_march == (0, -minor(expected["03-01"]["Cr Contract liability"]))
    assert paid["1000"] == minor(expected["03-01"]["Dr Cash"])
    assert moved(fee_earned(amount, USD)) == {
        "2120": minor(expected["03-31"]["Dr Contract liability"]),
        "4000": -minor(expected["03-31"]["Cr Revenue"]),
    }


def test_a_contract_that_nobody_can_cancel_is_shown_from_its_due_date_on() -> None:
    bound = Claim(1_000, 1_000, date(2019, 1, 31), is_cancellable=False)
    cancellable = Claim(1_000, 600, date(2019, 1, 31), is_cancellable=True)

    assert hidden_pair(bound, date(2019, 1, 1)) == 0
    assert hidden_pair(cancellable, date(2019, 1, 1)) == 600
    assert hidden_pair(cancellable, date(2019, 1, 31)) == 0


def test_ifr_42c_what_is_left_of_two_years_falls_into_its_years() -> None:
    inputs, expected = VECTORS["IFR-42C"]["inputs"], VECTORS["IFR-42C"]["expected"]
    whole = months_alike(minor(inputs["tp"]), date(2017, 7, 1), date(2019, 7, 1))
    months = list(by_month(whole).items())
    assert len(months) == inputs["months"]

    left = months[inputs["elapsed"] :]
    by_year = {year: sum(m for day, m in left if day.year == year) for year in (2018, 2019)}

    assert by_year == {2018: minor(expected["20X8"]), 2019: 78_750}
    # Published 788 and 2,363: 787.50 and 2,362.50, rounded to whole units.
    assert (by_year[2019] + 50) // 100 == expected["20X9"]
    assert (sum(by_year.values()) + 50) // 100 == expected["total"]


def test_own_17_the_roll_forward_explains_the_closing() -> None:
    inputs, expected = VECTORS["OWN-17"]["inputs"], VECTORS["OWN-17"]["expected"]

    rolled = RollForward(
        opening_minor=minor(inputs["opening"]),
        billings_minor=minor(inputs["billed"]),
        revenue_minor=minor(inputs["revenue_usage"]),
        breakage_minor=minor(inputs["breakage"]),
        refunds_minor=minor(inputs["refunds"]),
    )
    # Of the opening 500.00: 450.00 used and 10.00 broken; the rest is of what was sold since.
    released = [
        Released(minor(450), minor(490)), Released(minor(10), minor(10)), Released(minor(440), 0)
    ]  # fmt: skip

    assert rolled.closing_minor == minor(expected["closing"])
    assert from_opening(released) == minor(expected["revenue_from_opening_116b"])


def test_own_18_what_is_still_to_be_earned_by_band() -> None:
    inputs, expected = VECTORS["OWN-18"]["inputs"], VECTORS["OWN-18"]["expected"]
    as_of = date(2026, 1, 1)

    bands = in_bands(
        [
            Remaining(minor(inputs["credits_net"])),
            Remaining(minor(inputs["deferred_base"]), as_of, date(2027, 1, 1)),
            Remaining(minor(inputs["unbilled_commit"]), as_of, date(2028, 1, 1)),
        ],
        as_of,
    )

    assert bands == [minor(expected["<=12m"]), minor(expected["13-24m"]), 0]
    assert sum(bands) == minor(expected["total"])


def test_bands_sum_whatever_the_dates() -> None:
    as_of = date(2026, 1, 31)
    promises = [
        Remaining(1_000, date(2025, 1, 1), date(2030, 5, 5)),
        Remaining(7, date(2026, 1, 1), date(2026, 1, 2)),  # Should have been earned: first band.
        Remaining(13, date(2029, 1, 1), date(2029, 1, 31)),  # Starts later than all bands.
    ]

    bands = in_bands(promises, as_of)

    assert sum(bands) == 1_020
    assert bands[2] > 13
