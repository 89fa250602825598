"""A fake Stripe for the tests of a process, and a shop that collects through it."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.fakes.stripe.running import Fake, running_fake
from tests.fakes.stripe.server import SECRET
from tests.invoicing.builders import open_shop
from tests.invoicing.stripe_sync.till import Till


@pytest.fixture(scope="session")
def stripe_process() -> Iterator[Fake]:
    """Start one fake for a worker of the run."""
    with running_fake() as running:
        yield running


@pytest.fixture
def till(
    db: None, stripe_process: Fake, settings: Settings, request: pytest.FixtureRequest
) -> Till:
    """Return a shop whose money goes through the fake; each test has keys of its own."""
    stripe_process.faults()
    settings.STRIPE_API_KEY = "sk_test_fake"
    settings.STRIPE_API_BASE = stripe_process.url
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_TIMEOUT_SECONDS = 5
    settings.STRIPE_NAMESPACE = f"test-{abs(hash(request.node.nodeid))}"
    return Till(open_shop(), stripe_process)
