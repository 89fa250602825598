"""Published variable consideration: estimates, the constraint, retroactive prices."""

from decimal import Decimal

import pytest

from billing_project.kernel.errors import Invalid
from billing_project.kernel.money import settle
from revrec.posting import About, Account, overage_invoiced, overage_used
from revrec.variable import (
    EstimateMethod,
    Outcome,
    assured,
    included,
    refund_expected,
)
from tests.revrec.vectors import VECTORS, minor, moved

USD = About("USD")
PROBABLE = Decimal("0.75")


def test_kpm_04_the_most_likely_amount() -> None:
    vector = VECTORS["KPM-04"]
    outcomes = [Outcome(Decimal(a), Decimal(p)) for a, p in vector["inputs"]["outcomes"]]

    price = included(outcomes, EstimateMethod.MOST_LIKELY, PROBABLE)

    assert price == vector["expected"]["transaction_price"]
    # The expected value would be 128,000, which no outcome brings.
    assert included(outcomes, EstimateMethod.EXPECTED_VALUE, PROBABLE) == 128_000


def test_ifr_25_a_fee_belongs_to_its_quarter_and_an_uncertain_one_waits() -> None:
    vector = VECTORS["IFR-25"]
    fee = settle(Decimal(vector["inputs"]["aum"]) * Decimal(vector["inputs"]["fee"]), "USD")
    # Nobody knows the market: as likely nothing as something.
    incentive = [Outcome(Decimal(0), Decimal("0.5")), Outcome(Decimal(900_000), Decimal("0.5"))]

    entry = moved(overage_used(fee, USD))

    assert -entry["4020"] == minor(vector["expected"]["revenue_q1"])
    assert (
        included(incentive, EstimateMethod.EXPECTED_VALUE, PROBABLE)
        == vector["expected"]["incentive_fee_recognised"]
    )


# The second quarter catches up for the first: IFB-01 300 * 432 - 36000; IFR-24 575 * 90 - 7500.
@pytest.mark.parametrize("name", ["IFB-01", "IFR-24"])
def test_a_retroactive_price_is_estimated_and_caught_up(name: str) -> None:
    inputs, expected = VECTORS[name]["inputs"], VECTORS[name]["expected"]
    full, lower = inputs["price"]
    first, second = inputs["units"]
    # Nobody expects the volume at first; then all are sure of it, for past units too.
    back = [
        minor(
            included([Outcome(Decimal(amount), Decimal(1))], EstimateMethod.MOST_LIKELY, PROBABLE)
        )
        for amount in (0, (first + second) * (full - lower))
    ]

    q1 = moved(
        overage_used(minor(first * full), USD),
        refund_expected(0, back[0], Account.OVERAGE_REVENUE, USD),
    )
    q2 = moved(
        overage_used(minor(second * full), USD),
        refund_expected(back[0], back[1], Account.OVERAGE_REVENUE, USD),
    )

    assert [-q1["4020"], -q2["4020"]] == [minor(expected["q1"]), minor(expected["q2"])]


def test_ifr_40_what_will_be_given_back_is_a_liability() -> None:
    inputs, expected = VECTORS["IFR-40"]["inputs"], VECTORS["IFR-40"]["expected"]
    billed = minor(inputs["units"] * inputs["invoice_price"])
    back = billed - minor(inputs["units"] * inputs["expected_price"])

    entry = moved(
        overage_used(billed, USD),
        overage_invoiced(billed, USD),
        refund_expected(0, back, Account.OVERAGE_REVENUE, USD),
    )

    assert entry == {
        "1100": minor(expected["Dr Receivable"]),
        "4020": -minor(expected["Cr Revenue"]),
        "2210": -minor(expected["Cr Refund liability"]),
    }


def test_an_estimate_of_refunds_that_falls_goes_back_to_revenue() -> None:
    entry = moved(refund_expected(5_000, 3_500, Account.FEE_REVENUE, USD))

    assert entry == {"4000": -1_500, "2210": 1_500}


def test_more_confidence_includes_less() -> None:
    outcomes = [Outcome(Decimal(a), Decimal(p)) for a, p in ((0, "0.1"), (50, "0.4"), (100, "0.5"))]

    assert [assured(outcomes, Decimal(c)) for c in ("0.5", "0.51", "0.9", "0.91")] == [
        100, 50, 50, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("probabilities", [("0.5", "0.4"), ("1.2", "-0.2"), ()])
def test_probabilities_that_do_not_sum_to_one_are_refused(probabilities: tuple[str, ...]) -> None:
    outcomes = [Outcome(Decimal(i), Decimal(p)) for i, p in enumerate(probabilities)]

    with pytest.raises(Invalid) as refused:
        included(outcomes, EstimateMethod.MOST_LIKELY, PROBABLE)
    assert refused.value.field == "outcomes"
