"""The processes that serve: what each is given."""

import sys
from pathlib import Path

import pytest
from django.conf import settings

from billing_project.console.processes import running, server_environment


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
