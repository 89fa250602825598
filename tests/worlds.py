"""Worlds that stand for all tests of a module, so that what many look at is made once.

What a test changes is rolled back to the world, and it gets a copy of what names its parts:

    @pytest.fixture(scope="module")
    def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
        with standing(run_chain, django_db_blocker) as chain:
            yield chain

    @pytest.fixture
    def chain(made: Chain, db: None) -> Chain:
        return deepcopy(made)

Only for modules without a test that commits: it would wait for the world for ever. Where that is
not known, `standing_if_possible` looks, and each test makes its own where one commits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from billing_project.kernel.models import User
from credits.selectors.remembered import forget_rules

World = TypeVar("World")


@contextmanager
def standing(make: Callable[[], World], blocker: DjangoDbBlocker) -> Iterator[World]:
    """Make a world in a transaction that the module's tests nest theirs in; it is never kept."""
    around = transaction.atomic()
    around._from_testcase = True  # type: ignore[attr-defined]
    forget_rules()
    with blocker.unblock():
        around.__enter__()
    try:
        with blocker.unblock():
            _wait_for_ever()
            world = make()
        yield world
    finally:
        with blocker.unblock():
            transaction.set_rollback(True)
            around.__exit__(None, None, None)


@contextmanager
def standing_if_possible(
    make: Callable[[], World], request: pytest.FixtureRequest, blocker: DjangoDbBlocker
) -> Iterator[World | None]:
    """Make a world for the tests of a module; None where one of them commits, or makes its own."""
    module = request.node.nodeid
    items = [item for item in request.session.items if item.nodeid.split("::")[0] == module]
    if any(_stands_alone(item) for item in items):
        yield None
    else:
        with standing(make, blocker) as world:
            yield world


def _stands_alone(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    marks = [mark.kwargs for mark in item.iter_markers("django_db")]
    commits = bool(names & {"transactional_db", "live_server"})
    return commits or any(kwargs.get("transaction") for kwargs in marks) or "made" in names


def _wait_for_ever() -> None:
    """Let a world stand while its tests compute without asking it anything."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def person_of(username: str, role: str) -> User:
    """Return the person of this name in a role; who is there already is not made again."""
    if found := User.objects.filter(username=username).first():
        return found
    user = User.objects.create_user(username, password="correct horse battery", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user
