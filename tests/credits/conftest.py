"""A shop to rate usage in."""

from datetime import datetime

import pytest

from billing_project.kernel.models import User
from tests.credits.builders import Shop, make_shop


@pytest.fixture
def shop(maker: User, approver: User, at: datetime) -> Shop:
    """Return a customer with rates (input 0.5, output 2 credits), burn order and period."""
    return make_shop(maker, approver, at)
