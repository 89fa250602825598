"""Roles: made once, mended when somebody changed them, and cheap to ensure."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission

from billing_project.kernel.users import ROLES, ensure_roles

pytestmark = pytest.mark.django_db


def _names(role: str) -> set[str]:
    rows = Permission.objects.filter(group__name=role)
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows.select_related()}


def test_each_role_reads_everything_and_writes_what_is_its_own() -> None:
    ensure_roles()

    views = {name for name in _names("auditor") if ".view_" in name}
    assert _names("auditor") == views | {"revrec.make_auditpack"}
    assert len(views) == Permission.objects.filter(codename__startswith="view_").count()
    for role, writes in ROLES.items():
        assert _names(role) == views | set(writes)


def test_what_somebody_changed_is_mended() -> None:
    ensure_roles()
    auditor = Group.objects.get(name="auditor")
    auditor.permissions.remove(*auditor.permissions.all()[:2])
    auditor.permissions.add(Permission.objects.get(codename="approve_policychange"))
    other = Group.objects.create(name="other")
    other.permissions.add(Permission.objects.get(codename="approve_policychange"))

    ensure_roles()

    assert "kernel.approve_policychange" not in _names("auditor")
    views = Permission.objects.filter(codename__startswith="view_").count()
    assert len(_names("auditor")) == views + len(ROLES["auditor"])
    assert _names("other") == {"kernel.approve_policychange"}


def test_ensuring_them_takes_few_queries(django_assert_max_num_queries: Any) -> None:
    # Three reads; the groups and what they lack or have too much. Inserts in one piece each.
    with django_assert_max_num_queries(8):
        ensure_roles()
    with django_assert_max_num_queries(4):
        ensure_roles()
