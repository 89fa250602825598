"""Pages of long lists are found by a row's key: each row once, both ways, whatever the sort."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_project.kernel import audit
from billing_project.kernel.admin.access import AuditEntryAdmin
from billing_project.kernel.backoffice import long_lists
from billing_project.kernel.backoffice.keyset import (
    Column,
    KeysetPaginator,
    Turns,
    beyond,
    columns_of,
)
from billing_project.kernel.models import AuditEntry, User
from tests.console.backoffice import client_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIST = "admin:kernel_auditentry_changelist"


def test_a_row_comes_after_another_by_the_first_column_that_differs() -> None:
    at, pk = Column("at", is_descending=True, may_be_empty=False), Column("pk", may_be_empty=False)

    assert beyond([pk], [7]) == Q(pk__in=[]) | Q(pk__gt=7)
    assert beyond([at, pk], [AT, 7]) == (
        (Q(pk__in=[]) | Q(at__lt=AT) | (Q(at=AT) & Q(pk__gt=7))) & Q(at__lte=AT)
    )


def test_what_is_empty_is_the_largest_as_postgresql_sorts_it() -> None:
    end, pk = Column("end"), Column("pk", may_be_empty=False)

    rising = beyond([end, pk], [5, 7])
    falling = beyond([end.turned(), pk], [None, 7])

    assert rising == Q(pk__in=[]) | (Q(end__gt=5) | Q(end__isnull=True)) | (Q(end=5) & Q(pk__gt=7))
    assert falling == Q(pk__in=[]) | Q(end__isnull=False) | (Q(end__isnull=True) & Q(pk__gt=7))
    assert beyond([end, pk], [None, 7]) == Q(pk__in=[]) | (Q(end__isnull=True) & Q(pk__gt=7))


def test_a_sort_that_cannot_be_compared_with_has_no_keys() -> None:
    assert columns_of(AuditEntry, ["-at", "-pk"]) == (
        Column("at", is_descending=True, may_be_empty=False),
        Column("pk", is_descending=True, may_be_empty=False),
    )
    assert columns_of(AuditEntry, ["by", "pk"]) == ()
    assert columns_of(AuditEntry, ["?"]) == ()
    assert columns_of(AuditEntry, [Lower("action").asc()]) == ()


@pytest.fixture
def pages(maker: User, auditor: User, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keep seven entries, two of an instant, three on a page; read the list as it is too long."""
    for number in range(7):
        at = AT + timedelta(minutes=number // 2)
        action = "grant_credits" if number % 2 else "close_period"
        audit.record(by=maker, at=at, action=action, subject=maker, number=number)
    monkeypatch.setattr(long_lists, "MOST_COUNTED", 1)
    monkeypatch.setattr(AuditEntryAdmin, "list_per_page", 3)
    client = client_of(auditor)

    def read(query: str) -> tuple[list[int], Turns]:
        changelist = client.get(reverse(LIST) + query).context["cl"]
        return [row.pk for row in changelist.result_list], changelist.turns

    return read


@pytest.mark.django_db
@pytest.mark.parametrize("sort", ["", "?o=1", "?o=-1", "?o=3.-1", "?action__exact=grant_credits"])
def test_every_row_is_on_one_page_and_the_way_back_is_the_same(pages: Any, sort: str) -> None:
    there, (rows, turns) = [], pages(sort)
    while turns.following:
        there.append(rows)
        rows, turns = pages(turns.following)
    there.append(rows)
    back = [rows]
    while turns.previous:
        rows, turns = pages(turns.previous)
        back.append(rows)

    seen = [pk for page in there for pk in page]
    assert back[::-1] == there
    assert len(seen) == len(set(seen)) == (3 if "action" in sort else AuditEntry.objects.count())
    assert (turns.first, turns.previous) == ("", "")


@pytest.mark.django_db
def test_the_last_page_is_read_from_the_other_end(pages: Any) -> None:
    _, turns = pages("")

    rows, last = pages(turns.last)

    oldest = AuditEntry.objects.order_by("at", "pk").values_list("pk", flat=True)[:3]
    assert rows == list(oldest)[::-1]
    assert (last.following, last.last, bool(last.first)) == ("", "", True)


@pytest.mark.django_db
def test_a_list_without_keys_is_turned_by_number(
    pages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AuditEntryAdmin, "ordering", ("by", "-pk"))
    ordered = list(AuditEntry.objects.order_by("by", "-pk").values_list("pk", flat=True))

    rows, first = pages("?action__exact=close_period")
    more, last = pages(first.following)

    assert rows + more == [pk for pk in ordered if pk % 2 == ordered[0] % 2]
    assert (first.first, first.previous, last.following, last.last) == ("", "", "", "")
    assert pages(last.previous)[0] == pages(last.first)[0] == rows


@pytest.mark.django_db
def test_no_number_of_results_is_made_up(pages: Any, auditor: User) -> None:
    page = client_of(auditor).get(reverse(LIST) + "?q=user")

    assert isinstance(page.context["cl"].paginator, KeysetPaginator)
    assert "999 results" not in page.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["9999", "after:0", "after:x", "before:%00", "after:" + "9" * 30])
def test_a_page_that_is_not_there_is_the_first(pages: Any, page: str) -> None:
    assert pages(f"?p={page}")[0] == pages("")[0]


@pytest.mark.django_db
def test_links_of_a_page_keep_filters_and_leave_the_page_when_they_sort(pages: Any) -> None:
    _, turns = pages("?action__exact=close_period&o=1")

    assert turns.following.startswith("?action__exact=close_period&o=1&p=after%3A")
    assert pages(turns.following)[1].first == "?action__exact=close_period&o=1"


@pytest.mark.django_db
def test_no_row_in_front_of_a_page_is_read(pages: Any) -> None:
    following = pages("")[1].following

    with CaptureQueriesContext(connection) as captured:
        pages(following)

    asked = [one["sql"] for one in captured.captured_queries if "audit_entry" in one["sql"]]
    assert not [sql for sql in asked if "OFFSET" in sql]
    assert len([sql for sql in asked if "COUNT" in sql]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("is_second_descending", [False, True])
def test_rows_without_a_value_have_their_place(
    maker: User, is_descending: bool, is_second_descending: bool
) -> None:
    for number, at in enumerate([None, AT, None, AT + timedelta(days=1), AT]):
        User.objects.create(username=f"person-{number}", last_login=at)
    columns = columns_of(User, ["last_login", "pk"])
    columns = (replace(columns[0], is_descending=is_descending),
               replace(columns[1], is_descending=is_second_descending))  # fmt: skip
    rows = list(User.objects.order_by(*(column.order for column in columns)))

    for place, row in enumerate(rows):
        after = User.objects.filter(beyond(columns, [row.last_login, row.pk]))
        assert set(after) == set(rows[place + 1 :])
