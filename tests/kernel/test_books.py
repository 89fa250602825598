"""All checks look at one state of the books, whatever is written meanwhile."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection

from billing_project.kernel import books, outbox
from billing_project.kernel.books import Finding, check, run_checks
from billing_project.kernel.models import OutboxMessage

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_checks", {})


def _count() -> Iterator[Finding]:
    yield Finding("outbox", str(OutboxMessage.objects.count()))


def _found() -> list[str]:
    return [finding.message for result in run_checks() for finding in result.findings]


def _write_elsewhere() -> None:
    def write() -> None:
        outbox.publish("usage_changed", [1], AT)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()


@pytest.mark.django_db(transaction=True)
def test_what_is_written_between_two_checks_is_seen_by_neither() -> None:
    @check("Count before")
    def before() -> Iterator[Finding]:
        yield from _count()
        _write_elsewhere()

    @check("Count after")
    def after() -> Iterator[Finding]:
        yield from _count()

    assert _found() == ["0", "0"]
    assert _found() == ["1", "1"]  # What the first run wrote, not what the second one does.


@pytest.mark.django_db(transaction=True)
def test_a_check_cannot_write() -> None:
    @check("Meddle")
    def meddle() -> Iterator[Finding]:
        outbox.publish("usage_changed", [1], AT)
        yield from _count()

    with pytest.raises(DatabaseError, match="read-only"):
        run_checks()

    assert OutboxMessage.objects.count() == 0


@pytest.mark.django_db
def test_inside_a_transaction_the_checks_see_what_it_wrote() -> None:
    check("Count")(_count)
    outbox.publish("usage_changed", [1], AT)

    assert _found() == ["1"]


@pytest.mark.django_db
def test_a_broken_table_does_not_fill_the_memory() -> None:
    @check("Endless")
    def endless() -> Iterator[Finding]:
        while True:
            yield Finding("row", "is wrong")

    assert len(_found()) == 100
