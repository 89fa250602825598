"""Make the roles; with --demo, also one person for each and a superuser to look around with."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billing_project.kernel.models import User
from billing_project.kernel.users import ROLES, ensure_roles

DEMO_LOGIN = "demo"
_DEMO_PASSWORD = "demo-password"  # noqa: S105 - printed, and refused where DEBUG=False
_PEOPLE = {
    "sam.support": "support",
    "mia.maker": "finance_maker",
    "ann.approver": "finance_approver",
    "lea.legal": "legal",
    "eli.engineer": "engineering",
    "pat.product": "product",
    "ada.auditor": "auditor",
    "olga.owner": "owner",
}


class Command(BaseCommand):
    help = "Make the groups with their permissions; run after each migration, safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also make people to log in as")
        parser.add_argument("--password", help="of the demo people; theirs is reset to it")

    def handle(self, *args: Any, **options: Any) -> None:
        password = self._password(options) if options["demo"] else ""
        with transaction.atomic():
            ensure_roles()
            if options["demo"]:
                _make_people(password)
        self.stdout.write(f"Roles: {', '.join(ROLES)}")
        if options["demo"]:
            people = ", ".join([DEMO_LOGIN, *_PEOPLE])
            self.stdout.write(f"People: {people}; the password of each is {password}")

    def _password(self, options: dict[str, Any]) -> str:
        if options["password"]:
            return str(options["password"])
        if not settings.DEBUG:
            raise CommandError("name a --password: the one of the demo needs DEBUG=True")
        return _DEMO_PASSWORD


def _make_people(password: str) -> None:
    _person(DEMO_LOGIN, password, is_superuser=True)
    for username, role in _PEOPLE.items():
        _person(username, password).groups.set([Group.objects.get(name=role)])


def _person(username: str, password: str, *, is_superuser: bool = False) -> User:
    first, _, last = username.partition(".")
    user, _ = User.objects.get_or_create(
        username=username,
        defaults={"first_name": first.capitalize(), "last_name": last.capitalize()},
    )
    user.is_staff, user.is_superuser = True, is_superuser
    user.set_password(password)
    user.save()
    return user
