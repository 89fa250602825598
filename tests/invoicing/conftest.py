"""The shop, open for business."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
from pytest_django import DjangoDbBlocker

from tests.invoicing.builders import Shop, open_shop
from tests.worlds import standing_if_possible


@pytest.fixture(scope="module")
def open_already(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Shop | None]:
    """Open a shop for all tests of a module, where none of them commits."""
    with standing_if_possible(open_shop, request, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def shop(open_already: Shop | None, db: None) -> Shop:
    """Return people, a rated meter and a burn order; plans and customers are the test's."""
    return deepcopy(open_already) if open_already else open_shop()
