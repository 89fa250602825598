"""Backfills by the worker: taken up where it was killed, once, visible, refused with words."""

import gzip
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from billing_project.kernel.approvals import approve
from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.keys import create_api_key
from invoicing import tasks
from invoicing.services import backfill_work
from invoicing.services.backfill_work import work_on_backfills
from invoicing.services.backfills import preview_backfill
from metering.models import (
    Backfill,
    BackfillError,
    BackfillEvent,
    BackfillRun,
    BackfillWork,
    Customer,
    MeterEvent,
    UsageWindow,
)
from metering.selectors import backfills as selectors
from metering.selectors.backfills import newest_proposal
from metering.services import backfill_files, backfill_runs, backfilling
from metering.services.backfill_runs import MAX_ATTEMPTS, held_run, start_upload, start_work
from metering.services.backfills import discard_backfill, start_backfill
from revrec.services.recognise import recognise_customer
from tests.invoicing.builders import DAY, END, START, Shop, rate, subscribed, use
from tests.metering.builders import an_event, send
from tests.metering.late import a_person

pytestmark = pytest.mark.django_db
LATE = END + 3 * DAY
_HEAD = "event_name,identifier,customer,timestamp,model,output_tokens\n"


@pytest.fixture
def backfill(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backfill:
    """Return an open backfill of five days, in which one event is stored."""
    monkeypatch.setattr(settings, "IMPORT_DIR", str(tmp_path))
    subscribed(shop, overage_price=Decimal("0.01"), included_credits=Decimal(0), fee_minor=0)
    use(shop, 1000, START + DAY, "req-1")
    return start_backfill(
        customer=Customer.objects.get(), start_at=START, end_at=START + 5 * DAY,
        reason="the collector lost some", by=shop.maker, at=LATE,
    )  # fmt: skip


def _file(count: int, bad: int = -1, name: str = "usage.csv") -> SimpleUploadedFile:
    text = _HEAD + "".join(
        f"llm_request,csv-{i},acme,2026-10-22T00:00:00Z,small,{'x' if i == bad else 2}\n"
        for i in range(count)
    )
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    return SimpleUploadedFile(name, content)


def _upload(shop: Shop, backfill: Backfill, count: int, **more: Any) -> BackfillRun:
    return start_upload(backfill=backfill, upload=_file(count, **more), by=shop.maker, at=LATE)


def _ask(shop: Shop, backfill: Backfill, kind: BackfillWork, reason: str = "") -> BackfillRun:
    run = start_work(backfill=backfill, kind=kind, reason=reason, by=shop.maker, at=LATE)
    assert run is not None
    return run


def _work(at: datetime = LATE, *, is_over: bool = False) -> int:
    return work_on_backfills(now=lambda: at, is_over=_after_one() if is_over else lambda: False)


def _after_one() -> Any:
    asked = iter([False])
    return lambda: next(asked, True)


def _approved(shop: Shop, backfill: Backfill) -> None:
    _ask(shop, backfill, BackfillWork.SUBMIT)
    _work()
    proposal = newest_proposal(backfill)
    assert proposal is not None
    approve(change=proposal.policy_change, by=shop.approver, reason="measured", at=LATE)


def _findings(shop: Shop) -> list[object]:
    rate(shop, "acme", LATE)
    recognise_customer(customer_id=Customer.objects.get().pk, by=shop.worker, at=LATE + 9 * DAY)
    known = {"kernel.commits_are_durable"}
    return [f for result in run_checks() for f in result.findings if result.name not in known]


def test_a_large_range_is_previewed_by_the_worker(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    _upload(shop, backfill, 10)
    _work()
    at_once = preview_backfill(backfill=backfill, by=shop.maker, at=LATE).effect()
    monkeypatch.setattr(selectors, "PREVIEWED_AT_ONCE", 10)  # 10 are uploaded, 1 is stored.
    monkeypatch.setattr("billing_project.kernel.clock.now", lambda: LATE)
    monkeypatch.setattr(backfill_runs, "_TELL_NANOSECONDS", 0)
    token = create_api_key(name="app", scopes=["admin"], at=LATE)[1]
    headers, api = {"Authorization": f"Bearer {token}"}, f"/v1/backfills/{backfill.pk}/preview"
    client.force_login(a_person("eli.back", "engineering"))
    address = reverse("admin:metering_backfill_preview", args=[backfill.pk])
    assert "the worker previews them" in client.get(address).content.decode()
    assert client.get(api, headers=headers).json()["code"] == "preview_takes_long"

    assert client.post(address).status_code == 302
    asked = client.post(api, headers=headers)  # The same run.
    assert (asked.status_code, asked.json()["run"]["kind"]) == (202, "preview")
    waiting = client.get(address)
    assert waiting["Refresh"]
    assert "bo-progress" in waiting.content.decode()
    steps: list[str] = []
    monkeypatch.setattr(backfill_work, "telling", _noting(steps))
    assert _work() == 1

    run = backfill.runs.get(kind="preview")
    assert (run.state, run.effect) == ("finished", at_once)
    assert steps[0] == "rating the range as it stands"
    assert steps[-1] == "rating what it would change"
    assert MeterEvent.objects.count() == 1
    seen = client.get(api, headers=headers).json()
    assert (seen.pop("as_of"), seen) == (f"{LATE:%Y-%m-%dT%H:%M:%SZ}", at_once)
    shown = client.get(address).content.decode()
    assert "as of" in shown
    assert "Preview again" in shown
    told = client.get(object_url(backfill)).content.decode()
    assert "preview: done; the button Preview shows it." in told
    _upload(shop, backfill, 11)
    _work()
    assert client.get(api, headers=headers).status_code == 409  # What is uploaded is not in it.
    assert _findings(shop) == []


def _noting(steps: list[str]) -> Any:
    @contextmanager
    def telling(run: BackfillRun, now: object) -> Any:
        yield lambda step, done, total: steps.append(step)

    return telling


@pytest.mark.parametrize("state", ["applied", "discarded"])
def test_what_is_over_is_not_previewed(shop: Shop, backfill: Backfill, state: str) -> None:
    if state == "discarded":
        discard_backfill(backfill=backfill, reason="no", by=shop.maker, at=LATE)
    else:
        _approved(shop, backfill)
        _ask(shop, backfill, BackfillWork.APPLY)
        _work()

    with pytest.raises(Conflict, match="nothing of it is to come"):
        _ask(shop, backfill, BackfillWork.PREVIEW)


def test_a_file_goes_on_behind_its_last_chunk(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_files, "_AT_ONCE", 4)
    run = _upload(shop, backfill, 10, bad=6)

    seen = []
    for _ in range(4):
        _work(is_over=True)
        run.refresh_from_db()
        seen.append((run.state, run.accepted_count, run.refused_count))

    # Lines 1 to 4, then 5 to 8 with a fault on one, then 9 and 10; then the file ends.
    assert seen == [("running", 4, 0), ("running", 7, 1), ("running", 9, 1), ("finished", 9, 1)]
    assert run.percent == 100
    assert not list(Path(backfill_files.path_of(run)).parent.iterdir())
    fault = BackfillError.objects.get()
    assert (fault.line, fault.identifier, fault.code) == (8, "csv-6", "invalid_value")
    assert _work() == 0


@pytest.mark.parametrize("name", ["usage.csv", "usage.csv.gz"])
def test_a_chunk_that_fails_moves_nothing_and_is_tried_later(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(backfill_files, "_AT_ONCE", 4)
    run = _upload(shop, backfill, 10, name=name)
    _work(is_over=True)

    with monkeypatch.context() as patch:
        patch.setattr(BackfillRun, "save", _break)
        _work()

    run.refresh_from_db()
    assert (run.state, run.accepted_count, run.fault) == ("waiting", 4, "DatabaseError: gone")
    assert BackfillEvent.objects.count() == 4
    assert _work() == 0  # Its time has not come.
    assert _work(LATE + timedelta(seconds=5)) == 1
    run.refresh_from_db()
    assert (run.state, run.accepted_count, run.fault) == ("finished", 10, "")


def _break(*args: object, **kwargs: object) -> None:
    if kwargs.get("update_fields") is None:
        raise DatabaseError("gone")


def test_what_always_fails_waits_longer_each_time_and_is_given_up(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _upload(shop, backfill, 1)
    other = start_backfill(
        customer=Customer.objects.get(), start_at=START, end_at=START + DAY, reason="second",
        by=shop.maker, at=LATE,
    )  # fmt: skip
    second = start_upload(backfill=other, upload=_file(1), by=shop.maker, at=LATE)
    read = backfill_files.read_upload

    def fail_first(run: BackfillRun, **more: Any) -> BackfillRun:
        if run.pk == first.pk:
            raise RuntimeError("out of order")
        return read(run, **more)

    monkeypatch.setattr(backfill_work, "read_upload", fail_first)
    at, waits = LATE, []
    for _ in range(MAX_ATTEMPTS):
        assert _work(at) >= 1
        first.refresh_from_db()
        waits.append(None if first.not_before is None else (first.not_before - at).seconds)
        at = first.not_before or at

    second.refresh_from_db()
    assert second.state == "finished"  # Nobody stands in its way.
    assert waits == [5, 10, 20, 40, None]
    assert (first.state, first.fault) == ("failed", "RuntimeError: out of order")
    assert start_upload(backfill=backfill, upload=_file(1), by=shop.maker, at=at) != first


def test_a_run_that_kills_its_worker_is_given_up(shop: Shop, backfill: Backfill) -> None:
    run = _upload(shop, backfill, 1)
    for _ in range(MAX_ATTEMPTS):
        with held_run(run.pk, at=LATE) as held:  # Begun, and nothing came of it.
            assert held is not None
    _work()

    run.refresh_from_db()
    assert (run.state, run.fault) == ("failed", "stopped 5 times before anything was done")


def test_a_refusal_ends_the_run_with_its_words(shop: Shop, backfill: Backfill) -> None:
    _upload(shop, backfill, 3)
    _work()
    _approved(shop, backfill)
    run = _ask(shop, backfill, BackfillWork.APPLY)
    use(shop, 5, START + 2 * DAY, "late")

    _work()

    run.refresh_from_db()
    assert run.state == "failed"
    assert "have changed since the preview" in run.fault
    assert MeterEvent.objects.count() == 2
    backfill.refresh_from_db()
    assert backfill.state == "submitted"


def test_what_the_state_does_not_admit_is_refused_at_once(shop: Shop, backfill: Backfill) -> None:
    run = _upload(shop, backfill, 3, bad=1)
    assert start_upload(backfill=backfill, upload=_file(3, 1), by=shop.maker, at=LATE) == run
    with pytest.raises(Conflict, match=r"upload of backfill .* is not finished"):
        _ask(shop, backfill, BackfillWork.SUBMIT)
    _work()
    with pytest.raises(Conflict, match="1 line with faults"):
        _ask(shop, backfill, BackfillWork.SUBMIT)
    with pytest.raises(Conflict, match="only a submitted one"):
        _ask(shop, backfill, BackfillWork.APPLY)
    with pytest.raises(Conflict, match="only an applied one"):
        _ask(shop, backfill, BackfillWork.REVERT, "no")
    with pytest.raises(Invalid, match="needs its reason"):
        _ask(shop, backfill, BackfillWork.REVERT)
    with pytest.raises(Invalid, match="is called"):
        _upload(shop, backfill, 1, name="usage.xlsx")
    discard_backfill(backfill=backfill, reason="a bad line", by=shop.maker, at=LATE)
    with pytest.raises(Conflict, match="takes no lines"):
        _upload(shop, backfill, 1)


def test_the_page_shows_how_far_it_is_and_comes_again(shop: Shop, backfill: Backfill) -> None:
    client = Client()
    client.force_login(a_person("eli.back", "engineering"))
    page = reverse("admin:metering_backfill_change", args=[backfill.pk])
    OrmQ.objects.all().delete()

    sent = client.post(
        reverse("admin:metering_backfill_upload_lines", args=[backfill.pk]),
        {"file": _file(3, 1), "nonce": "n" * 20},
    )

    assert (sent.status_code, sent["Location"]) == (302, page)
    assert OrmQ.objects.count() == 1  # The worker is rung for.
    waiting = client.get(page)
    assert waiting["Refresh"] == "2"
    assert 'value="0">0%</progress>' in waiting.content.decode()
    busy = client.get(reverse("admin:metering_backfill_submit", args=[backfill.pk]))
    assert "is not finished" in busy.content.decode()
    tasks.work_backfills()
    done = client.get(page)
    assert "Refresh" not in done
    assert "2 events taken in, 0 repeated, 1 line with faults" in done.content.decode()
    assert "upload a mended file to a new one" in done.content.decode()


@pytest.mark.django_db(transaction=True)
def test_progress_is_seen_before_the_transaction_ends(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    _upload(shop, backfill, 30)
    _work()
    _approved(shop, backfill)
    _ask(shop, backfill, BackfillWork.APPLY)
    move, seen = backfilling._move, []

    def look(*args: Any) -> None:
        aside = connection.copy()
        with aside.cursor() as cursor:
            cursor.execute("SELECT state, step, done_count, total_count FROM backfill_run"
                           " ORDER BY id DESC LIMIT 1")  # fmt: skip
            seen.append(cursor.fetchone())
            cursor.execute("SELECT count(*) FROM meter_event")
            seen.append(cursor.fetchone()[0])
        aside.close()
        move(*args)

    monkeypatch.setattr(backfilling, "_move", look)
    assert _work() == 1

    assert seen == [("running", "correcting usage windows", 30, 31), 1]
    assert MeterEvent.objects.count() == 31
    assert _findings(shop) == []


@pytest.mark.parametrize("kind", [BackfillWork.PREVIEW, BackfillWork.SUBMIT])
@pytest.mark.django_db(transaction=True)
def test_a_trial_keeps_nobody_from_aggregating(
    shop: Shop, backfill: Backfill, monkeypatch: pytest.MonkeyPatch, kind: BackfillWork
) -> None:
    _upload(shop, backfill, 3)
    _work()
    _ask(shop, backfill, kind)
    use_of = {"model": "small", "output_tokens": "1"}
    send(LATE, an_event("waits", event_name="llm_request", timestamp=LATE, properties=use_of))
    move, waiting = backfilling._move, []

    def look(*args: Any) -> None:
        aside = connection.copy()
        with aside.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM event_batch WHERE aggregated_at IS NULL")
            waiting.append(cursor.fetchone()[0])
        aside.close()
        move(*args)

    monkeypatch.setattr(backfilling, "_move", look)
    assert _work() == 1

    # What waited was aggregated and committed before the trial, and is not locked while it lasts.
    assert waiting == [0]
    assert backfill.runs.get(kind=kind).state == "finished"


_KILLED = """
import os, signal, sys
import django
django.setup()
from datetime import datetime
from invoicing.services.backfill_work import work_on_backfills
from metering.services import backfilling, backfills
module, name = {"events": (backfilling, "store_events"), "end": (backfilling, "_record"),
                "lines": (backfills, "_store")}[sys.argv[1]]
act = getattr(module, name)
def act_and_die(*args):
    act(*args)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, act_and_die)
at = datetime.fromisoformat(sys.argv[2])
work_on_backfills(now=lambda: at, is_over=lambda: False)
"""


@pytest.mark.django_db(transaction=True)
def test_killed_anywhere_it_is_done_once(shop: Shop, backfill: Backfill) -> None:
    _upload(shop, backfill, 30)
    _kill_worker("lines")
    assert BackfillEvent.objects.count() == 0
    assert _work() == 1
    assert BackfillEvent.objects.count() == 30
    _approved(shop, backfill)
    run = _ask(shop, backfill, BackfillWork.APPLY)
    for place in ("events", "end"):
        _kill_worker(place)
        run.refresh_from_db()
        assert (run.state, MeterEvent.objects.count()) == ("running", 1)
        assert sum(window.quantity for window in UsageWindow.objects.all()) == 1000

    assert _work() == 1
    assert _work() == 0

    run.refresh_from_db()
    assert (run.state, run.attempt_count) == ("finished", 3)
    assert MeterEvent.objects.count() == 31
    assert sum(window.quantity for window in UsageWindow.objects.all()) == 60
    assert _findings(shop) == []
    _ask(shop, backfill, BackfillWork.REVERT, "the first count was right")
    assert _work() == 1
    assert sum(window.quantity for window in UsageWindow.objects.all()) == 1000
    assert _findings(shop) == []


def _kill_worker(place: str) -> None:
    environment = {
        **os.environ,
        "EMBEDDED_PG_NAME": str(connection.settings_dict["NAME"]),
        "IMPORT_DIR": settings.IMPORT_DIR,
    }
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, place, LATE.isoformat()],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
