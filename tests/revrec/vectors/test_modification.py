"""Published modifications: a blend for what is to come, a catch-up for what was."""

from datetime import date
from decimal import Decimal

import pytest

from billing_project.kernel.money import settle
from billing_project.kernel.period import DAY
from revrec.modification import Treatment, blended, caught_up, treatment
from revrec.schedule import straight_line
from tests.revrec.vectors import VECTORS, minor


def test_ifr_05b_what_is_left_blends_and_a_concession_hits_revenue_now() -> None:
    inputs, expected = VECTORS["IFR-05B"]["inputs"], VECTORS["IFR-05B"]["expected"]
    units, price = inputs["orig"]
    delivered, credit = inputs["delivered"], minor(inputs["credit"])
    more, more_price = inputs["add"]
    paid_so_far = minor(delivered * price)

    # The credit is for quality of what was delivered: its price falls, all of it is satisfied.
    now = caught_up(paid_so_far - credit, Decimal(delivered), Decimal(delivered), paid_so_far)
    blend = blended(
        unrecognised_minor=minor((units - delivered) * price),
        units_left=Decimal(units - delivered),
        added_minor=minor(more * more_price),
        added_units=Decimal(more),
    )

    assert -now == minor(expected["reduction_of_revenue_now"])
    assert settle(blend.unit_price("USD"), "USD") == minor(expected["price_per_remaining"])
    assert blend.earned(Decimal(90)) == minor(60 * 100 + 30 * 80)


def test_ifr_07_years_that_are_left_cost_alike() -> None:
    inputs, expected = VECTORS["IFR-07"]["inputs"], VECTORS["IFR-07"]["expected"]

    blend = blended(
        unrecognised_minor=minor(inputs["year3"]),
        units_left=Decimal(1),
        added_minor=minor(inputs["extension"]),
        added_units=Decimal(inputs["years_left"] - 1),
    )
    # As services spread it: alike over the days that are left (365 a year, and no leap year).
    days = int(blend.units) * 365
    spread = list(straight_line(blend.price_minor, date(2025, 1, 1), date(2025, 1, 1) + days * DAY))
    years = [sum(day.amount_minor for day in spread[n : n + 365]) for n in range(0, days, 365)]

    assert years == [minor(expected["annual_revenue_after"])] * 4


def test_ifr_08_a_catch_up_is_not_made_of_a_rounded_percentage() -> None:
    inputs, expected = VECTORS["IFR-08"]["inputs"], VECTORS["IFR-08"]["expected"]
    recognised = minor(inputs["tp_before"]) * 60 // 100
    costs, all_costs = Decimal(inputs["costs"]), Decimal(inputs["total_costs_after"])

    change = caught_up(minor(inputs["tp_after"]), costs, all_costs, recognised)

    # Published 91,200 by way of 51.2 %; 1,350,000 * 420/820 - 600,000 = 91,463.41.
    assert change == 9_146_341
    assert change - minor(expected["catch_up"]) == 26_341


@pytest.mark.parametrize(
    ("adds_distinct", "at_ssp", "rest_is_distinct", "expected"),
    [
        (True, True, True, Treatment.SEPARATE),
        (True, False, True, Treatment.PROSPECTIVE),
        (False, False, True, Treatment.PROSPECTIVE),
        (False, True, False, Treatment.CATCH_UP),
        (True, False, False, Treatment.CATCH_UP),
    ],
)
def test_what_is_left_decides_the_treatment(
    adds_distinct: bool, at_ssp: bool, rest_is_distinct: bool, expected: Treatment
) -> None:
    found = treatment(adds_distinct=adds_distinct, at_ssp=at_ssp, rest_is_distinct=rest_is_distinct)

    assert found == expected
