"""Rows written by COPY are those that the ORM would write."""

from datetime import datetime

import pytest
from django.db import IntegrityError, transaction

from billing_project.kernel.copying import copy_rows
from billing_project.kernel.models import OutboxMessage

pytestmark = pytest.mark.django_db
PARTS = [1, 'a\ttab, a \\ and a "quote"', "two\nlines", {"deep": [None, True, "\\N"]}]


def _notes(at: datetime, topic: str) -> list[OutboxMessage]:
    return [
        OutboxMessage(topic=topic, object_id=number, parts=parts, created_at=at)
        for number, parts in enumerate([PARTS, None, []])
    ]


def _stored(topic: str) -> list[tuple[object, ...]]:
    rows = OutboxMessage.objects.filter(topic=topic).order_by("pk")
    return list(rows.values_list("object_id", "parts", "created_at"))


def test_rows_are_those_that_bulk_create_writes(at: datetime) -> None:
    OutboxMessage.objects.bulk_create(_notes(at, "by_insert"))
    copy_rows(_notes(at, "by_copy"))

    assert _stored("by_copy") == _stored("by_insert")
    assert _stored("by_copy")[0][1] == PARTS
    assert OutboxMessage.objects.filter(topic="by_copy", parts__isnull=True).count() == 1


def test_rows_know_their_ids_in_the_order_given(at: datetime) -> None:
    notes = _notes(at, "by_copy")

    copy_rows(notes)

    ids = [note.pk for note in notes]
    assert ids == sorted(ids)
    assert list(OutboxMessage.objects.order_by("pk").values_list("pk", flat=True)) == ids


def test_a_refused_row_leaves_none_behind(at: datetime) -> None:
    notes = [*_notes(at, "by_copy"), OutboxMessage(topic="by_copy", object_id=9)]

    with pytest.raises(IntegrityError), transaction.atomic():
        copy_rows(notes)

    assert _stored("by_copy") == []


def test_nothing_to_write_asks_the_database_nothing(
    at: datetime, django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        copy_rows([])
