"""Two payments of one invoice are disputed: what it sold rests until both disputes have ended."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from billing_project.kernel.models import User
from credits.models import CreditGrant
from credits.services.replaying import replay_credits
from invoicing.models import Dispute, Invoice, Verdict
from invoicing.services.disputes import freeze_disputed, record_dispute, record_dispute_outcome
from tests.invoicing.builders import (
    DAY,
    START,
    cancel,
    customer_of,
    open_shop,
    paid,
    sold_pack,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db
End = Callable[[str, str], int]


def _disputed(invoice: Invoice, by: User, name: str = "one") -> Dispute:
    return record_dispute(
        invoice=invoice, amount_minor=4_500, reason="general", method="card", reference=name,
        opened_at=START, by=by, at=START,
    )  # fmt: skip


@pytest.fixture
def end() -> End:
    """Dispute both halves of a pack of 100 credits; return what ends one and says what is left."""
    shop = open_shop()
    invoice = paid(shop, paid(shop, sold_pack(shop, customer_of(shop), 9_000), 4_500))
    disputes = {name: _disputed(invoice, shop.worker, name) for name in ("one", "other")}

    def _end(name: str, verdict: str) -> int:
        record_dispute_outcome(
            dispute=disputes[name], verdict=verdict, decided_at=START, by=shop.worker, at=START
        )
        return int(CreditGrant.objects.get().remaining)

    return _end


def test_the_last_dispute_that_is_won_frees_the_credits(end: End) -> None:
    assert [end("one", Verdict.WON), end("other", Verdict.WON)] == [0, 100]


@pytest.mark.parametrize("verdicts", [(Verdict.WON, Verdict.LOST), (Verdict.LOST, Verdict.WON)])
def test_one_dispute_that_is_lost_takes_them(end: End, verdicts: tuple[str, str]) -> None:
    assert [end("one", verdicts[0]), end("other", verdicts[1])] == [0, 0]


@pytest.mark.parametrize(("verdict", "left"), [(Verdict.WON, 100), (Verdict.LOST, 0)])
def test_what_was_used_up_when_its_dispute_began_rests_once_it_comes_back(
    verdict: str, left: int
) -> None:
    shop = open_shop()
    sold = subscribed(shop, included_credits=Decimal(0))
    invoice = paid(shop, sold_pack(shop, sold.customer, 9_000))
    use(shop, 100, START + DAY)
    dispute = _disputed(invoice, shop.worker)
    assert freeze_disputed(by=shop.worker, at=START + DAY) == 0

    cancel(shop, "req-1", START + 2 * DAY)
    assert freeze_disputed(by=shop.worker, at=START + 2 * DAY) == 0  # It came back frozen.

    grants = CreditGrant.objects.filter(category="paid")
    assert grants.get().remaining == 0
    record_dispute_outcome(
        dispute=dispute, verdict=verdict, decided_at=START, by=shop.worker, at=START + 3 * DAY
    )
    assert grants.get().remaining == left
    assert replay_credits(sold.customer_id).differences == ()


@pytest.mark.parametrize(("verdict", "left"), [(None, 0), (Verdict.WON, 100), (Verdict.LOST, 0)])
def test_a_dispute_of_a_part_of_its_price_decides_over_credits_that_are_granted_after_it(
    verdict: str | None, left: int
) -> None:
    shop = open_shop()
    invoice = paid(shop, sold_pack(shop, customer_of(shop), 9_000), 4_500)
    dispute = _disputed(invoice, shop.worker)
    if verdict is not None:
        record_dispute_outcome(
            dispute=dispute, verdict=verdict, decided_at=START, by=shop.worker, at=START
        )

    paid(shop, invoice)

    assert CreditGrant.objects.get().remaining == left
    assert freeze_disputed(by=shop.worker, at=START) == 0
    assert replay_credits(invoice.customer_id).differences == ()
