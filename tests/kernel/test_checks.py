"""The ground's checks find what somebody with every right in the database did."""

import pytest
from django.db import connection

from billing_project.kernel.checks import commits_are_durable, guards_stand

pytestmark = pytest.mark.django_db


def test_all_guards_stand() -> None:
    assert list(guards_stand()) == []
    assert list(commits_are_durable()) == []


def test_a_guard_that_was_removed_is_found() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER keep_rows ON audit_entry")

    assert [finding.subject for finding in guards_stand()] == ["table:audit_entry"]


def test_a_guard_that_was_switched_off_is_found() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_transaction DISABLE TRIGGER keep_table")

    assert [finding.subject for finding in guards_stand()] == ["table:ledger_transaction"]


def test_a_commit_that_may_be_lost_is_found() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")

    assert [finding.subject for finding in commits_are_durable()] == ["setting:synchronous_commit"]
