"""A server that quick tests share, senders for it, and the books as everyone's last word."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker

from tests.faults.rig import (
    Sender,
    Server,
    a_key,
    assert_books_hold,
    database_environment,
    database_upstream,
    serving,
)
from tests.metering.builders import a_customer, a_meter


@pytest.fixture(scope="session")
def server(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Server]:
    """Run one HTTP server on the tests' own database; tests that break it start their own."""
    with django_db_blocker.unblock():
        database_upstream()  # The embedded server runs before its port is asked for.
        environment = database_environment()
        connection.close()
    with serving(environment) as running:
        yield running


@pytest.fixture
def books(transactional_db: None) -> Iterator[None]:
    """Set acme up in committed rows; whatever the test did, the books hold at its end."""
    set_up_acme()
    yield
    assert_books_hold()


@pytest.fixture
def sender(server: Server, books: None) -> Sender:
    """Return a client of the shared server."""
    return Sender(server.port, a_key())


@pytest.fixture
def client(db: None) -> Iterator[Client]:
    """Return Django's client with a key: the same views, no process, all undone at the end."""
    set_up_acme()
    key = a_key("events:write", "usage:read", "admin")
    yield Client(headers={"authorization": f"Bearer {key}"}, raise_request_exception=False)
    assert_books_hold()


def set_up_acme() -> None:
    """Make a customer and two meters."""
    at = datetime.now(UTC)
    a_customer(at)
    a_meter(at)
    a_meter(at, "max")
