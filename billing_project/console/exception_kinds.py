"""What a kind of exception is, and how rows of an app become one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

MOST = 20  # Shown of one kind; the list of its app has the others.


@dataclass(frozen=True)
class Exceptional:
    """One thing that somebody has to look at.

    Attributes:
        since: From when on it is so; None where its rows do not say.
        owner: A role, or the person who was named.
    """

    title: str
    detail: str
    owner: str
    since: datetime | None
    url: str


@dataclass(frozen=True)
class Kind:
    """Exceptions of one kind, the oldest first.

    Attributes:
        remedy: What ends one, as a person would do it.
        count: Of all, those that are not among `rows` included.
        url: The list of all.
        permission: Of whom takes one up; "": there is nothing to do about it in here.
    """

    title: str
    remedy: str
    rows: tuple[Exceptional, ...]
    count: int
    url: str
    permission: str = ""


def kind_of(
    title: str,
    remedy: str,
    rows: QuerySet,  # type: ignore[type-arg]
    row: Callable[..., Exceptional],
    url: str,
    *,
    permission: str = "",
) -> Kind:
    """Make a kind of the oldest rows; all are counted only where there are more than are shown."""
    found = list(rows[: MOST + 1])
    count = rows.count() if len(found) > MOST else len(found)
    return Kind(title, remedy, tuple(row(one) for one in found[:MOST]), count, url, permission)


def kind_of_list(
    title: str, remedy: str, rows: list[Exceptional], url: str, *, permission: str = ""
) -> Kind:
    """Make a kind of what is known whole."""
    return Kind(title, remedy, tuple(rows[:MOST]), len(rows), url, permission)
