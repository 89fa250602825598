"""What commands read of their arguments."""

from datetime import UTC, datetime

from django.core.management.base import CommandError

from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user


def person(username: str | None) -> User:
    """Return who is named, or the worker.

    Raises:
        CommandError: nobody active is called so.
    """
    if not username:
        return worker_user()
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"nobody is called {username}")
    return user


def day(text: str) -> datetime:
    """Read a day (2026-01-31) as its start, UTC."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
