"""What a day's use is worth, cut by models: an example, and what holds for all."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import prorate
from revrec.accrual import Price
from revrec.by_model import cut_by_model, used_by_model

CENT = Price(Decimal("0.01"), "USD")
CREDITS = st.decimals(-(10**4), 10**4, places=6)


def test_parts_are_differences_of_what_all_use_is_worth() -> None:
    # 0.6 credits are worth 0.01; with 0.8 of a 1.4, 0.01; with 1.2 of b 2.6, 0.03.
    parts = cut_by_model(Decimal("0.6"), {"b": Decimal("1.2"), "a": Decimal("0.8")}, CENT.of)

    assert parts == (("b", 2),)


def test_use_that_is_moved_to_another_model_moves_its_worth() -> None:
    uses = used_by_model([("small", Decimal(-500)), ("large", Decimal(500)), ("", Decimal(100))])

    assert cut_by_model(Decimal(900), uses, CENT.of) == (
        (None, 100), ("large", 500), ("small", -500),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.decimals(0, 10**4, places=6),
    st.dictionaries(st.sampled_from(["a", "b", "c", None]), CREDITS),
    st.integers(0, 10**6),
)
def test_parts_sum_to_the_whole_and_none_is_a_unit_off(
    used: Decimal, uses: dict[str | None, Decimal], price: int
) -> None:
    size = Decimal(50_000)

    parts = dict(cut_by_model(used, uses, lambda total: prorate(price, total, size)))

    whole = used + sum(uses.values(), Decimal(0))
    assert sum(parts.values()) == prorate(price, whole, size) - prorate(price, used, size)
    assert all(abs(parts.get(m, 0) - price * use / size) <= 1 for m, use in uses.items())
