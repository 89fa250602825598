"""The ground's checks find what somebody with every right in the database did."""

import pytest
from django.db import connection

from billing_project.kernel.checks import commits_are_durable, constraints_stand, guards_stand
from billing_project.kernel.models import User

pytestmark = pytest.mark.django_db


def test_all_guards_stand() -> None:
    assert list(guards_stand()) == []
    assert list(constraints_stand()) == []
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
            "ALTER FUNCTION meter_event_store_plain RESET search_path",
            "function:meter_event_store_plain",
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


_FOREIGN = (
    "CREATE TRIGGER a_first BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION"
    " kernel_refuse_change(); ALTER TABLE {0} ENABLE ALWAYS TRIGGER a_first"
)


@pytest.mark.parametrize(
    ("weaken", "subject", "words"),
    [
        (_FOREIGN.format("ledger_transaction"), "ledger_transaction", "not of any migration"),
        (_FOREIGN.format("kernel_user"), "kernel_user", "not of any migration"),
        (
            "CREATE RULE nowhere AS ON INSERT TO ledger_transaction DO INSTEAD NOTHING",
            "ledger_transaction",
            "rule nowhere rewrites",
        ),
        ("ALTER TABLE posting DISABLE TRIGGER ALL", "posting", "is switched off"),
        ("DROP TRIGGER keep_table ON {month}", "{month}", "guard keep_table is gone"),
    ],
)
def test_what_comes_before_the_guards_is_found(weaken: str, subject: str, words: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT meter_event_ensure_partition('2026-03-01')")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(weaken.format(month="meter_event_2026_03"))

    findings = list(guards_stand())
    assert {one.subject for one in findings} == {
        f"table:{subject}".format(month="meter_event_2026_03")
    }
    assert any(words in one.message for one in findings)


_BOUNDS = "ALTER TABLE credit_grant DROP CONSTRAINT credit_grant_remaining_bounds"


@pytest.mark.parametrize(
    ("weaken", "subject", "message"),
    [
        (_BOUNDS, "credit_grant", "constraint credit_grant_remaining_bounds is gone"),
        (
            f"{_BOUNDS}, ADD CONSTRAINT credit_grant_remaining_bounds CHECK (remaining >= 0)",
            "credit_grant",
            "constraint credit_grant_remaining_bounds is not the one of its model",
        ),
        (
            "ALTER TABLE policy_change DROP CONSTRAINT policy_change_content_matches",
            "policy_change",
            "constraint policy_change_content_matches is gone",
        ),
        (
            "ALTER TABLE invoice_line DROP CONSTRAINT invoice_line_position_check",
            "invoice_line",
            "the bounds of position are gone",
        ),
        (
            "ALTER TABLE claw_back DROP CONSTRAINT claw_back_known_once",
            "claw_back",
            "constraint claw_back_known_once is gone",
        ),
        (
            f"{_BOUNDS}; ALTER TABLE credit_grant ADD CONSTRAINT credit_grant_remaining_bounds"
            " CHECK ({as_it_was}) NOT VALID",
            "credit_grant",
            "constraint credit_grant_remaining_bounds is not enforced",
        ),
    ],
)
def test_a_constraint_that_was_weakened_is_found(weaken: str, subject: str, message: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT substring(pg_get_constraintdef(oid) FROM 'CHECK (.*)') FROM pg_constraint"
            " WHERE conname = 'credit_grant_remaining_bounds'"
        )
        cursor.execute(weaken.format(as_it_was=cursor.fetchone()[0]))

    assert [(one.subject, one.message) for one in constraints_stand()] == [
        (f"table:{subject}", message)
    ]


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
