"""The gate before a database that is down, and what is no reason to close it."""

from typing import Any

import psycopg
import pytest
from django.db.backends.postgresql import base as django_base

from billing_project.kernel.postgres import base
from billing_project.kernel.postgres.base import DatabaseWrapper, Gate


def _connect(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(*_: Any) -> None:
        raise psycopg.OperationalError(said)

    monkeypatch.setattr(django_base.DatabaseWrapper, "get_new_connection", refuse)
    with pytest.raises(psycopg.OperationalError, match=said):
        DatabaseWrapper({}).get_new_connection({})


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'FATAL:  database "nowhere" does not exist',
    ],
)
def test_a_refusal_that_the_database_gave_itself_leaves_the_gate_open(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(base, "GATE", Gate())

    _connect(monkeypatch, said)

    base.GATE.enter()


@pytest.mark.parametrize("said", ["connection refused", "timeout expired", "is starting up"])
def test_a_database_that_is_down_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(base, "GATE", Gate())

    _connect(monkeypatch, said)

    with pytest.raises(psycopg.OperationalError, match="was down a moment ago"):
        base.GATE.enter()
