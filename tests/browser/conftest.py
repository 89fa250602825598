"""A real server on the demo's data, the system's Chromium, and people who are signed in."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.browser.office import Office

try:
    import axe_playwright_python
    import playwright

    IS_INSTALLED = bool(axe_playwright_python and playwright)
except ImportError:  # `make test-browser` installs them.
    IS_INSTALLED = False

collect_ignore_glob = [] if IS_INSTALLED else ["test_*.py"]
PASSWORD = "demo-password"
SERVED_SECONDS = 120
MADE_AT = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)  # The demo's last month is open then.
SERVED_AT = datetime(2026, 12, 3, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Launch the system's Chromium: no browser is downloaded."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium on the PATH: install Debian's package chromium")
    arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def office() -> Iterator[Office]:
    """Run the demo in a folder of its own, and serve it on the third day of the next month.

    The days are set, so that pages and pictures are the same whenever it runs. BROWSER_URL names a
    server that runs so already.
    """
    month, clock = f"{MADE_AT:%Y-%m}", SERVED_AT.isoformat()
    if running := os.environ.get("BROWSER_URL"):
        yield Office(running.rstrip("/"), {"BILLING_CLOCK": clock}, month, SERVED_AT)
        return
    folder = Path(tempfile.mkdtemp(prefix="office-"))
    folder.chmod(0o755)  # As root, the database runs as a user of its own.
    environment = {"LOCAL_DIR": str(folder), "DEBUG": "1"}
    environment["BILLING_CLOCK"] = MADE_AT.isoformat()
    port = str(_free_port())
    _run(environment, "demo", "--port", port, "--no-serve")
    _run(environment, "embedded_db", "start")
    environment["BILLING_CLOCK"] = clock
    with (folder / "told.log").open("wb") as log:
        command = [sys.executable, "manage.py", "serve", "--port", port]
        server = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_served(server, folder / "told.log")
            yield Office(f"http://127.0.0.1:{port}", environment, month, SERVED_AT)
        finally:
            server.terminate()
            server.wait(timeout=30)
            _run(environment, "embedded_db", "stop")
            shutil.rmtree(folder, ignore_errors=True)


def _run(environment: dict[str, str], *words: str) -> None:
    command = [sys.executable, "manage.py", *words]
    env = {**os.environ, **environment}
    subprocess.run(command, cwd=settings.BASE_DIR, env=env, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_served(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SERVED_SECONDS
    while "Ctrl-C stops" not in log.read_text():
        assert server.poll() is None, log.read_text()[-2_000:]
        assert time.monotonic() < deadline, "the server did not come up"
        time.sleep(0.5)


@pytest.fixture
def signed_in(office: Office, browser: Any) -> Iterator[Callable[[str], Any]]:
    """Return pages of people at the home page; nothing may fail in them behind their backs."""
    faults: list[str] = []

    def sign_in(username: str) -> Any:
        context = browser.new_context(
            base_url=office.address, viewport={"width": 1280, "height": 860}
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "response",
            lambda one: faults.append(f"{one.status} {one.url}") if one.status >= 500 else None,
        )
        page.goto("/admin/")
        page.get_by_label("Username").fill(username)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/")
        return page

    yield sign_in
    for context in browser.contexts:
        context.close()
    assert faults == []
