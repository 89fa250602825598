"""Every table is carried by a migration pack, or left out by name with a reason."""

import pytest
from django.db import connection

from billing_project.console.portable.loading import refuse_filled
from billing_project.console.portable.tables import LEFT_OUT, LOCKED, carried_tables

pytestmark = pytest.mark.django_db


def test_what_is_left_out_or_locked_exists(db: None) -> None:
    columns = {(table.name, column.name) for table in carried_tables() for column in table.columns}
    assert columns >= LOCKED.keys()
    stands = set(connection.introspection.table_names())
    assert stands >= LEFT_OUT.keys()
    assert not {name for name, _ in columns} & LEFT_OUT.keys()


def test_a_database_that_was_only_migrated_counts_as_empty(db: None) -> None:
    refuse_filled(carried_tables())


def test_nothing_that_lets_anybody_in_is_carried_unlocked(db: None) -> None:
    telling = ("secret", "password", "token", "nonce", "otp")
    columns = [
        (table.name, column.name)
        for table in carried_tables()
        for column in table.columns
        if any(word in column.name for word in telling)
    ]
    assert set(columns) - LOCKED.keys() == {("supplier_rate", "token_kind")}
