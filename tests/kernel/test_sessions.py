"""A name is held by one connection; a state that is read is one state, and only read."""

from typing import Any

import psycopg
import pytest
from django.db import InternalError, connection

from billing_project.kernel.models import User
from billing_project.kernel.sessions import held, one_state


def _is_free(name: str) -> bool:
    """Try the name on another connection, which gives it back by ending."""
    with psycopg.connect(**_parameters()) as other:
        row = other.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]
        ).fetchone()
    return bool(row and row[0])


def _parameters() -> dict[str, Any]:
    keys = ("host", "port", "dbname", "user", "password")
    found = connection.get_connection_params()
    return {key: found[key] for key in keys if found.get(key)}


@pytest.mark.django_db
def test_a_name_is_held_by_one_for_as_long_as_the_block_lasts() -> None:
    with held("a") as is_ours:
        assert is_ours
        assert not _is_free("a")
        assert _is_free("b")
    assert _is_free("a")


@pytest.mark.django_db
def test_who_fails_lets_the_name_go() -> None:
    with pytest.raises(ZeroDivisionError), held("a"):
        raise ZeroDivisionError
    assert _is_free("a")


@pytest.mark.django_db
def test_a_name_that_another_holds_is_not_taken_away() -> None:
    with psycopg.connect(**_parameters()) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('a', 0))")
        with held("a") as is_ours:
            assert not is_ours
        assert not _is_free("a")


@pytest.mark.django_db(transaction=True)
def test_one_state_sees_nothing_that_comes_meanwhile_and_writes_nothing() -> None:
    with one_state():
        before = User.objects.count()
        with psycopg.connect(**_parameters()) as other:
            other.execute("INSERT INTO auth_group (name) VALUES ('come meanwhile')")
        assert User.objects.count() == before
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM auth_group WHERE name = 'come meanwhile'")
            assert cursor.fetchone() == (0,)
    with pytest.raises(InternalError, match="read-only"), one_state():
        User.objects.update(first_name="x")
