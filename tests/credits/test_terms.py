"""Terms become a tariff, or a fault that names the field."""

from decimal import Decimal

import pytest

from credits.tariff import FlatFee, Graduated, Package, Percentage, PerUnit, Step, Tariff, Volume
from credits.terms import BadTerms, RateTerms, plain_terms, tariff_of

D = Decimal


def _terms(model: str, terms: dict[str, object] | None = None, **bounds: Decimal) -> RateTerms:
    return RateTerms(model, bounds.pop("unit_price", D(0)), terms or {}, **bounds)


TIERS: list[dict[str, object]] = [
    {"up_to": "10", "unit_price": "2", "flat_fee": "1"},
    {"up_to": None, "unit_price": "1.5"},
]
STEPS = (Step(D(10), D(2), D(1)), Step(None, D("1.5")))


@pytest.mark.parametrize(
    ("terms", "tariff"),
    [
        (_terms("per_unit", unit_price=D("0.5")), Tariff(PerUnit(D("0.5")))),
        (_terms("package", {"size": "10", "price": "3"}), Tariff(Package(D(10), D(3)))),
        (_terms("graduated", {"tiers": TIERS}), Tariff(Graduated(STEPS))),
        (_terms("volume", {"tiers": TIERS}), Tariff(Volume(STEPS))),
        (_terms("flat_fee", {"fee": "49"}), Tariff(FlatFee(D(49)))),
        (_terms("percentage", {"percent": "2.9"}), Tariff(Percentage(D("2.9")))),
        (_terms("per_unit", {"matrix": "by model"}), Tariff(PerUnit(D(0)))),
        (
            _terms("per_unit", included=D(5), minimum=D(1), maximum=D(1)),
            Tariff(PerUnit(D(0)), D(5), D(1), D(1)),
        ),
    ],
)
def test_terms_are_a_tariff(terms: RateTerms, tariff: Tariff) -> None:
    assert tariff_of(terms) == tariff


def _tiers(*ends: str | None) -> dict[str, object]:
    return {"tiers": [{"up_to": end, "unit_price": "1"} for end in ends]}


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (_terms("haggling"), "model"),
        (_terms("per_unit", unit_price=D(-1)), "unit_price"),
        (_terms("per_unit", unit_price=D("NaN")), "unit_price"),
        (_terms("per_unit", unit_price=D("1e15")), "unit_price"),
        (_terms("per_unit", unit_price=D("1e-19")), "unit_price"),
        (_terms("per_unit", unit_price=D("1." + "0" * 70 + "1")), "unit_price"),
        (_terms("flat_fee", {"fee": "1." + "0" * 70 + "1"}), "terms.fee"),
        (_terms("flat_fee", {"fee": "1"}, unit_price=D(1)), "unit_price"),
        (_terms("per_unit", {"size": "1"}), "terms.size"),
        (_terms("package", {"price": "1"}), "terms.size"),
        (_terms("package", {"size": "0", "price": "1"}), "terms.size"),
        (_terms("package", {"size": "1", "price": 1}), "terms.price"),  # A number, not text.
        (_terms("package", {"size": "1", "price": "one"}), "terms.price"),
        (_terms("flat_fee", {"fee": "0.0000000000001"}), "terms.fee"),  # 13 decimals
        (_terms("percentage", {"percent": "Infinity"}), "terms.percent"),
        (_terms("graduated"), "terms.tiers"),
        (_terms("graduated", {"tiers": []}), "terms.tiers"),
        (_terms("graduated", {"tiers": ["10"]}), "terms.tiers[0]"),
        (_terms("graduated", _tiers("10", "10", None)), "terms.tiers[1].up_to"),
        (_terms("volume", _tiers("10", "5", None)), "terms.tiers[1].up_to"),
        (_terms("volume", _tiers("10", "20")), "terms.tiers[1].up_to"),  # None is open.
        (_terms("volume", _tiers(None, "20")), "terms.tiers[0].up_to"),
        (_terms("volume", {"tiers": [{"up_to": None}]}), "terms.tiers[0].unit_price"),
        (
            _terms("volume", {"tiers": [{"up_to": None, "unit_price": "1", "fee": "1"}]}),
            "terms.tiers[0].fee",
        ),
        (_terms("per_unit", included=D(0)), "included"),
        (_terms("per_unit", minimum=D("1e24")), "minimum"),
        (_terms("per_unit", maximum=D("1e-13")), "maximum"),
        (_terms("per_unit", minimum=D(2), maximum=D(1)), "minimum"),
        (_terms("flat_fee", {"fee": "1"}, included=D(1)), "included"),
    ],
)
def test_a_bad_term_is_named(terms: RateTerms, field: str) -> None:
    with pytest.raises(BadTerms) as caught:
        tariff_of(terms)

    assert caught.value.field == field


def test_equal_terms_are_equal_text() -> None:
    terms: dict[str, object] = {
        "matrix": "1.0",
        "tiers": [{"up_to": "10.00", "unit_price": "0.50"}, {"up_to": None, "unit_price": "0"}],
    }

    assert plain_terms(terms) == {
        "matrix": "1.0",
        "tiers": [{"up_to": "10", "unit_price": "0.5"}, {"up_to": None, "unit_price": "0"}],
    }
