"""A fee earns by day, whatever of its credits is used; credits that last earn by use."""

from decimal import Decimal

import pytest

from billing_project.kernel.approvals import Proposal, approve
from credits.models import CreditGrant
from credits.services.grants import expire_due_grants
from invoicing.models import InvoiceLine
from revrec.services.allocations import Alone, propose_allocation
from tests.revrec.builders import Shop, balances, on, recognise

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def test_included_credits_end_with_their_period_and_their_fee_earns_by_day(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100, included="100")
    [grant] = CreditGrant.objects.filter(customer=customer)
    assert (grant.expires_at, grant.terms, grant.price_minor) == (on("2026-02-01"), None, 0)
    shop.use(customer, "40", "2026-01-03")

    recognise(customer, "2026-01-11")
    assert balances(customer) == {"1100": 3_100, "2120": -2_100, "4000": -1_000}  # 10 of 31 days.

    expire_due_grants(by=shop.maker, at=on("2026-02-01"))
    recognise(customer, "2026-02-01")
    assert balances(customer) == {"1100": 3_100, "4000": -3_100}  # 60 unused: no breakage.


def test_credits_that_last_share_the_price_of_their_contract_and_earn_as_they_are_used(
    shop: Shop,
) -> None:
    # A month for 31.00 and 100 credits that last for 69.00: alone they would be 20.00 and 80.00.
    customer = shop.subscriber("2026-01-01", fee=3_100)
    pack = shop.pack(customer, "100", 6_900, "2026-01-01")
    shop.pay(pack, "2026-01-01")
    fee = InvoiceLine.objects.get(invoice__customer=customer, kind="recurring")
    joined = propose_allocation(
        customer=customer, evidence="one order form", by=shop.maker, at=on("2026-01-01"),
        parts=[Alone(fee, Decimal(20)), Alone(pack.lines.get(), Decimal(80))],
        proposal=Proposal("one contract", "wanted", "done", "test", on("2026-01-01")),
    )  # fmt: skip
    approve(change=joined.policy_change, by=shop.approver, reason="agreed", at=on("2026-01-01"))
    shop.use(customer, "40", "2026-01-03")

    recognise(customer, "2026-02-01")
    # The fee's 20.00 are earned by day; 40 of 100 credits at 0.80.
    assert (balances(customer)["4000"], balances(customer)["4010"]) == (-2_000, -3_200)
    assert balances(customer)["2100"] == -4_800  # They did not end with the month.

    shop.renew("2026-02-01")
    shop.use(customer, "10", "2026-02-03")
    recognise(customer, "2026-02-04")
    # 8.00 by use; the second month's fee is in no contract: 3 of 28 days of 31.00 are 3.32.
    assert (balances(customer)["4000"], balances(customer)["4010"]) == (-2_332, -4_000)
