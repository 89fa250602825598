"""Two payments of one invoice are disputed: what it sold rests until both disputes have ended."""

from collections.abc import Callable

import pytest

from credits.models import CreditGrant
from invoicing.models import Verdict
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from tests.invoicing.builders import START, customer_of, open_shop, paid, sold_pack

pytestmark = pytest.mark.django_db
End = Callable[[str, str], int]


@pytest.fixture
def end() -> End:
    """Dispute both halves of a pack of 100 credits; return what ends one and says what is left."""
    shop = open_shop()
    invoice = paid(shop, paid(shop, sold_pack(shop, customer_of(shop), 9_000), 4_500))
    disputes = {
        name: record_dispute(
            invoice=invoice, amount_minor=4_500, reason="general", method="card", reference=name,
            opened_at=START, by=shop.worker, at=START,
        )
        for name in ("one", "other")
    }  # fmt: skip

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
