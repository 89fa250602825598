"""Whatever happens, in whatever order, the rules keep the books and the sub-ledgers together."""

import pytest

from revrec.posting import Account
from tests.revrec.simulation import World, live


def test_twenty_random_scenarios_tie_after_every_event() -> None:
    worlds = [live(seed, 120) for seed in range(20)]

    used = {account for world in worlds for account, total in world.ledger.items() if total}
    assert used >= {
        Account.CASH, Account.RECEIVABLE, Account.CREDITS_LIABILITY, Account.FEES_LIABILITY,
        Account.EXPECTED_BREAKAGE, Account.CREDIT_NOTES, Account.IMPAIRMENT, Account.DISPUTED,
        Account.FEE_REVENUE, Account.USAGE_REVENUE, Account.OVERAGE_REVENUE,
        Account.BREAKAGE_REVENUE, Account.CUSTOMER_BALANCE,
    }  # fmt: skip


@pytest.mark.long
def test_five_hundred_random_scenarios_tie_after_every_event() -> None:
    for seed in range(1_000, 1_500):
        live(seed, 120)


def test_a_rule_that_forgets_a_cent_is_found() -> None:
    world = World(0)
    world.sell_fee()
    world.ledger[Account.FEES_LIABILITY] += 1

    with pytest.raises(AssertionError):
        world.tie()
