"""What a disputed purchase gave rests until the dispute ends, whatever usage does meanwhile."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict
from credits.models import CreditGrant, RatedUsage
from credits.selectors import balance
from credits.services.clawing import claw_back
from credits.services.freezing import freeze_grant, thaw_grant
from credits.services.grants import expire_due_grants, expire_grant
from credits.services.replaying import replay_credits
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, Shop

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _sold(shop: Shop, expires_at: datetime | None = None) -> CreditGrant:
    return shop.grant("100", category="paid", price_minor=1_000, expires_at=expires_at)


def _freeze(shop: Shop, grant: CreditGrant) -> None:
    freeze_grant(grant=grant, reference="d1", by=shop.maker, at=shop.at)


def _thaw(shop: Shop, grant: CreditGrant) -> None:
    thaw_grant(grant=grant, reference="d1", by=shop.maker, at=shop.at)


def _cancel(shop: Shop, identifier: str) -> None:
    cancel_event(
        customer=shop.customer, identifier=identifier, reason="test", by=shop.maker, at=shop.at
    )
    shop.rate()


def _left(shop: Shop) -> list[int]:
    """Return what each grant has left, once the books and the replay agree."""
    assert replay_credits(shop.customer.pk).differences == ()
    assert [f for result in run_checks(("credits",)) for f in result.findings] == []
    return [int(grant.remaining) for grant in CreditGrant.objects.order_by("pk")]


def test_credits_that_come_back_during_a_dispute_are_free_after_it(shop: Shop) -> None:
    """Of 100, 50 are used and 50 frozen. 2 more are overage, until 50 come back: all but 2."""
    grant = _sold(shop)
    used = shop.use(input="100")
    shop.rate()
    _freeze(shop, grant)
    shop.use(DAY_10 + HOUR, input="4")
    shop.rate()

    _cancel(shop, used)
    during = _left(shop)
    _thaw(shop, grant)

    assert (during, _left(shop)) == ([0], [98])


def test_what_comes_back_to_an_emptied_purchase_covers_nothing_while_it_is_disputed(
    shop: Shop,
) -> None:
    """All 100 are used, and 4 more are overage: the 50 that come back during the dispute rest."""
    grant = _sold(shop)
    shop.use(input="100")
    used = shop.use(DAY_10 + HOUR, input="100")
    shop.use(DAY_10 + 2 * HOUR, output="2")
    shop.rate()
    _freeze(shop, grant)
    _freeze(shop, grant)

    _cancel(shop, used)
    overage = sum(row.overage for row in RatedUsage.objects.all())
    during = _left(shop)
    _thaw(shop, grant)

    assert (during, overage) == ([0], 4)
    assert _left(shop) == [50]


def test_a_dispute_of_what_is_used_up_begins_and_ends_and_announces_nothing(shop: Shop) -> None:
    grant = _sold(shop)
    shop.use(input="200")
    shop.rate()

    _freeze(shop, grant)
    with pytest.raises(Conflict, match="frozen"):
        claw_back(grant=grant, reason="refund", reference="re_1", by=shop.maker, at=shop.at)
    _thaw(shop, grant)
    claw_back(grant=grant, reason="refund", reference="re_1", by=shop.maker, at=shop.at)

    assert _left(shop) == [0]
    moves = grant.transactions.filter(reason_code__startswith="dispute").order_by("position")
    assert [(move.kind, move.credits) for move in moves] == [
        ("voided", Decimal(0)), ("reinstated", Decimal(0)),
    ]  # fmt: skip


def test_credits_that_come_back_to_an_ended_grant_are_free_in_a_linked_one(shop: Shop) -> None:
    """50 of 100 are used, 50 end early. 25 come back before the dispute, 25 during it."""
    grant = _sold(shop)
    first, second = shop.use(input="50"), shop.use(DAY_10 + HOUR, input="50")
    shop.rate()
    expire_grant(grant=grant, reason_code="test", by=shop.maker, at=shop.at)
    _cancel(shop, second)
    assert _left(shop) == [0, 25]
    _freeze(shop, grant)

    _cancel(shop, first)
    during = _left(shop)
    _thaw(shop, grant)

    assert (during, _left(shop)) == ([0, 0, 0], [0, 25, 25])


def test_what_a_dispute_outlived_ends_when_it_is_free_again(shop: Shop) -> None:
    """No instant in between has less than nothing."""
    grant = _sold(shop, expires_at=shop.at + 2 * DAY)
    _freeze(shop, grant)
    shop.at += 4 * DAY
    _thaw(shop, grant)
    shop.at += DAY
    expire_due_grants(by=shop.maker, at=shop.at)

    instants = [shop.at - days * DAY for days in (6, 3, 0)]
    ledger = [int(balance(shop.customer, at, known_at=shop.at)[0].ledger) for at in instants]
    assert (_left(shop), ledger) == ([0], [100, 0, 0])


def test_a_frozen_purchase_is_clawed_back_by_the_end_of_its_dispute_only(shop: Shop) -> None:
    """Taking nothing of it now would leave everything to the customer once it is free."""
    grant = _sold(shop)
    _freeze(shop, grant)
    words = {"grant": grant, "reason": "refund", "by": shop.maker, "at": shop.at}

    with pytest.raises(Conflict, match="frozen"):
        claw_back(reference="r1", **words)  # type: ignore[arg-type]
    _thaw(shop, grant)
    taken = claw_back(reference="r1", **words)  # type: ignore[arg-type]

    assert (int(taken.credits), _left(shop)) == (100, [0])
