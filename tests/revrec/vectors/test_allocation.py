"""Published allocations: material rights, vouchers, bonus credits, renewals."""

from datetime import date
from decimal import Decimal

from revrec.allocation import Part, allocate_price
from revrec.schedule import months_alike
from tests.revrec.vectors import VECTORS, by_month, minor


def _whole(amounts: list[int]) -> list[int]:
    """Round minor units to whole ones, half up, as these sources print them."""
    return [(amount + 50) // 100 for amount in amounts]


def test_ey_01_an_option_takes_its_share_and_joins_what_it_buys() -> None:
    inputs, expected = VECTORS["EY-01"]["inputs"], VECTORS["EY-01"]["expected"]
    parts = [Part(Decimal(inputs["ssp"]["A"])), Part(Decimal(inputs["ssp"]["option"]))]

    service, option = allocate_price(minor(inputs["tp"]), parts)

    # 100 * 100/133 = 75.19 and 24.81; printed without decimals.
    assert (service, option) == (7_519, 2_481)
    assert _whole([service, option]) == [expected["alloc_A"], expected["alloc_option"]]
    total = option + minor(inputs["exercise_price"])
    assert _whole([total]) == [expected["B_total"]]
    months = by_month(months_alike(total, date(2026, 7, 1), date(2028, 7, 1)))
    assert len(months) == expected["B_months"]
    assert sum(months.values()) == total


def test_ifr_49_a_voucher_is_worth_what_it_saves_and_how_often() -> None:
    inputs, expected = VECTORS["IFR-49"]["inputs"], VECTORS["IFR-49"]["expected"]

    saved = Decimal(inputs["avg"]) * Decimal(inputs["incremental"])
    voucher = Part(saved, Decimal(inputs["prob"]))
    amounts = allocate_price(minor(inputs["tp"]), [Part(Decimal(inputs["tp"])), voucher])

    assert voucher.ssp * voucher.likelihood == expected["ssp_option"]
    assert amounts == [8_929, 1_071]  # Exact 89.2857 and 10.7143.
    assert _whole(amounts) == [expected["alloc_product"], expected["alloc_voucher"]]


def test_ifr_51_renewals_are_looked_through_by_their_costs() -> None:
    inputs, expected = VECTORS["IFR-51"]["inputs"], VECTORS["IFR-51"]["expected"]

    shares = allocate_price(  # By what serving each costs, in the place of its price (B43).
        minor(inputs["consideration"]), [Part(Decimal(weight)) for weight in inputs["weights"]]
    )

    assert sum(shares) == minor(inputs["consideration"])
    assert _whole(shares) == expected["per_contract_revenue"]


def test_kpm_01_shares_are_not_rounded_to_percentages() -> None:
    inputs, expected = VECTORS["KPM-01"]["inputs"], VECTORS["KPM-01"]["expected"]
    parts = [Part(Decimal(inputs["ssp_products"])), Part(Decimal(inputs["ssp_points"]))]

    products, points = allocate_price(minor(inputs["tp"]), parts)

    # Published 91,000 and 9,000: 9700/109700 was rounded to 9 % first. Exact 8,842.30.
    assert (products, points) == (9_115_770, 884_230)
    assert expected["alloc_points"] * 100 - points == 15_770


def test_flh_01_shares_are_not_rounded_to_percentages() -> None:
    inputs, expected = VECTORS["FLH-01"]["inputs"], VECTORS["FLH-01"]["expected"]
    parts = [
        Part(Decimal(inputs["ssp_goods"])),
        Part(Decimal(inputs["points_value"]), Decimal(inputs["redeem"])),
    ]

    goods, points = allocate_price(minor(inputs["tp"]), parts)

    # Published 1,842 and 158, by way of 92 % and 8 %. 2000 * 170/2170 = 156.68.
    assert (goods, points) == (184_332, 15_668)
    assert [expected["revenue_goods"], expected["contract_liability"]] != _whole([goods, points])


def test_ifr_52_points_are_priced_by_what_will_be_redeemed() -> None:
    inputs, expected = VECTORS["IFR-52"]["inputs"], VECTORS["IFR-52"]["expected"]

    amounts = allocate_price(minor(inputs["tp"]), [Part(Decimal(ssp)) for ssp in inputs["ssp"]])

    assert _whole(amounts) == expected["alloc"]


def test_own_09_bonus_credits_share_the_price_by_their_likelihood() -> None:
    inputs, expected = VECTORS["OWN-09"]["inputs"], VECTORS["OWN-09"]["expected"]
    paid = Part(Decimal(100), Decimal("0.95"))  # 1,000 credits at 0.10.
    bonus = Part(Decimal(20), Decimal("0.50"))  # 200 credits at 0.10.

    amounts = allocate_price(minor(inputs["tp"]), [paid, bonus])

    assert paid.ssp * paid.likelihood == Decimal(inputs["ssp_paid"])
    assert bonus.ssp * bonus.likelihood == Decimal(inputs["ssp_bonus"])
    assert amounts == [minor(expected["alloc_paid"]), minor(expected["alloc_bonus"])]


def test_bonus_credits_on_equal_terms_cost_what_the_others_cost() -> None:
    # 100.00 for 1,000 + 200 credits: 8.333 cents each.
    assert allocate_price(10_000, [Part(Decimal(1_000)), Part(Decimal(200))]) == [8_333, 1_667]
