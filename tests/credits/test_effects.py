"""A proposed change tells what it would have made of each customer's last period."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_project.kernel.backoffice.policies import effect_html
from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period
from credits.models import RatedUsage
from credits.selectors.effects import BASIS
from credits.selectors.repricing import last_spans, layer_of, priced, used_in
from credits.services.overrides import propose_rate_migration, propose_rate_override
from tests.credits.builders import NOVEMBER, Shop, figures, make_customer, rate, tiered, words

pytestmark = pytest.mark.django_db
OCTOBER = Period(datetime(2026, 10, 1, tzinfo=UTC), NOVEMBER.start)
DECEMBER = NOVEMBER.end


@pytest.fixture
def used(shop: Shop) -> Shop:
    """Return a shop with 150 input tokens, at 0.5, in October: the last complete period."""
    shop.version([rate("input", "0.5")], OCTOBER.start)
    shop.period(OCTOBER)
    for day, quantity in ((20, "90"), (25, "60")):
        shop.use(OCTOBER.start + timedelta(days=day), input=quantity)
    shop.use(NOVEMBER.start, input="7")  # Of a period that is not over.
    return shop


def _told(change: PolicyChange) -> list[str]:
    effect = _effect(change)
    return [f"{row.subject}: {figures(row.before, row.after)} {row.unit}" for row in effect.rows]


def _effect(change: PolicyChange) -> Effect:
    effect = simulate(change)
    assert effect is not None
    return effect


TIERED = tiered("input", "graduated", ("100", "0.5"), (None, "0.2"))


def test_a_version_prices_the_last_complete_period_again(used: Shop) -> None:
    used.grant("10")
    make_customer("elsewhere", used.maker, used.at)

    change = used.proposed([TIERED], DECEMBER).policy_change

    # Before: 150 x 0.5. After: 100 x 0.5 + 50 x 0.2. Who has no period of the card is untouched.
    assert _told(change) == ["Usage of acme: 75 60 credit"]
    effect = _effect(change)
    assert (effect.customers, effect.grants) == (1, 1)
    assert RatedUsage.objects.count() == 0


def test_an_approval_that_comes_late_is_told_what_was_rated_meanwhile(used: Shop) -> None:
    change = used.proposed([TIERED], NOVEMBER.start).policy_change
    assert change.effect is not None
    assert change.effect["basis"] == BASIS
    used.rate()

    # Of October's windows nothing is said; November's has 7 x 0.5 credits.
    assert _effect(change).basis == (
        f"{BASIS}. Since 2026-11-01 00:00 UTC, when it should begin, 1 usage window of 1 customer"
        " rated without it, to 3.5 credit: they keep their rates"
    )
    assert "1 customer rated without it" in effect_html(change.effect, _effect(change))


def test_who_stays_or_is_pinned_is_not_affected(used: Shop) -> None:
    staying = used.proposed([TIERED], DECEMBER, [used.customer]).policy_change
    assert _told(staying) == []

    move = propose_rate_migration(
        rate_card=used.card, customers=[used.customer], version=used.card.versions.get(number=1),
        proposal=words(NOVEMBER.start), by=used.maker, at=used.at,
    )  # fmt: skip
    used.approve(move)
    later = used.proposed([TIERED], DECEMBER + timedelta(days=1)).policy_change
    assert _told(later) == []


def test_an_override_is_priced_before_its_base(used: Shop) -> None:
    version = propose_rate_override(
        customer=used.customer, base=used.card, rates=[rate("input", "0.1")],
        proposal=words(DECEMBER), by=used.maker, at=used.at,
    )  # fmt: skip

    assert _told(version.policy_change) == ["Usage of acme: 75 15 credit"]


def test_a_migration_tells_each_customer_s_own_difference(used: Shop) -> None:
    used.version([rate("input", "2")], NOVEMBER.start + timedelta(days=15))
    first = used.card.versions.get(number=1)
    other = make_customer("other", used.maker, used.at)

    change = propose_rate_migration(
        rate_card=used.card, customers=[used.customer, other], version=first,
        proposal=words(DECEMBER), by=used.maker, at=used.at,
    )  # fmt: skip

    # From 150 x 2 to 150 x 0.5; the other used nothing in the last 30 days.
    assert _told(change) == ["Usage of acme: 300 75 credit", "Usage of other: 0 0 credit"]


def test_without_a_complete_period_the_last_thirty_days_count(shop: Shop) -> None:
    shop.use(shop.at - timedelta(days=29), input="10")
    shop.use(shop.at - timedelta(days=31), input="100")

    change = shop.proposed([rate("input", "1")], DECEMBER).policy_change

    assert _told(change) == ["Usage of acme: 5 10 credit"]


def test_pricing_again_names_the_tiers(used: Shop) -> None:
    spans = last_spans([used.customer.pk], used.at)
    layer = layer_of(used.version([TIERED], DECEMBER))

    [one] = priced(used_in(spans)[used.customer.pk], [layer])

    assert figures(one.quantity, one.charge.total) == "150 60"
    assert [tier.name for tier in one.charge.tiers] == ["tier 1", "tier 2"]


def test_what_is_priced_again_by_the_same_rates_is_what_was_charged(used: Shop) -> None:
    used.rate()
    rated = RatedUsage.objects.filter(billing_period__start_at=OCTOBER.start)

    [row] = _effect(used.proposed([TIERED], DECEMBER).policy_change).rows

    assert row.before == sum(rated.values_list("charge", flat=True))


def test_what_is_too_large_to_be_charged_counts_nothing(used: Shop) -> None:
    used.version([rate("input", "900000000000000")], NOVEMBER.start + timedelta(days=1))
    used.use(OCTOBER.start + timedelta(days=26), input="900000000000")

    change = used.proposed([rate("input", "0.5")], DECEMBER).policy_change

    assert _told(change) == ["Usage of acme: 0 450000000075 credit"]
