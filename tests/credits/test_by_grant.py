"""What each grant has left, what of it is held, and how far limits are used, as pages read them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from credits.models import LimitMode, LimitWindow, SpendCounter
from credits.selectors import balance_now
from credits.selectors.by_grant import balance_by_grant
from credits.selectors.spending import limits_now
from credits.services.authorizing import authorize
from credits.services.controls import LimitTerms, propose_spend_limit
from credits.services.counting import watch_limits
from credits.services.standing import Request
from tests.credits.builders import Shop, figures, words

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLY = datetime(2026, 11, 1, tzinfo=UTC)


def _hold(shop: Shop, amount: str) -> None:
    request = Request(credits=Decimal(amount))
    answer = authorize(customer=shop.customer, request=request, api_key=None, at=NOON)
    assert answer.decision.is_allowed


def test_holds_stand_beside_the_grants_that_they_would_burn(shop: Shop) -> None:
    first, second = shop.grant("10", priority=1), shop.grant("20", priority=2)
    _hold(shop, "12")

    (unit,) = balance_by_grant(shop.customer, NOON)

    rows = [(one.grant, figures(one.left, one.held)) for one in unit.grants]
    assert rows == [(first, "10 10"), (second, "20 2")]
    (balance,) = balance_now(shop.customer, NOON)
    assert (unit.left, unit.held) == (balance.ledger, balance.held)
    assert unit.beyond == 0


def test_a_limit_is_read_as_it_is_counted_and_nothing_is_written(shop: Shop) -> None:
    shop.grant("100")
    terms = LimitTerms(
        customer=shop.customer, window=LimitWindow.DAY, credits=Decimal(50),
        mode=LimitMode.HARD, unit=shop.unit,
    )  # fmt: skip
    proposed = propose_spend_limit(
        code="cap", terms=terms, proposal=words(EARLY), by=shop.maker, at=EARLY
    )
    shop.approve(proposed.policy_change)
    shop.use(NOON, input="60")
    shop.rate()

    def used() -> tuple[Decimal, Decimal]:
        (use,) = limits_now(shop.customer, NOON)
        return use.state.spent, use.state.held

    assert used() == (Decimal(30), Decimal(0))  # 60 x 0.5
    assert not SpendCounter.objects.exists()
    watch_limits(customer=shop.customer, at=NOON)
    _hold(shop, "5")
    assert used() == (Decimal(30), Decimal(5))
