"""Imports: each line once, wherever a run was cut off; what was refused can be found and mended."""

import csv
import gzip
import hashlib
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import worker_user
from metering import tasks
from metering.imports import FileFormat
from metering.models import ImportedLine, ImportRun, MeterEvent
from metering.selectors.imports import lines_file
from metering.services import imports, uploads
from metering.services.imports import ImportFile, import_stream, start_import
from metering.services.uploads import upload_file
from tests.metering.builders import a_customer, a_meter

pytestmark = pytest.mark.django_db
_FILE = ImportFile("events.jsonl", FileFormat.JSONL, "ab" * 32)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch, at: datetime, tmp_path: Path) -> None:
    monkeypatch.setattr(imports, "BATCH", 3)
    monkeypatch.setattr("billing_project.kernel.clock.now", lambda: at)
    a_customer(at)
    a_meter(at)


def _event(identifier: str, **changes: Any) -> dict[str, Any]:
    return {
        "event_name": "llm_request", "identifier": identifier, "customer": "acme",
        "timestamp": "2026-11-20T10:00:00Z", "properties": {"model": "haiku", "tokens": "5"},
        **changes,
    }  # fmt: skip


def _lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def _run(content: bytes, at: datetime, file: ImportFile = _FILE) -> ImportRun:
    run = start_import(file=file, by=worker_user(), at=at)
    return import_stream(run=run, stream=io.BytesIO(content), now=lambda: at)


def test_every_line_is_counted_under_what_became_of_it(at: datetime) -> None:
    content = _lines(
        _event("e1"), _event("e2"), _event("e1"), _event("e2", properties={"tokens": "6"}),
        _event("e3", customer="nobody"), _event("e4", properties={"tokens": "-1"}),
    ) + b"nonsense\n"  # fmt: skip

    run = _run(content, at)

    assert (run.state, run.record_count, run.line_count) == ("finished", 7, 7)
    assert (run.accepted_count, run.duplicate_count, run.conflict_count) == (2, 1, 1)
    assert (run.quarantined_count, run.rejected_count) == (1, 2)
    found = {line.line: line.code for line in ImportedLine.objects.all()}
    assert found == {
        4: "identifier_conflict", 5: "unknown_customer", 6: "invalid_value", 7: "invalid_value",
    }  # fmt: skip
    assert ImportedLine.objects.get(line=7).content == "nonsense"
    assert AuditEntry.objects.filter(subject=f"importrun:{run.pk}").count() == 2


def test_a_run_that_was_cut_off_goes_on_behind_its_last_batch(at: datetime) -> None:
    content = _lines(*(_event(f"e{i}") for i in range(10)))
    run = start_import(file=_FILE, by=worker_user(), at=at)
    import_stream(run=run, stream=io.BytesIO(content), now=lambda: at, on_batch=lambda _: False)
    assert MeterEvent.objects.count() == 3

    again = _run(content, at)

    assert again.pk == run.pk
    assert (again.accepted_count, again.duplicate_count) == (10, 0)
    assert MeterEvent.objects.count() == 10


