"""Usage that comes before a burn order is approved waits for it."""

from datetime import datetime

import pytest

from billing_project.kernel import outbox
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from credits.services.rating import rate_pending
from tests.credits.builders import Shop, make_shop

pytestmark = pytest.mark.django_db


def test_no_burn_order_refuses_and_the_usage_keeps_its_note(
    maker: User, approver: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shop, "policy", lambda self: None)
    shop = make_shop(maker, approver, at)
    shop.use(input="10")

    with pytest.raises(Conflict, match="burn order"):
        shop.rate()
    assert rate_pending(by=maker, at=at) == 0
    assert outbox.waiting("usage_changed") == [shop.customer.pk]
