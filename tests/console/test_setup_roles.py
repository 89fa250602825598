"""Roles and demo people are made, again and again, and never with a known password by accident."""

from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from billing_project.kernel.models import User
from billing_project.kernel.users import ROLES

pytestmark = pytest.mark.django_db


def run(**options: object) -> str:
    out = StringIO()
    call_command("setup_roles", stdout=out, **options)
    return out.getvalue()


def test_roles_are_made_and_nobody_else() -> None:
    text = run()

    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)
    assert not User.objects.exists()
    assert "auditor" in text


def test_the_demo_has_a_superuser_and_one_person_for_each_role(settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]

    text = run(demo=True)

    people = {user.username: user for user in User.objects.prefetch_related("groups")}
    assert people["demo"].is_superuser
    roles = {g.name for name, user in people.items() if name != "demo" for g in user.groups.all()}
    assert roles == set(ROLES)
    assert len(people) == 1 + len(ROLES)
    assert "demo-password" in text
    assert authenticate(username="ann.approver", password="demo-password") is not None


def test_a_second_run_makes_nobody_twice_and_mends_roles_and_passwords(settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]
    run(demo=True)
    approver = User.objects.get(username="ann.approver")
    approver.groups.clear()
    approver.set_password("forgotten")
    approver.save()

    run(demo=True, password="another one")

    assert User.objects.count() == 1 + len(ROLES)
    assert approver.groups.get().name == "finance_approver"
    assert authenticate(username="ann.approver", password="another one") is not None


def test_the_known_password_is_refused_in_production(settings: object) -> None:
    settings.DEBUG = False  # type: ignore[attr-defined]

    with pytest.raises(CommandError, match="--password"):
        run(demo=True)

    assert not User.objects.exists()
