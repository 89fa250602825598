"""Own rates for a time, and versions that customers stay at, once somebody else approved them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyChange
from credits.models import RateCardVersion, RatedUsage
from credits.selectors.waiting import why_unrated
from credits.services.overrides import propose_rate_migration, propose_rate_override
from credits.services.rates import RateInput
from metering.models import Customer, UsageWindow
from metering.services.customers import close_customer
from tests.credits.builders import NOVEMBER, Shop, figures, make_customer, rate, words

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NOON = timedelta(hours=12)


def _override(
    shop: Shop,
    rates: Sequence[RateInput],
    effective_at: datetime = NOVEMBER.start,
    expires_at: datetime | None = None,
) -> RateCardVersion:
    return propose_rate_override(
        customer=shop.customer, base=shop.card, rates=rates,
        proposal=words(effective_at, expires_at), by=shop.maker, at=shop.at,
    )  # fmt: skip


def _move(
    shop: Shop,
    customers: Sequence[Customer],
    version: RateCardVersion | None,
    effective_at: datetime,
) -> PolicyChange:
    return propose_rate_migration(
        rate_card=shop.card, customers=customers, version=version, proposal=words(effective_at),
        by=shop.maker, at=shop.at,
    )  # fmt: skip


def _charges(shop: Shop) -> str:
    """Rate what waits, and tell all charges in the order of their hours."""
    shop.rate()
    rows = RatedUsage.objects.filter(customer=shop.customer).order_by("service_at", "pk")
    return figures(*rows.values_list("charge", flat=True))


def test_an_override_prices_only_its_customer_and_only_in_its_time(shop: Shop) -> None:
    change = _override(
        shop, [rate("input", "0.1")], NOVEMBER.start + 2 * DAY, NOVEMBER.start + 4 * DAY
    ).policy_change
    shop.approve(change)
    for day in range(1, 6):
        shop.use(NOVEMBER.start + day * DAY, input="10")
    shop.use(NOVEMBER.start + 3 * DAY + NOON, output="10")  # Its base prices what it does not.

    assert _charges(shop) == "5 1 1 20 5 5"
    assert change.kind == "rate_override"
    assert is_as_proposed(change)


def test_an_override_prices_nothing_before_somebody_else_approved_it(shop: Shop) -> None:
    _override(shop, [rate("input", "0.1")])
    shop.use(input="10")

    assert _charges(shop) == "5"


def test_an_override_comes_first_even_where_its_base_asks_for_more(shop: Shop) -> None:
    shop.version([rate("input", "0.5", model="small")])
    shop.approve(_override(shop, [rate("input", "0.1")]).policy_change)
    shop.use(input="10")

    assert _charges(shop) == "1"


def test_an_override_without_rates_ends_one(shop: Shop) -> None:
    shop.approve(_override(shop, [rate("input", "0.1")]).policy_change)
    shop.approve(_override(shop, [], NOVEMBER.start + 2 * DAY).policy_change)
    shop.use(NOVEMBER.start + DAY, input="10")
    shop.use(NOVEMBER.start + 2 * DAY, input="10")

    assert _charges(shop) == "1 5"


def test_an_override_that_expires_before_it_begins_is_refused(shop: Shop) -> None:
    with pytest.raises(Invalid) as caught:
        _override(shop, [rate("input", "1")], NOVEMBER.start, NOVEMBER.start - DAY)

    assert caught.value.field == "expires_at"


def test_an_override_stands_on_no_override(shop: Shop) -> None:
    card = _override(shop, [rate("input", "1")]).rate_card

    with pytest.raises(Invalid) as caught:
        propose_rate_override(
            customer=shop.customer, base=card, rates=[], proposal=words(shop.at),
            by=shop.maker, at=shop.at,
        )  # fmt: skip

    assert caught.value.field == "base"


def test_waiting_usage_is_explained_by_the_override_and_its_base(shop: Shop) -> None:
    shop.version([rate("input", "0.5")])
    shop.approve(_override(shop, [rate("input", "0.1")]).policy_change)
    shop.use(output="10")

    assert why_unrated(shop.customer.pk, UsageWindow.objects.all()) == [
        "no rate for output, model small"
    ]


def test_who_stays_keeps_the_version_that_the_others_leave(shop: Shop) -> None:
    version = shop.version([rate("input", "9")], NOVEMBER.start + 2 * DAY, [shop.customer])
    shop.use(NOVEMBER.start + 3 * DAY, input="10")

    assert _charges(shop) == "5"
    assert is_as_proposed(version.policy_change)
    assert '"stays":[{"customer":"acme","version":1}]' in version.policy_change.content


def test_nobody_stays_before_the_version_is_approved(shop: Shop) -> None:
    second = shop.version([rate("input", "9")], NOVEMBER.start + 2 * DAY)
    shop.proposed([rate("input", "7")], NOVEMBER.start + 2 * DAY + NOON, [shop.customer])
    shop.version([rate("input", "8")], NOVEMBER.start + 3 * DAY)
    shop.use(NOVEMBER.start + 3 * DAY, input="10")

    assert _charges(shop) == "80"
    assert second.number == 2


def test_a_customer_without_any_version_cannot_stay(shop: Shop) -> None:
    with pytest.raises(Invalid) as caught:
        shop.proposed([rate("input", "9")], NOVEMBER.start - 5 * DAY, [shop.customer])

    assert caught.value.field == "stays"


def test_a_migration_moves_customers_and_another_lets_them_follow_again(shop: Shop) -> None:
    first = shop.card.versions.get()
    shop.version([rate("input", "9")], NOVEMBER.start + DAY)
    move = _move(shop, [shop.customer], first, NOVEMBER.start + 2 * DAY)
    shop.approve(move)
    shop.approve(_move(shop, [shop.customer], None, NOVEMBER.start + 3 * DAY))
    for day in range(5):
        shop.use(NOVEMBER.start + day * DAY, input="10")

    assert _charges(shop) == "5 90 5 90 90"
    assert move.subject == "rate_migration:standard:1"
    assert is_as_proposed(move)


def test_a_pinned_customer_does_not_follow_later_versions(shop: Shop) -> None:
    shop.approve(_move(shop, [shop.customer], shop.card.versions.get(), NOVEMBER.start))
    shop.version([rate("input", "9")], NOVEMBER.start + DAY)
    shop.use(NOVEMBER.start + 2 * DAY, input="10")

    assert _charges(shop) == "5"


def test_nobody_moves_to_a_version_before_it_begins(shop: Shop) -> None:
    shop.version([rate("input", "9")], NOVEMBER.start + 2 * DAY)
    version = shop.card.versions.get(number=2)

    with pytest.raises(Invalid, match="nobody moves to it before") as caught:
        _move(shop, [shop.customer], version, NOVEMBER.start + DAY)

    assert caught.value.field == "version"
    assert _move(shop, [shop.customer], version, NOVEMBER.start + 2 * DAY).kind == "rate_migration"


def test_a_migration_that_moves_nobody_or_nowhere_is_refused(shop: Shop) -> None:
    first = shop.card.versions.get()
    proposed = shop.proposed([rate("input", "9")], NOVEMBER.start + DAY)
    other = make_customer("other", shop.maker, shop.at)
    for customers, version, field in (
        ([], first, "customers"),
        ([other, other], first, "customers"),
        ([other], proposed, "version"),
    ):
        with pytest.raises(Invalid) as caught:
            _move(shop, customers, version, NOVEMBER.start)
        assert caught.value.field == field


def test_a_closed_customer_gets_no_prices_of_their_own_and_does_not_move(shop: Shop) -> None:
    other = make_customer("other", shop.maker, shop.at)
    close_customer(customer=shop.customer, reason="left", by=shop.maker, at=shop.at)

    with pytest.raises(Conflict, match="acme is closed") as overridden:
        _override(shop, [rate("input", "0.1")])
    with pytest.raises(Conflict, match="acme is closed") as moved:
        _move(shop, [other, shop.customer], None, NOVEMBER.start)

    assert (overridden.value.field, moved.value.field) == ("customer", "customers")
    assert overridden.value.code == moved.value.code == "customer_closed"
    assert not PolicyChange.objects.filter(kind__in=["rate_override", "rate_migration"]).exists()
