"""The processes that serve: what the server lets through to Django."""

import sys
from pathlib import Path

import pytest
from django.conf import settings
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]

from billing_project.console.processes import running, server_command, server_environment


def _settings() -> Config:
    config = Config()
    _, _, module, *arguments = server_command(8000)
    assert module == "gunicorn"
    given = vars(config.parser().parse_args(arguments))
    for name, value in given.items():
        if name in config.settings and value is not None:
            config.set(name, value)
    return config


def test_a_long_address_reaches_django_which_answers_a_problem() -> None:
    target = f"/v1/usage?customer={'x' * 5000}"
    sent = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    (request,) = RequestParser(_settings(), [sent], ("127.0.0.1", 1))

    assert request.uri == target


def test_the_server_listens_on_this_machine_only() -> None:
    assert _settings().address == [("127.0.0.1", 8000)]


def test_the_workers_of_a_server_share_a_fresh_folder_for_their_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "LOCAL_DIR", tmp_path)
    folder = tmp_path / "metrics" / "8000"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").write_bytes(b"of an earlier run")

    environment = server_environment(8000)

    assert environment["PROMETHEUS_MULTIPROC_DIR"] == str(folder)
    assert list(folder.iterdir()) == []


def test_a_process_gets_variables_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "LOCAL_DIR", tmp_path)
    show = "import os; print(os.environ['SHARED'], 'PATH' in os.environ)"

    with running([sys.executable, "-c", show], "shown", {"SHARED": "here"}) as process:
        process.wait(timeout=10)

    assert (tmp_path / "shown.log").read_text() == "here True\n"
