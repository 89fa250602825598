"""The shop that most tests of this app buy from, and the proof that the books hold."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from pytest_django import DjangoDbBlocker

from billing_project.kernel.books import run_checks
from billing_project.kernel.models import User
from tests.revrec.builders import Shop, open_shop
from tests.worlds import standing_if_possible


def _make() -> Shop:
    """Open a shop; its people are spared the roles, which other tests are about."""
    maker = User.objects.create(username="maker", is_service=True)
    approver = User.objects.create(username="approver", is_superuser=True)
    finance = Group.objects.create(name="finance")
    finance.permissions.add(Permission.objects.get(codename="approve_policychange"))
    approver.groups.add(finance)
    return open_shop(maker, approver)


@pytest.fixture(scope="module")
def open_already(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Shop | None]:
    """Open a shop for all tests of a module, where none of them commits."""
    with standing_if_possible(_make, request, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def shop(open_already: Shop | None, db: None) -> Shop:
    """Return the shop: one rate, one plan; customers are the test's."""
    return deepcopy(open_already) if open_already else _make()


@pytest.fixture
def books_hold(db: None) -> Iterator[None]:
    """Check at the end of a test that every entry stands and no check of the books finds fault."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    found = [
        (result.name, finding)
        for result in run_checks()
        if result.name.startswith("revrec.")
        for finding in result.findings
    ]
    assert found == []
