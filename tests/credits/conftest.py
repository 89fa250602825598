"""A shop to rate usage in."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
from pytest_django import DjangoDbBlocker

from tests.conftest import AT
from tests.credits.builders import Shop, make_shop
from tests.worlds import person_of, standing_if_possible


def _make() -> Shop:
    maker = person_of("mia.maker", "finance_maker")
    return make_shop(maker, person_of("ann.approver", "finance_approver"), AT)


@pytest.fixture(scope="module")
def open_already(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Shop | None]:
    """Open a shop for all tests of a module, where none of them commits."""
    with standing_if_possible(_make, request, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def shop(open_already: Shop | None, db: None) -> Shop:
    """Return a customer with rates (input 0.5, output 2 credits), burn order and period."""
    return deepcopy(open_already) if open_already else _make()
