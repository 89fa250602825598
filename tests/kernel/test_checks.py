"""The ground's checks find what somebody with every right in the database did."""

import pytest
from django.db import connection

from billing_project.kernel.checks import commits_are_durable, guards_stand
from billing_project.kernel.models import User

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


@pytest.mark.parametrize(
    ("weaken", "subject"),
    [
        (
            "CREATE OR REPLACE FUNCTION kernel_refuse_change() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RETURN NEW; END $$",
            "function:kernel_refuse_change",
        ),
        (
            "ALTER FUNCTION policy_holds(bigint, text) RESET search_path",
            "function:policy_holds",
        ),
        (
            "DROP TRIGGER keep_rows ON audit_entry;"
            " CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW"
            " WHEN (false) EXECUTE FUNCTION kernel_refuse_change();"
            " ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER keep_rows",
            "table:audit_entry",
        ),
        (
            "DROP TRIGGER keep_rows ON audit_entry; CREATE TRIGGER keep_rows BEFORE DELETE"
            " ON audit_entry FOR EACH ROW EXECUTE FUNCTION kernel_refuse_change();"
            " ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER keep_rows",
            "table:audit_entry",
        ),
    ],
)
def test_a_guard_that_was_weakened_is_found(weaken: str, subject: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(weaken)

    assert [finding.subject for finding in guards_stand()] == [subject]


def test_a_temporary_table_gives_nobody_a_function(support: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE kernel_user ON COMMIT DROP AS"
            " SELECT id, is_active, false AS is_service FROM public.kernel_user"
        )
        cursor.execute(
            "CREATE TEMPORARY TABLE auth_group_permissions ON COMMIT DROP AS"
            " SELECT g.id AS group_id, p.id AS permission_id"
            " FROM auth_group g, auth_permission p WHERE p.codename = 'approve_policychange'"
        )
        cursor.execute("SELECT policy_holds(%s, 'finance')", [support.pk])
        assert cursor.fetchone() == (False,)
