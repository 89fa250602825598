"""Instants as the person who looks reads them: in their time zone, with UTC on hover.

What is typed is UTC, as its label says: only what is shown follows the person.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

EMPTY = "-"
_SHOWN = "%Y-%m-%d %H:%M:%S"
_STATED = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d(?::\d\d)?) UTC", re.ASCII)
_viewer: ContextVar[tzinfo] = ContextVar("viewer", default=UTC)


@contextmanager
def viewed_from(zone: str) -> Iterator[None]:
    """Show instants in a time zone, by its name, meanwhile."""
    token = _viewer.set(UTC if zone == "UTC" else ZoneInfo(zone))
    try:
        yield
    finally:
        _viewer.reset(token)


def moment_text(at: datetime | None) -> str:
    """Write an instant to the second; where the viewer is not in UTC, with what its zone is."""
    if at is None:
        return EMPTY
    zone = _viewer.get()
    local = _local(at, zone)
    return local.strftime(_text_of(local)) + ("" if zone is UTC else local.strftime(" %Z"))


def moment_html(at: datetime | None) -> SafeString:
    """Write an instant for a page: in the viewer's zone, with UTC where the mouse rests."""
    if at is None:
        return SafeString(EMPTY)
    utc, local = at.astimezone(UTC), _local(at, _viewer.get())
    return format_html(
        '<time class="bo-figure" datetime="{}" title="{} UTC">{}</time>',
        utc.isoformat(), utc.strftime(_text_of(utc)), local.strftime(_text_of(local)),
    )  # fmt: skip


def kept_moment_html(text: str) -> SafeString:
    """Write an instant that a kept document holds as ISO text."""
    return moment_html(datetime.fromisoformat(text))


def sentence_html(text: str) -> SafeString:
    """Write a sentence for a page: what it states in UTC, to the minute or second, as instants."""
    return SafeString(_STATED.sub(_stated, escape(text)))


def _stated(found: re.Match[str]) -> str:
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
    except ValueError:  # No such day or hour: whoever wrote it knows why.
        return found[0]
    return moment_html(at)


def _local(at: datetime, zone: tzinfo) -> datetime:
    try:
        return at.astimezone(zone)
    except OverflowError:  # The first or last day that there is.
        return at.astimezone(UTC)


def _text_of(at: datetime) -> str:
    """Return the shape, with the year in four digits, which strftime leaves to the platform."""
    return _SHOWN.replace("%Y", f"{at.year:04}")
