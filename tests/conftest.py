"""What every test may lean on: people with roles, and a reset that the guards let through."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.test import TestCase, TransactionTestCase
from pytest_django import DjangoDbBlocker

from billing_project.kernel.models import User
from billing_project.kernel.users import ROLES, ensure_roles
from credits.selectors.remembered import forget_rules
from metering.services.storing import forget_months
from revrec.services.anchoring import SEAL_FILES
from revrec.services.sealing import make_sealing_key
from tests.answers import hold_answers_against_the_document
from tests.template import ensure_template
from tests.worlds import person_of

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_MAKER = pytest.StashKey[subprocess.Popen[bytes]]()
# Rows that migrations and the set-up made; a reset between committed tests keeps them.
_SEEDED = {
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "ledger_account",
    "number_series",
    "legal_entity",
}


def pytest_configure() -> None:
    """Hash passwords cheaply, and judge no rule by how long a busy machine takes for it.

    A million rounds a person would be most of the tests' time.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    hypothesis.settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")
    hold_answers_against_the_document(pytest.MonkeyPatch())


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart(session: pytest.Session) -> Iterator[None]:
    """Have the database to copy made while workers are at the tests that need none."""
    if session.config.getoption("numprocesses", default=None) and not _is_worker():
        command = [sys.executable, "-m", "tests.template"]
        session.config.stash[_MAKER] = subprocess.Popen(command, cwd=settings.BASE_DIR)
    return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave nothing behind that still migrates."""
    if maker := session.config.stash.get(_MAKER, None):
        maker.kill()
        maker.wait()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that need no database."""
    stored = {item.path for item in items if _needs_database(item)}
    items.sort(key=lambda item: item.path in stored)


def pytest_collection_finish() -> None:
    """Let nobody look again and again through what was loaded: it stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _needs_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db"}.intersection(getattr(item, "fixturenames", ()))
    return bool(fixtures) or item.get_closest_marker("django_db") is not None


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """Make the test database as a copy of a migrated one."""
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = ensure_template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Make the roles once: their six hundred permissions are not what tests are about."""
    with django_db_blocker.unblock():
        ensure_roles()


def reset_database() -> None:
    """Empty every table that has rows, in time that grows with the rows and not with the tables.

    The guards refuse that, so they are off meanwhile; foreign keys are checked when it is done.
    """
    with connection.cursor() as cursor:
        _drop_detached_months(cursor)
        filled = [name for name in _filled_tables(cursor) if name not in _SEEDED]
        guards = _guards_of(cursor, [*filled, "number_series", "legal_entity"])
        with transaction.atomic():
            for table, guard in guards:
                cursor.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER "{guard}"')
        with transaction.atomic():
            for table in filled:
                cursor.execute(f'DELETE FROM "{table}"')
            cursor.execute("DELETE FROM number_series WHERE entity_id <> 1")
            cursor.execute("DELETE FROM legal_entity WHERE id <> 1")
            cursor.execute("UPDATE number_series SET last_number = 0")
            cursor.execute(_RESTART, [filled])
        with transaction.atomic():
            for table, guard in guards:
                cursor.execute(f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{guard}"')
    for seal in Path(settings.SEALS_DIR).glob(SEAL_FILES):
        seal.unlink()  # Of a journal that is gone.
    Group.objects.exclude(name__in=ROLES).delete()  # Roles stay, as they were made.
    ensure_roles()


_RESTART = """
SELECT setval(s.oid, 1, false)
FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid
WHERE s.relkind = 'S' AND t.relname = ANY(%s)
"""


def _filled_tables(cursor: CursorWrapper) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )
    tables = [name for (name,) in cursor.fetchall()]
    asked = " UNION ALL ".join(f"SELECT '{t}' WHERE EXISTS (SELECT 1 FROM \"{t}\")" for t in tables)
    cursor.execute(asked)
    return [name for (name,) in cursor.fetchall()]


def _guards_of(cursor: CursorWrapper, tables: list[str]) -> list[tuple[str, str]]:
    """Return (table, trigger) of what watches these tables, their partitions included."""
    cursor.execute(
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent"
        " WHERE t.tgenabled = 'A' AND NOT t.tgisinternal"
        " AND coalesce(p.relname, c.relname) = ANY(%s)",
        [tables],
    )
    return [(table, guard) for table, guard in cursor.fetchall()]


def _drop_detached_months(cursor: CursorWrapper) -> None:
    """Drop what archives left: nobody restores it, and it would keep its month from being made."""
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relname ~ '^meter_event_[0-9]{4}_[0-9]{2}$'"
        " AND relkind = 'r' AND NOT relispartition"
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP TABLE "{name}"')
        forget_months()


@pytest.fixture(autouse=True, scope="session")
def _reset_instead_of_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: reset_database())
        patch.setattr(TestCase, "tearDownClass", classmethod(_roll_back))
        yield


def _roll_back(case: type[TestCase]) -> None:
    """Undo a test but stay connected: a new connection compiles every guard it meets anew."""
    case._rollback_atomics(case.cls_atomics)  # type: ignore[attr-defined]
    super(TestCase, case).tearDownClass()


@pytest.fixture(autouse=True, scope="session")
def _sealing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Seal closes with a key of the tests' own."""
    folder = tmp_path_factory.mktemp("seals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SEALING_KEY_FILE", str(folder / "key.pem"))
        patch.setattr(settings, "SEALS_DIR", str(folder))
        make_sealing_key()
        yield


@pytest.fixture(autouse=True)
def _forget_rules() -> None:
    """Ask this test's database for the approved rules, not the last one's."""
    forget_rules()


@pytest.fixture
def at() -> datetime:
    """Return an instant to pass wherever a service asks for `at`."""
    return AT


@pytest.fixture
def support(db: None) -> User:
    """Return a member of support."""
    return person_of("sam.support", "support")


@pytest.fixture
def maker(db: None) -> User:
    """Return a finance maker: proposes, never approves."""
    return person_of("mia.maker", "finance_maker")


@pytest.fixture
def approver(db: None) -> User:
    """Return a finance approver."""
    return person_of("ann.approver", "finance_approver")


@pytest.fixture
def lawyer(db: None) -> User:
    """Return somebody of legal: the second approver where a kind asks for one."""
    return person_of("lea.legal", "legal")


@pytest.fixture
def engineer(db: None) -> User:
    """Return an engineer."""
    return person_of("eli.engineer", "engineering")


@pytest.fixture
def product(db: None) -> User:
    """Return a product manager."""
    return person_of("pat.product", "product")


@pytest.fixture
def auditor(db: None) -> User:
    """Return an auditor: reads everything, writes nothing."""
    return person_of("ada.auditor", "auditor")
