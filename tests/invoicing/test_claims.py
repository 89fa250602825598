"""Notes on overage: what takes back an overcharge, what is a concession, in every order."""

from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.money import settle
from invoicing.claims import Claim, Evened, even_out, overcharge, worth
from invoicing.lines import OveragePrice

CENT = OveragePrice("credit", Decimal("0.01"), "USD")
NONE = Decimal(0)
UNCLAIMED = Claim(NONE, 0, 0)


def _claim(credit_count: str, minor: int, conceded: int = 0) -> Claim:
    return Claim(Decimal(credit_count), minor, conceded)


@pytest.mark.parametrize(
    ("claim", "used", "amount", "expected"),
    [
        # 20.00 claimed, 10.00 used: the note takes back the other 10.00, that is 1,000 credits.
        (_claim("2000", 2000), "1000", 1000, Evened(1000, Decimal(1000))),
        (_claim("2000", 2000), "1000", 400, Evened(400, Decimal(400))),  # A part of it.
        (_claim("2000", 2000), "1000", 1500, Evened(1000, Decimal(1000))),  # 5.00 conceded.
        (_claim("2000", 2000), "2000", 300, Evened(0, NONE)),  # All conceded.
        (_claim("2000", 2000), "2500", 300, Evened(0, NONE)),  # More waits to be invoiced.
        # 3.00 conceded, then all usage cancelled: 17.00 are claimed still, and nothing more.
        (_claim("2000", 2000, 300), "0", 1700, Evened(1700, Decimal(1700))),
        (_claim("2000", 2000, 300), "100", 1700, Evened(1700, Decimal(1700))),
        # 1.00 of usage was conceded already; a second note of 2.00 finds 5.00 too much.
        (_claim("1000", 1000, 100), "500", 200, Evened(200, Decimal(200))),
    ],
)
def test_a_note_takes_back_the_overcharge_first(
    claim: Claim, used: str, amount: int, expected: Evened
) -> None:
    assert even_out(claim, Decimal(used), CENT, amount) == expected


def test_the_credits_of_a_whole_overcharge_are_exact_and_of_a_part_to_twelve_decimals() -> None:
    price = OveragePrice("credit", Decimal("0.003"), "USD")
    claim = _claim("1000.4", 300)  # 3.0012.

    whole = even_out(claim, Decimal("0.1"), price, 300)  # 0.0003: nothing to pay.
    part = even_out(claim, Decimal("0.1"), price, 100)

    assert whole == Evened(300, Decimal("1000.3"))
    # 2.00 / 0.003 = 666.666666666667 credits stay claimed.
    assert part == Evened(100, Decimal("333.733333333333"))


@dataclass(frozen=True)
class Period:
    """A billing period as the services keep it, in figures."""

    price: OveragePrice
    used: Decimal = NONE
    claim: Claim = UNCLAIMED
    taken_minor: int = 0  # Off its lines, by all notes.
    lines_minor: int = 0

    @property
    def charge_minor(self) -> int:
        """What the customer is charged in the end."""
        return self.lines_minor - self.taken_minor

    def use(self, credit_count: Decimal) -> "Period":
        return replace(self, used=max(NONE, self.used + credit_count))

    def invoice(self) -> "Period":
        minor = worth(self.used, self.price) - self.claim.minor
        if self.used <= self.claim.credits:
            return self
        assert minor >= 0
        claim = replace(self.claim, credits=self.used, minor=self.claim.minor + minor)
        return replace(self, claim=claim, lines_minor=self.lines_minor + minor)

    def note(self, amount: int) -> "Period":
        amount = min(amount, self.charge_minor)
        if not amount:
            return self
        evened = even_out(self.claim, self.used, self.price, amount)
        claim = Claim(
            self.claim.credits - evened.credits,
            self.claim.minor - evened.minor,
            self.claim.conceded_minor + amount - evened.minor,
        )
        assert 0 <= evened.minor <= amount
        assert (evened.minor > 0) == (evened.credits > 0)
        assert claim.minor == worth(claim.credits, self.price)
        return replace(self, claim=claim, taken_minor=self.taken_minor + amount)


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.decimals(-2000, 2000, places=3)),
        st.tuples(st.just("invoice"), st.none()),
        st.tuples(st.just("note"), st.integers(1, 3000)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(_steps, st.sampled_from(["0.01", "0.003", "0.0000007", "1.337", "7"]))
def test_in_every_order_the_charge_is_usage_less_concessions(
    steps: list[tuple[str, object]], unit_price: str
) -> None:
    period = Period(OveragePrice("credit", Decimal(unit_price), "USD"))
    for verb, argument in steps:
        period = getattr(period, verb)(*([] if argument is None else [argument]))

    period = period.invoice()
    too_much = overcharge(period.claim, period.used, period.price)
    assert too_much <= period.charge_minor
    period = period.note(too_much) if too_much else period

    due = settle(period.used * period.price.unit_price, "USD") - period.claim.conceded_minor
    assert period.charge_minor == max(0, due)
    assert overcharge(period.claim, period.used, period.price) == 0
