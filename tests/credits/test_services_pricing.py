"""Rates of every model, rated step by step: rows explain their tiers and the books agree."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import OutboxMessage
from billing_project.kernel.period import Period
from credits.models import BillingPeriod, LedgerTransaction, RatedUsage, RateTotal
from credits.selectors import unrated_windows, why_unrated
from credits.selectors.burn_table import burn_table
from credits.selectors.repricing import layer_of, priced, used_in
from credits.services.rates import RateInput
from credits.services.rating import rate_pending
from credits.services.replaying import replay_credits
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from tests.credits.builders import NOVEMBER, Shop, figures, rate, tiered

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
D = Decimal


def _hours(shop: Shop, *quantities: str, **words: str) -> None:
    """Use in one hour after the other, rating after each."""
    for index, quantity in enumerate(quantities):
        shop.use(NOVEMBER.start + index * HOUR, **{"input": quantity, **words})
        shop.rate()


def _take_back(shop: Shop, identifier: str) -> None:
    """Cancel an event, and aggregate that."""
    cancel_event(
        customer=shop.customer, identifier=identifier, reason="wrong", by=shop.maker, at=shop.at
    )
    aggregate_batches(at=shop.at)


def _charges() -> str:
    return figures(*RatedUsage.objects.order_by("pk").values_list("charge", flat=True))


def _is_proven() -> None:
    results = [one for one in run_checks() if one.name.startswith(("metering.", "credits."))]
    assert [finding for result in results for finding in result.findings] == []


GRADUATED = ("100", "0.5"), (None, "0.2")


def test_graduated_tiers_fill_as_usage_arrives(shop: Shop) -> None:
    shop.version([tiered("input", "graduated", *GRADUATED)])

    _hours(shop, "60", "60", "60")

    # 60 x 0.5; then 40 x 0.5 + 20 x 0.2; then 60 x 0.2. At once: 100 x 0.5 + 80 x 0.2 = 66.
    assert _charges() == "30 24 12"
    tiers = RatedUsage.objects.order_by("pk")[1].tiers
    assert tiers == [
        {"quantity": "40", "unit_price": "0.5", "charge": "20", "name": "tier 1"},
        {"quantity": "20", "unit_price": "0.2", "charge": "4", "name": "tier 2"},
    ]
    _is_proven()


def test_growth_that_lowers_a_volume_charge_gives_credits_back(shop: Shop) -> None:
    grant = shop.grant("40")
    shop.version([tiered("input", "volume", ("100", "0.5"), (None, "0.2"))])

    _hours(shop, "90", "20")

    # 90 x 0.5 = 45: 40 drawn, 5 overage. 110 x 0.2 = 22: 23 back, the overage of 5 first.
    assert _charges() == "45 -23"
    last = RatedUsage.objects.order_by("pk").last()
    assert last is not None
    assert figures(last.quantity, last.drawn, last.overage) == "20 -18 -5"
    assert last.tiers == [
        {"quantity": "-90", "unit_price": "0.5", "charge": "-45", "name": "tier 1"},
        {"quantity": "110", "unit_price": "0.2", "charge": "22", "name": "tier 2"},
    ]
    grant.refresh_from_db()
    assert grant.remaining == 18
    assert LedgerTransaction.objects.filter(kind="returned").count() == 1
    _is_proven()


def test_the_account_fills_tiers_together_and_each_workspace_its_own(shop: Shop) -> None:
    for name in ("one", "two"):
        shop.workspace(name)
    shop.version(
        [
            tiered("input", "graduated", *GRADUATED, pools="account"),
            tiered("output", "graduated", *GRADUATED),
        ]
    )
    for index, name in enumerate(("one", "two")):
        at = NOVEMBER.start + index * HOUR
        shop.use(at, workspace=name, input="80")
        shop.use(at, workspace=name, output="80")
        shop.rate()

    # Account: 80 x 0.5, then 20 x 0.5 + 60 x 0.2. Workspaces: 80 x 0.5 each.
    assert _charges() == "40 40 22 40"
    assert RateTotal.objects.count() == 4  # Kept by workspace, summed for the account.
    _is_proven()


def test_a_correction_in_one_workspace_undoes_the_accounts_newest_draws(shop: Shop) -> None:
    shop.workspace("one")
    grant = shop.grant("62")
    shop.version([tiered("input", "graduated", *GRADUATED, pools="account")])
    identifier = shop.use(NOVEMBER.start, workspace="one", input="80")
    shop.rate()
    shop.use(NOVEMBER.start + HOUR, input="80")
    shop.rate()
    grant.refresh_from_db()
    assert grant.remaining == 0  # 40 + 22

    _take_back(shop, identifier)
    shop.rate()

    # 80 are left of 160: 40 credits of 62. The other workspace's draws paid for tier 2.
    assert _charges() == "40 22 -22"
    grant.refresh_from_db()
    assert grant.remaining == 22
    _is_proven()


def test_an_allowance_a_minimum_and_a_maximum_count_once_a_period(shop: Shop) -> None:
    shop.version([RateInput("input", {}, D(1), included=D(100), minimum=D(5), maximum=D(30))])

    _hours(shop, "50", "53", "17", "90")

    # 5 for the first usage; 103 used: 3 are below 5; 120: 20 in all; 210: 110, at most 30.
    assert _charges() == "5 0 15 10"
    tiers = [row.tiers for row in RatedUsage.objects.order_by("pk")]
    assert [[tier["name"] for tier in row if "name" in tier] for row in tiers] == [
        ["included", "minimum"], ["included", "minimum"], ["minimum"], ["maximum"],
    ]  # fmt: skip
    _is_proven()


def test_taking_all_usage_back_takes_fees_and_minimums_back(shop: Shop) -> None:
    grant = shop.grant("100")
    shop.version([RateInput("input", {}, model="flat_fee", terms={"fee": "49"})])
    identifier = shop.use(NOVEMBER.start, input="7")
    shop.rate()

    _take_back(shop, identifier)
    shop.rate()

    assert _charges() == "49 -49"
    grant.refresh_from_db()
    assert grant.remaining == 100
    _is_proven()


def test_a_version_in_mid_period_begins_new_tiers(shop: Shop) -> None:
    shop.version([tiered("input", "graduated", *GRADUATED)])
    shop.version([tiered("input", "graduated", *GRADUATED)], NOVEMBER.start + HOUR)

    _hours(shop, "90", "90")

    assert _charges() == "45 45"
    _is_proven()


def test_a_charge_that_is_too_large_waits_with_a_note_and_is_tried_again(shop: Shop) -> None:
    shop.version([rate("input", "900000000000000")])
    shop.use(input="900000000000")  # 8.1 x 10^26 credits: more than can be kept.

    shop.rate()

    assert RatedUsage.objects.count() == 0
    assert unrated_windows().count() == 1
    assert OutboxMessage.objects.filter(topic="rating_blocked").count() == 1
    assert why_unrated(shop.customer.pk, unrated_windows()) == [
        "its charge is larger than can be kept"
    ]
    _is_proven()
    shop.version([rate("input", "0.5")], NOVEMBER.start + HOUR)
    rate_pending(by=shop.maker, at=shop.at + timedelta(minutes=5))
    assert _charges() == "450000000000"
    assert OutboxMessage.objects.count() == 1  # The balance moved.


def test_a_workspace_has_a_rate_of_its_own(shop: Shop) -> None:
    shop.workspace("prod")
    shop.workspace("lab")
    version = shop.version([
        rate("input", "0.5"), rate("input", "0.1", workspace="lab"),
        rate("input", "0.3", workspace="lab", model="large"), rate("output", "2"),
    ])  # fmt: skip
    for workspace, model in (("", "small"), ("prod", "small"), ("lab", "small"), ("lab", "large")):
        shop.use(input="10", workspace=workspace, model=model)
        shop.rate()

    assert _charges() == "5 5 1 3"
    [period] = BillingPeriod.objects.filter(customer=shop.customer)
    used = used_in({shop.customer.pk: Period(period.start_at, period.end_at)})[shop.customer.pk]
    assert sum(one.charge.total for one in priced(used, [layer_of(version)])) == D(14)
    table = burn_table(shop.card, [version], currency="USD", since=period.start_at, at=shop.at)
    used_rows = {
        (row.dimensions.get("workspace"), row.model): row.found[0]
        for row in table.rows
        if row.is_used
    }
    assert {key: found and found.credits_a_unit for key, found in used_rows.items()} == {
        (None, "small"): D("0.5"), ("prod", "small"): D("0.5"), ("lab", "small"): D("0.1"),
        ("lab", "large"): D("0.3"),
    }  # fmt: skip
    _is_proven()
    assert replay_credits(shop.customer.pk).differences == ()


def test_a_workspace_and_a_model_that_could_both_match_are_refused(shop: Shop) -> None:
    with pytest.raises(Invalid, match="can match the same usage"):
        shop.version([rate("input", "1", workspace="lab"), rate("input", "2", model="small")])
