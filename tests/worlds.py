"""Worlds that stand for all tests of a module, so that what many look at is made once.

What a test changes is rolled back to the world, and it gets a copy of what names its parts:

    @pytest.fixture(scope="module")
    def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
        with standing(run_chain, django_db_blocker) as chain:
            yield chain

    @pytest.fixture
    def chain(made: Chain, db: None) -> Chain:
        return deepcopy(made)

Only for modules without a test that commits: it would wait for the world for ever.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import transaction
from pytest_django import DjangoDbBlocker

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
            world = make()
        yield world
    finally:
        with blocker.unblock():
            transaction.set_rollback(True)
            around.__exit__(None, None, None)
