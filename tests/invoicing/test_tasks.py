"""What the scheduler calls moves everything that is due."""

import pytest

from billing_project.kernel import clock
from invoicing import tasks
from invoicing.models import Invoice, InvoiceStatus
from tests.invoicing.builders import DAY, END, START, Shop, subscribed, use

pytestmark = pytest.mark.django_db


def test_the_worker_renews_drafts_and_finalizes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(shop)
    use(shop, 150, START + DAY)
    monkeypatch.setattr(clock, "now", lambda: END + 2 * DAY)

    assert (tasks.renew(), tasks.draft_overage(), tasks.finalize()) == (1, 1, 3)
    assert (tasks.renew(), tasks.draft_overage(), tasks.finalize()) == (0, 0, 0)
    assert not Invoice.objects.filter(status=InvoiceStatus.DRAFT).exists()
