"""The shop that most tests of this app buy from, and the proof that the books hold."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from billing_project.kernel.books import run_checks
from billing_project.kernel.models import User
from tests.revrec.builders import Shop, open_shop


@pytest.fixture
def shop(db: None) -> Shop:
    """Return a shop; its people are spared the roles, which other tests are about."""
    maker = User.objects.create(username="maker", is_service=True)
    approver = User.objects.create(username="approver", is_superuser=True)
    finance = Group.objects.create(name="finance")
    finance.permissions.add(Permission.objects.get(codename="approve_policychange"))
    approver.groups.add(finance)
    return open_shop(maker, approver)


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
