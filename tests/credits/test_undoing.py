"""Whatever is used and cancelled, in whatever order: never more is given back than was charged."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel.models import User
from credits import checks
from credits.models import CreditGrant, RatedUsage
from credits.selectors import drawn_of_period, overage_of_period
from credits.selectors.facts import Rulebook
from credits.services.rating import rate_pending
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, NOVEMBER, Shop, make_customer, rate

pytestmark = pytest.mark.django_db
# 1 x this is 0.3333333333334 (12 decimals: 0.333333333333), and 2 x this 0.6666666666668
# (0.666666666667): rounded over two workspaces, the second is charged a step more than its own.
AWKWARD = "0.3333333333334"
THIRD = "0.333333333333333333"


def _cancel(shop: Shop, identifier: str) -> None:
    cancel_event(
        customer=shop.customer, identifier=identifier, reason="test", by=shop.maker, at=shop.at
    )


def test_a_workspace_is_given_back_what_it_was_charged(shop: Shop) -> None:
    shop.version([rate("input", AWKWARD), rate("output", "2")])
    shop.use(workspace="a", input="1")
    second = shop.use(DAY_10 + timedelta(hours=1), workspace="b", input="1")
    shop.rate()

    _cancel(shop, second)
    shop.rate()

    charges = RatedUsage.objects.order_by("pk").values_list("charge", flat=True)
    step = Decimal("0.333333333333")
    assert list(charges) == [step, step, -step]
    assert not list(checks.charges_follow_rates())


def test_the_first_workspace_can_be_cancelled_too(shop: Shop) -> None:
    shop.version([rate("input", AWKWARD), rate("output", "2")])
    first = shop.use(workspace="a", input="1")
    shop.use(DAY_10 + timedelta(hours=1), workspace="b", input="1")
    shop.rate()

    _cancel(shop, first)
    shop.rate()

    assert overage_of_period(shop.period()) == Decimal("0.333333333333")


def test_one_customers_fault_does_not_hold_up_the_others(
    shop: Shop, maker: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.use(input="5")
    broken = shop.customer.pk
    other = Shop(
        make_customer("zeta", maker, shop.at), shop.unit, shop.card, maker, shop.approver, shop.at
    )
    other.period()
    other.use(input="5")
    _break_rating(broken, monkeypatch)

    assert rate_pending(by=maker, at=shop.at) == 1
    assert RatedUsage.objects.get().customer == other.customer


_USE = st.tuples(
    st.just("use"),
    st.sampled_from("ab"),
    st.sampled_from(["small", "large"]),
    st.sampled_from("0123"),  # Hours after nine.
    st.sampled_from(["1", "2", "7", "0.000000000001"]),
)
_CANCEL = st.tuples(st.just("cancel"), st.sampled_from("0123456789"))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(_USE | _CANCEL, max_size=8))
def test_all_used_and_all_cancelled_comes_to_zero(steps: list[tuple[str, ...]], shop: Shop) -> None:
    """Each example ends at zero, so that the next one may start where it ended."""
    _price_awkwardly_once(shop)
    open_events: list[str] = []
    for step, *how in steps:
        if step == "use":
            open_events.append(_use(shop, *how))
        elif open_events:
            _cancel(shop, open_events.pop(int(how[0]) % len(open_events)))
        shop.rate()

    for identifier in open_events:
        _cancel(shop, identifier)
    shop.rate()

    assert overage_of_period(shop.period()) == drawn_of_period(shop.period()) == 0
    assert all(grant.remaining == grant.amount for grant in CreditGrant.objects.all())
    assert not list(checks.charges_follow_rates())


def _price_awkwardly_once(shop: Shop) -> None:
    if not CreditGrant.objects.exists():
        prices = [rate("input", AWKWARD), rate("input", THIRD, model="large"), rate("output", "2")]
        shop.version(prices, NOVEMBER.start)
        shop.grant("1.5")
        shop.grant("1", workspace=shop.workspace("a"))


def _use(shop: Shop, workspace: str, model: str, hours: str, amount: str) -> str:
    hour = DAY_10 + timedelta(hours=int(hours))
    return shop.use(hour, workspace=workspace, model=model, input=amount)


def _break_rating(customer_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fault of our own, no refusal, meet one customer's usage."""

    def rulebook(wanted_id: int) -> Rulebook:
        assert wanted_id != customer_id, "a fault"
        return Rulebook(wanted_id)

    monkeypatch.setattr("credits.services.rating.Rulebook", rulebook)