def test_a_batch_of_long_lines_is_shorter(at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _lines(*(_event(f"e{i}") for i in range(5)))
    monkeypatch.setattr(imports, "BATCH_BYTES", len(content) // 3)
    run = start_import(file=_FILE, by=worker_user(), at=at)
    lines: list[int] = []

    def note(now: ImportRun) -> bool:
        lines.append(now.line_count)
        return True

    run = import_stream(run=run, stream=io.BytesIO(content), now=lambda: at, on_batch=note)

    assert lines == [2, 4, 5]
    assert (run.accepted_count, run.byte_offset) == (5, len(content))


def test_a_compressed_run_goes_on_too(at: datetime) -> None:
    content = gzip.compress(_lines(*(_event(f"e{i}") for i in range(10))))
    run = start_import(file=_FILE, by=worker_user(), at=at)
    import_stream(run=run, stream=io.BytesIO(content), now=lambda: at, on_batch=lambda _: False)

    assert _run(content, at).accepted_count == 10


def test_a_batch_that_fails_moves_nothing(at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _lines(*(_event(f"e{i}") for i in range(6)))
    run = start_import(file=_FILE, by=worker_user(), at=at)

    def fail(*args: object) -> None:
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(imports, "_move", fail)
        with pytest.raises(DatabaseError), transaction.atomic():
            import_stream(run=run, stream=io.BytesIO(content), now=lambda: at)
    assert MeterEvent.objects.count() == 0

    assert _run(content, at).accepted_count == 6


def test_a_finished_file_sent_again_is_duplicates(at: datetime) -> None:
    content = _lines(*(_event(f"e{i}") for i in range(4)))
    first = _run(content, at)

    second = _run(content, at)

    assert second.pk != first.pk
    assert (second.accepted_count, second.duplicate_count) == (0, 4)
    assert not second.lines.exists()


def test_two_processes_do_not_share_a_run(at: datetime) -> None:
    content = _lines(*(_event(f"e{i}") for i in range(10)))
    stale = start_import(file=_FILE, by=worker_user(), at=at)
    import_stream(run=stale, stream=io.BytesIO(content), now=lambda: at, on_batch=lambda _: False)

    with pytest.raises(Conflict):
        import_stream(run=stale, stream=io.BytesIO(content), now=lambda: at)


def test_older_use_needs_its_reason_and_is_audited(at: datetime) -> None:
    old = _event("e1", timestamp="2026-01-05T00:00:00Z")
    since = at - timedelta(days=365)
    assert _run(_lines(old), at).rejected_count == 1
    with pytest.raises(Invalid):
        start_import(file=_FILE, history_since=since, by=worker_user(), at=at)

    run = start_import(
        file=_FILE, history_since=since, reason="moved from the old system", by=worker_user(), at=at
    )
    run = import_stream(run=run, stream=io.BytesIO(_lines(old)), now=lambda: at)

    assert run.accepted_count == 1
    entry = AuditEntry.objects.get(action="import_events", subject=f"importrun:{run.pk}")
    assert entry.facts["history_since"] == since.isoformat()
    assert entry.reason == "moved from the old system"


def test_an_open_run_keeps_its_bounds(at: datetime) -> None:
    start_import(file=_FILE, by=worker_user(), at=at)

    with pytest.raises(Conflict):
        start_import(
            file=_FILE, history_since=at - timedelta(days=99), reason="r", by=worker_user(), at=at
        )


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x1f\x8bbroken"])
def test_a_file_that_cannot_be_read_fails_its_run(content: bytes, at: datetime) -> None:
    run = _run(content, at, ImportFile("events.csv", FileFormat.CSV, "cd" * 32))

    assert run.state == "failed"
    assert run.fault


def test_a_compressed_file_cut_short_keeps_what_was_whole(at: datetime) -> None:
    content = gzip.compress(_lines(*(_event(f"e{i}") for i in range(4000))))

    run = _run(content[: len(content) // 2], at)

    assert run.state == "failed"
    assert run.accepted_count == MeterEvent.objects.count() > 0


def test_postgresql_keeps_the_counts_and_the_lines(at: datetime) -> None:
    run = _run(b"nonsense\n", at)

    for statement in (
        "UPDATE import_run SET accepted_count = accepted_count + 1",
        "UPDATE import_run SET name = 'other'",
        "UPDATE import_run SET state = 'running'",
        "DELETE FROM import_run",
        "DELETE FROM imported_line",
        "UPDATE imported_line SET detail = ''",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert run.rejected_count == 1


class _Command:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, content: bytes, name: str = "events.jsonl", *args: str) -> str:
        path = self.folder / name
        path.write_bytes(content)
        out = io.StringIO()
        call_command("import_events", str(path), *args, stdout=out)
        return out.getvalue()


def test_the_command_imports_and_says_what_was_refused(tmp_path: Path) -> None:
    command = _Command(tmp_path)
    assert "1 line: 1 accepted" in command(_lines(_event("e1")))

    with pytest.raises(SystemExit) as stopped:
        command(_lines(_event("e1"), _event("e2")) + b"nonsense\n", "more.jsonl")

    assert stopped.value.code == 1
    row = json.loads((tmp_path / "more.jsonl.errors.jsonl").read_text())
    assert (row["line"], row["code"], row["content"]) == (3, "invalid_value", "nonsense")


def test_the_command_writes_its_errors_as_csv_too(tmp_path: Path) -> None:
    errors = tmp_path / "errors.csv"
    content = b"event_name,identifier,customer,tokens\nllm_request,e1,nobody,1\n"

    _Command(tmp_path)(content, "a.csv", "--errors", str(errors))  # Quarantined is not refused.

    rows = list(csv.DictReader(io.StringIO(errors.read_text())))
    assert [(row["line"], row["status"]) for row in rows] == [("2", "quarantined")]


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    for name in ("a.txt", "b.csv"):
        with pytest.raises(CommandError):
            _Command(tmp_path)(b"x,y\n", name)
    with pytest.raises(CommandError):
        call_command("import_events", str(tmp_path / "missing.csv"))
    with pytest.raises(CommandError):
        _Command(tmp_path)(_lines(_event("e1")), "events.jsonl", "--history", "2026-01-01")


def test_an_upload_waits_for_the_worker_and_its_file_goes_when_it_is_read(
    at: datetime, tmp_path: Path, settings: Any, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IMPORT_DIR = tmp_path / "imports"
    monkeypatch.setattr(tasks, "async_task", lambda name: name)
    upload = SimpleUploadedFile("../events.jsonl", _lines(_event("e1"), _event("e2")))

    run = upload_file(upload=upload, history_since=None, reason="", by=engineer, at=at)
    assert (run.state, run.name) == ("waiting", "events.jsonl")
    assert tasks.run_imports() == 2

    run.refresh_from_db()
    assert (run.state, run.accepted_count) == ("finished", 2)
    assert list(settings.IMPORT_DIR.iterdir()) == []
    assert tasks.run_imports() == 0


def test_an_upload_takes_over_what_a_shell_left_unfinished(
    at: datetime, tmp_path: Path, settings: Any, engineer: User
) -> None:
    settings.IMPORT_DIR = tmp_path
    content = _lines(*(_event(f"e{i}") for i in range(7)))
    file = ImportFile("events.jsonl", FileFormat.JSONL, hashlib.sha256(content).hexdigest())
    run = start_import(file=file, by=worker_user(), at=at)
    import_stream(run=run, stream=io.BytesIO(content), now=lambda: at, on_batch=lambda _: False)

    upload = SimpleUploadedFile("events.jsonl", content)
    again = upload_file(upload=upload, history_since=None, reason="", by=engineer, at=at)
    tasks.run_imports()

    again.refresh_from_db()
    assert (again.pk, again.state, again.accepted_count) == (run.pk, "finished", 7)


def test_an_upload_that_fails_does_not_hold_up_the_next(
    at: datetime, tmp_path: Path, settings: Any, engineer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IMPORT_DIR = tmp_path
    monkeypatch.setattr(tasks, "async_task", lambda name: name)
    runs = [
        upload_file(
            upload=SimpleUploadedFile("events.jsonl", _lines(_event(name))),
            history_since=None, reason="", by=engineer, at=at,
        )
        for name in ("e1", "e2")
    ]  # fmt: skip

    def fail_first(*, run: ImportRun, **rest: Any) -> ImportRun:
        if run.pk == runs[0].pk:
            raise DatabaseError("cannot be stored")
        return import_stream(run=run, **rest)

    monkeypatch.setattr(uploads, "import_stream", fail_first)
    assert tasks.run_imports() == 1

    states = ImportRun.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["waiting", "finished"]


def test_refused_lines_are_no_formulas_in_a_spreadsheet(at: datetime) -> None:
    run = _run(b'=HYPERLINK("http://x";"y")\n', at)

    rows = list(csv.DictReader(io.StringIO(b"".join(lines_file(run, FileFormat.CSV)).decode())))

    assert rows[0]["content"] == '\'=HYPERLINK("http://x";"y")'
    assert rows[0]["line"] == "1"


def test_an_upload_whose_file_is_gone_says_so(
    at: datetime, tmp_path: Path, settings: Any, engineer: User
) -> None:
    settings.IMPORT_DIR = tmp_path
    upload = SimpleUploadedFile("events.jsonl", b"{}")
    run = upload_file(upload=upload, history_since=None, reason="", by=engineer, at=at)
    (tmp_path / run.stored_name).unlink()

    tasks.run_imports()

    run.refresh_from_db()
    assert run.state == "failed"
    assert "gone" in run.fault


def test_a_file_is_uploaded_and_its_refused_lines_are_downloaded(
    at: datetime, tmp_path: Path, settings: Any, engineer: User
) -> None:
    settings.IMPORT_DIR = tmp_path
    client = Client()
    client.force_login(engineer)
    address = reverse("admin:metering_importrun_upload")
    nonce = client.get(address).context["form"]["nonce"].value()

    sent = SimpleUploadedFile("events.jsonl", b"nonsense\n")
    said = {"file": sent, "reason": "", "history_since": "", "nonce": nonce}
    response = client.post(address, said)

    run = ImportRun.objects.get()
    page = reverse("admin:metering_importrun_change", args=[run.pk])
    assert (response.status_code, response["Location"]) == (302, page)
    assert client.get(page)["Refresh"] == "3"
    tasks.run_imports()
    assert "Refresh" not in client.get(page)
    lines = client.get(reverse("admin:metering_importrun_lines_jsonl", args=[run.pk]))
    assert json.loads(lines.getvalue())["content"] == "nonsense"


def test_a_file_of_another_kind_is_refused_and_the_form_stays(engineer: User) -> None:
    client = Client()
    client.force_login(engineer)

    address = reverse("admin:metering_importrun_upload")
    nonce = client.get(address).context["form"]["nonce"].value()
    sent = SimpleUploadedFile("events.xlsx", b"x")
    response = client.post(address, {"file": sent, "reason": "", "nonce": nonce})

    assert response.status_code == 422
    assert ".csv or .jsonl" in str(next(iter(get_messages(response.wsgi_request))))


def test_who_may_not_import_gets_no_form(auditor: User) -> None:
    client = Client()
    client.force_login(auditor)

    assert client.get(reverse("admin:metering_importrun_upload")).status_code == 403


def test_an_upload_above_the_bound_is_refused(engineer: User, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 1000
    client = Client()
    client.force_login(engineer)

    response = client.post(
        reverse("admin:metering_importrun_upload"),
        {"file": SimpleUploadedFile("events.jsonl", b"x" * 2000), "reason": ""},
    )

    assert response.status_code in {400, 413}
    assert not ImportRun.objects.exists()


def test_a_stranger_fills_no_disk(client: Client) -> None:
    """The login page takes forms from anybody, and Django reads a file in them first."""
    login = reverse("admin:login")

    def status(size: int) -> int:
        file = SimpleUploadedFile("events.jsonl", b"x" * size)
        return client.post(login, {"username": "a", "password": "b", "file": file}).status_code

    assert status(1000) == 200
    assert status(1024 * 1024 + 1) in {400, 413}
