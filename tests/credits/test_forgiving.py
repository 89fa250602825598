"""Credits given back for usage that stays charged: to whom, once, and how they are taken again."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from billing_project.kernel.errors import Conflict, Insufficient
from credits import checks, facts_checks
from credits.models import CreditGrant, LedgerTransaction, RatedUsage
from credits.selectors.forgiving import credits_to_give_back
from credits.services.clawing import claw_back
from credits.services.forgiving import forgive_usage, take_again
from credits.services.grants import expire_due_grants, void_grant
from credits.services.replaying import replay_credits
from metering.services.adjust import cancel_event
from tests.credits.builders import DAY_10, Shop, figures

pytestmark = pytest.mark.django_db
LATER = DAY_10 + timedelta(days=30)
HOUR = timedelta(hours=1)


def _forgive(shop: Shop, amount: str, key: str = "credit_note:1:2", at: datetime = LATER) -> None:
    forgive_usage(
        period=shop.period(), rated=RatedUsage.objects.filter(charge__gt=0),
        amount=Decimal(amount), key=key, by=shop.maker, at=at,
    )  # fmt: skip


def _left(*grants: CreditGrant) -> str:
    for grant in grants:
        grant.refresh_from_db()
    return figures(*(grant.remaining for grant in grants))


def _faults(shop: Shop) -> list[object]:
    return [*_findings(), *replay_credits(shop.customer.pk).differences]


def _findings() -> list[object]:
    checked = (checks.charges_are_paid, checks.drawn_is_in_the_ledger, checks.draws_respect_grants,
               checks.overage_is_never_negative, checks.grants_follow_the_ledger,
               checks.totals_follow_rated_usage, checks.costs_follow_prices,
               facts_checks.burns_are_of_their_usage)  # fmt: skip
    return [finding for check in checked for finding in check()]


def test_credits_return_newest_burn_first_and_the_usage_stays_charged(shop: Shop) -> None:
    first, second = shop.grant("30", priority=1), shop.grant("100")
    shop.use(input="100")  # 50 credits: 30 of the first grant, 20 of the second.
    shop.rate()

    _forgive(shop, "25")

    assert _left(first, second) == "5 100"  # The second paid last: 20; then 5 of the first.
    row = RatedUsage.objects.get(forgiven__gt=0)
    assert figures(row.charge, row.drawn, row.overage, row.forgiven) == "0 -25 0 25"
    returned = LedgerTransaction.objects.filter(kind="returned")
    assert {(entry.reason_code, entry.effective_at) for entry in returned} == {
        ("credit_note", LATER)
    }
    assert not _faults(shop)


def test_no_more_comes_back_than_grants_paid(shop: Shop) -> None:
    shop.grant("30")
    shop.use(input="100")  # 30 drawn, 20 overage
    shop.rate()
    _forgive(shop, "10")

    with pytest.raises(Insufficient, match="grants paid 20 credits of it, not 21"):
        _forgive(shop, "21", "credit_note:2:2")


def test_what_was_forgiven_is_not_given_back_again_when_the_usage_is_cancelled(shop: Shop) -> None:
    grant = shop.grant("100")
    event = shop.use(input="100")
    shop.rate()
    _forgive(shop, "30")  # 50 used, 20 paid by now.

    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)
    shop.rate()

    assert _left(grant) == "100"
    row = RatedUsage.objects.get(charge__lt=0)
    assert figures(row.charge, row.drawn, row.overage, row.forgiven) == "-50 -20 0 -30"
    assert not _faults(shop)


def test_credits_of_a_grant_that_is_over_go_to_a_linked_one(shop: Shop) -> None:
    grant = shop.grant("100", expires_at=DAY_10 + timedelta(days=5))
    shop.use(input="100")
    shop.rate()
    expire_due_grants(by=shop.maker, at=LATER)

    ((seen,),) = credits_to_give_back(
        shop.period(), [(RatedUsage.objects.all(), Decimal(40))], LATER
    )
    _forgive(shop, "40")

    assert (seen.grant, seen.credits, seen.fate.is_ended) == (grant, Decimal(40), True)
    linked = CreditGrant.objects.get(origin=grant)
    assert _left(grant, linked) == "0 40"
    assert linked.effective_at == LATER
    assert not _faults(shop)


def test_credits_of_a_purchase_that_was_taken_back_stay_void(shop: Shop) -> None:
    grant = shop.grant("100", category="paid", price_minor=1000)
    shop.use(input="100")
    shop.rate()
    claw_back(grant=grant, reason="refund", reference="re_1", by=shop.maker, at=LATER)

    _forgive(shop, "40")

    assert _left(grant) == "0"
    with pytest.raises(Conflict, match="void when they came back"):
        take_again(period=shop.period(), key="credit_note:1:2", by=shop.maker, at=LATER)
    assert not _faults(shop)


def test_what_was_given_back_is_taken_again_from_the_grants_that_have_it(shop: Shop) -> None:
    ended = shop.grant("20", expires_at=DAY_10 + timedelta(days=5))
    other = shop.grant("100")
    shop.use(input="100")  # 20 of the one that ends, 30 of the other
    shop.rate()
    expire_due_grants(by=shop.maker, at=LATER)
    _forgive(shop, "45")  # 30 to the other, 15 to a linked one

    take_again(period=shop.period(), key="credit_note:1:2", by=shop.maker, at=LATER + HOUR)

    assert _left(ended, other, CreditGrant.objects.get(origin=ended)) == "0 70 0"
    assert sum(row.forgiven for row in RatedUsage.objects.all()) == 0
    assert not _faults(shop)


def test_what_was_used_since_is_not_taken_again(shop: Shop) -> None:
    grant = shop.grant("50")
    shop.use(input="100")
    shop.rate()
    _forgive(shop, "30")
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=LATER)

    with pytest.raises(Conflict, match=f"came back to grant {grant.pk} were used, or ended"):
        take_again(period=shop.period(), key="credit_note:1:2", by=shop.maker, at=LATER)


def test_what_a_correction_undid_is_not_taken_again(shop: Shop) -> None:
    shop.grant("50")
    event = shop.use(input="100")
    shop.rate()
    _forgive(shop, "30")
    cancel_event(customer=shop.customer, identifier=event, reason="test", by=shop.maker, at=shop.at)

    with pytest.raises(Conflict, match="the usage was corrected since"):
        take_again(period=shop.period(), key="credit_note:1:2", by=shop.maker, at=LATER)


def test_each_workspace_gives_back_its_own(shop: Shop) -> None:
    shop.workspace("a")
    shop.workspace("b")
    grant = shop.grant("100")
    shop.use(workspace="a", input="40")  # 20, the older draw
    shop.use(DAY_10 + HOUR, workspace="b", input="60")  # 30
    shop.rate()

    _forgive(shop, "35")

    rows = RatedUsage.objects.filter(forgiven__gt=0).order_by("forgiven")
    found = rows.values_list("window__workspace__external_id", "forgiven")
    assert list(found) == [("a", Decimal(5)), ("b", Decimal(30))]
    assert _left(grant) == "85"
    assert not _faults(shop)


def test_other_usage_that_is_cancelled_gives_back_all_that_it_drew(shop: Shop) -> None:
    """A note on one model is of that model: whoever cancels another gets nothing less for it."""
    grant = shop.grant("110")
    shop.use(model="small", input="160")  # 80 credits.
    event = shop.use(model="large", input="80")  # 40 credits: 30 drawn, 10 of overage.
    shop.rate()
    small = RatedUsage.objects.filter(charge__gt=0, window__dimensions__model="small")
    forgive_usage(
        period=shop.period(), rated=small, amount=Decimal(40), key="note:1", by=shop.maker,
        at=LATER,
    )  # fmt: skip

    cancel_event(
        customer=shop.customer, identifier=event, reason="never served", by=shop.maker, at=LATER
    )
    shop.rate()

    assert _left(grant) == "70"  # 40 by the note, 30 of what was cancelled.
    row = RatedUsage.objects.latest("pk")
    assert figures(row.charge, row.drawn, row.overage, row.forgiven) == "-40 -30 -10 0"
    assert not _faults(shop)
