"""A fake Stripe for the tests of a process, and a shop that collects through it."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
from pytest_django import DjangoDbBlocker, Settings

from tests.fakes.stripe.running import Fake, running_fake
from tests.fakes.stripe.server import SECRET
from tests.invoicing.builders import Shop, open_shop
from tests.invoicing.stripe_sync.till import Till
from tests.worlds import standing


@pytest.fixture(scope="session")
def stripe_process() -> Iterator[Fake]:
    """Start one fake for a worker of the run."""
    with running_fake() as running:
        yield running


@pytest.fixture(scope="module")
def opened(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Shop]:
    """Open one shop for a module's tests."""
    with standing(open_shop, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def till(
    opened: Shop,
    db: None,
    stripe_process: Fake,
    settings: Settings,
    request: pytest.FixtureRequest,
) -> Till:
    """Return a shop whose money goes through the fake; each test has keys of its own."""
    stripe_process.faults()
    settings.STRIPE_API_KEY = "sk_test_fake"
    settings.STRIPE_API_BASE = stripe_process.url
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_TIMEOUT_SECONDS = 5
    settings.STRIPE_NAMESPACE = f"test-{abs(hash(request.node.nodeid))}"
    return Till(deepcopy(opened), stripe_process)
