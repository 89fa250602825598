"""Lists over long tables read few rows: no count, no calendar, exact searches, known values."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from billing_project.kernel import audit
from billing_project.kernel.backoffice import base, long_lists
from billing_project.kernel.backoffice.keyset import KeysetPaginator
from billing_project.kernel.models import AuditEntry, User
from tests.console.backoffice import client_of

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIST = "admin:kernel_auditentry_changelist"


@pytest.fixture(autouse=True)
def entries(maker: User) -> None:
    """Keep five entries, of two actions."""
    long_lists._known.clear()
    for number in range(5):
        action = "grant_credits" if number % 2 else "close_period"
        audit.record(by=maker, at=AT, action=action, subject=maker, number=number)


def _found(user: User, **asked: str) -> Any:
    return client_of(user).get(reverse(LIST), asked).context["cl"]


def test_a_short_list_is_counted_and_searched_by_parts_of_words(auditor: User) -> None:
    changelist = _found(auditor, q="grant_cr")

    assert (changelist.result_count, changelist.date_hierarchy) == (2, "at")


def test_a_long_list_is_searched_exactly_and_has_no_calendar(
    auditor: User, maker: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "is_long", lambda model: True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_entry")

    changelist = _found(auditor, q=f"user:{maker.pk}")

    assert (changelist.result_count, changelist.date_hierarchy) == (5, None)
    assert _found(auditor, q="user:").result_count == 0
    assert _found(auditor, q="grant_credits").result_count == 0  # No index has it: a filter does.
    (known,) = [one for one in changelist.filter_specs if one.title == "action"]
    assert known.lookup_choices == ["close_period", "grant_credits"]
    page = client_of(auditor).get(reverse(LIST)).content.decode()
    assert "a search finds exact values" in page


def test_pages_are_counted_as_far_as_people_turn_them(
    auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _found(auditor).result_count == AuditEntry.objects.count()
    monkeypatch.setattr(long_lists, "MOST_COUNTED", 4)

    changelist = _found(auditor)

    assert isinstance(changelist.paginator, KeysetPaginator)
    assert len(changelist.result_list) == AuditEntry.objects.count()
    assert b"9999999999" not in client_of(auditor).get(reverse(LIST)).content


def test_postgresql_says_how_long_a_table_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_entry")

    assert not long_lists.is_long(AuditEntry)
    monkeypatch.setattr(long_lists, "LONG", 3)
    assert not long_lists.is_long(AuditEntry)  # Remembered.
    long_lists._known.clear()
    assert long_lists.is_long(AuditEntry)
    long_lists._known.clear()
