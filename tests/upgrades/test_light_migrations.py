"""Light migrations make what plain ones make, to the last constraint."""

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.catalog import catalog
from tests.upgrades.rows import use


@pytest.mark.long
def test_a_database_migrated_light_is_one_migrated_plainly(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock():
        light, tests = catalog(), connection.settings_dict["NAME"]
        plain = f"{tests}_plain"
        use(plain, f'CREATE DATABASE "{plain}"')
        try:
            call_command("migrate", verbosity=0)
            assert sorted(catalog() ^ light) == []
        finally:
            use(tests, f'DROP DATABASE "{plain}"')
