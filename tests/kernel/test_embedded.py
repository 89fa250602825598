"""The embedded PostgreSQL starts, survives kill -9 and stops; wrong settings are one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from billing_project.kernel.embedded.server import SUPERUSER, EmbeddedServer

pytestmark = pytest.mark.integration


def _run_sql(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host=str(folder), user=SUPERUSER, dbname=SUPERUSER) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    # The path is too long for a Unix socket: the server must find another folder for it.
    server = EmbeddedServer(tmp_path / ("long-" * 20) / "pg")
    try:
        folder = server.start()
        _run_sql(folder, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
        postmaster = int((server.data / "postmaster.pid").read_text().split()[0])

        os.kill(postmaster, signal.SIGKILL)
        while server.is_running():
            time.sleep(0.01)
        folder = server.start()

        assert _run_sql(folder, "SELECT id FROM kept") == [(7,)]
        assert _run_sql(folder, "SHOW fsync") == [("on",)]
        assert _run_sql(folder, "SHOW data_checksums") == [("on",)]
        assert _run_sql(folder, "SHOW listen_addresses") == [("",)]
    finally:
        assert server.stop()
    assert not server.is_running()
    assert not server.stop()


def test_what_was_never_started_is_stopped_already(tmp_path: Path) -> None:
    """As in a fresh clone, where a demo is refused before it makes anything."""
    assert not EmbeddedServer(tmp_path / "nowhere" / "pg").stop()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "Connection refused"),
        ({"DATABASE_URL": "mysql://nobody@127.0.0.1/x"}, "must start with postgresql://"),
        ({"DATABASE_URL": "postgresql://u:p@host:port/x"}, "cannot be read"),
        ({"DEBUG": "0"}, "SECRET_KEY must be set"),
        ({"DEBUG": "0", "SECRET_KEY": "k" * 60}, "DATABASE_URL must be set"),
        ({"DEBUG": "0", "SECRET_KEY": "k" * 60, "BILLING_CLOCK": "2026-01-01"}, "BILLING_CLOCK"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(environment: dict[str, str], said: str) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "showmigrations"],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
