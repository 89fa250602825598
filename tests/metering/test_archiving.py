"""Months leave for a verified file, stay traceable, are sealed, and come back as they were."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import BillingError, Conflict, NotFound
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.period import Period
from metering.archive_file import Wanted, find_rows, groups_of, sha256_of
from metering.models import (
    ArchivedMonth,
    Customer,
    EventIdentity,
    MeterEvent,
    QuarantinedEvent,
    UsageWindow,
)
from metering.selectors.archive import MonthArchived, month_named
from metering.selectors.events import (
    effective_properties,
    events_of_window,
    find_event,
    windows_of_event,
)
from metering.selectors.explaining import explain_event
from metering.selectors.usage import usage
from metering.selectors.windows import period_quantity
from metering.services import archiving, storing
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.archiving import (
    archivable_months,
    archive_month,
    drop_detached,
    reasons_not_to_archive,
    restore_month,
)
from metering.services.backfills import start_backfill
from metering.services.capture import capture_events
from metering.services.quarantine import dismiss_quarantined, replay_quarantine
from metering.services.replaying import chunks, replay_chunk, replay_span
from tests.metering.builders import a_customer, a_meter, an_event, send, statuses
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db
JANUARY = datetime(2026, 1, 20, 12, tzinfo=UTC)
MONTH = month_named(date(2026, 1, 1))
EXACT = {"model": "haiku", "tokens": Decimal("1.50")}


@pytest.fixture(autouse=True)
def _folder(settings: Any, tmp_path: Path, at: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ARCHIVE_DIR = tmp_path / "archive"
    monkeypatch.setattr("billing_project.kernel.clock.now", lambda: at)
    storing.forget_months()


@pytest.fixture
def customer(at: datetime, engineer: User) -> Customer:
    """Return a customer with events of January, some adjusted, one batch over its end."""
    customer = a_customer(JANUARY)
    for aggregation in ("sum", "count", "max", "last", "unique"):
        a_meter(JANUARY, aggregation)
    send(JANUARY, an_event("e1", properties=EXACT), an_event("e2", workspace="prod"))
    send(JANUARY, an_event("e3"), an_event("e4", timestamp=JANUARY - timedelta(days=2)))
    end = datetime(2026, 2, 1, tzinfo=UTC)
    send(end, an_event("edge-1", timestamp=end - timedelta(hours=1)), an_event("edge-2"))
    aggregate_batches(at=end)
    amend_event(
        customer=customer, identifier="e2", properties={"model": "opus", "tokens": "7"},
        reason="x", by=engineer, at=end,
    )  # fmt: skip
    cancel_event(customer=customer, identifier="e3", reason="x", by=engineer, at=end)
    send(at, an_event("now"))
    aggregate_batches(at=at)
    _execute("SET CONSTRAINTS ALL IMMEDIATE")
    return customer


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _archived(by: User, at: datetime) -> ArchivedMonth:
    return archive_month(month=MONTH, by=by, at=at)


def _path(archived: ArchivedMonth, settings: Any) -> Path:
    return Path(settings.ARCHIVE_DIR) / archived.file_name


def _findings() -> list[str]:
    return [
        f"{result.name} {finding.subject} {finding.message}"
        for result in run_checks()
        for finding in result.findings
    ]


def test_a_month_leaves_whole_and_the_books_hold(
    customer: Customer, engineer: User, at: datetime, settings: Any
) -> None:
    before = dict(UsageWindow.objects.values_list("pk", "quantity"))

    archived = _archived(engineer, at)

    path = _path(archived, settings)
    assert (archived.event_count, archived.file_sha256) == (5, sha256_of(path))
    rows = [row for group in groups_of(path) for row in group.to_pylist()]
    assert [row["identifier"] for row in rows] == ["e1", "e2", "e3", "e4", "edge-1"]
    assert rows[0]["properties"] == '{"model": "haiku", "tokens": 1.50}'
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["events"]["count"] == 5
    assert manifest["meters"]["tokens_sum"][0].rstrip("0") == "208.5"
    assert [part["event_count"] for part in manifest["partial_batches"]] == [1]
    assert set(MeterEvent.objects.values_list("identifier", flat=True)) == {"edge-2", "now"}
    assert EventIdentity.objects.count() == 7
    assert dict(UsageWindow.objects.values_list("pk", "quantity")) == before
    assert _findings() == []
    assert AuditEntry.objects.get(action="archive_month").facts["event_count"] == 5


def test_an_archived_event_is_found_with_what_counts_of_it(
    customer: Customer, engineer: User, at: datetime
) -> None:
    live = find_event(customer, "e1")
    assert live is not None
    windows = windows_of_event(live)
    _archived(engineer, at)

    event = find_event(customer, "e1")

    assert event is not None
    for field in ("pk", "customer_id", "workspace_id", "timestamp", "received_at", "batch_id"):
        assert getattr(event, field) == getattr(live, field)
    assert event.properties == EXACT
    assert str(event.properties["tokens"]) == "1.50"
    assert windows_of_event(event) == windows
    amended, cancelled = find_event(customer, "e2"), find_event(customer, "e3")
    assert amended is not None
    assert cancelled is not None
    assert effective_properties(amended) == {"model": "opus", "tokens": "7"}
    assert effective_properties(cancelled) is None
    assert find_event(customer, "e9") is None


def test_an_archived_event_is_explained_as_before_and_by_where_it_is(
    customer: Customer, engineer: User, at: datetime, settings: Any
) -> None:
    names = ("e1", "e2", "e3", "now")
    live = [explain_event("acme", name) for name in names]
    archived = _archived(engineer, at)

    told = [explain_event("acme", name) for name in names]

    for before, after in zip(live, told, strict=True):
        assert (after.state, after.summary) == (before.state, before.summary)
        assert (after.windows, after.goes_on) == (before.windows, before.goes_on)
        others = [(step.name, step.text) for step in after.steps if step.name != "archived"]
        assert others == [(step.name, step.text) for step in before.steps]
    [where] = [step for step in told[0].steps if step.name == "archived"]
    assert where.subject == archived
    assert "archived" not in {step.name for step in told[-1].steps}
    _path(archived, settings).unlink()
    lost = explain_event("acme", "e1")
    assert (lost.state, lost.goes_on) == ("archived", False)
    assert "which is not in ARCHIVE_DIR" in lost.summary
    assert explain_event("acme", "now").goes_on


def test_archived_events_are_listed_among_the_others(
    customer: Customer, engineer: User, at: datetime, settings: Any
) -> None:
    a_customer(JANUARY, "other")
    send(JANUARY, an_event("o1", customer="other"), an_event("e5", event_name="embedding"))
    a_meter(JANUARY, code="embeddings", event_name="embedding")
    replay_quarantine(by=engineer, at=at)
    aggregate_batches(at=at)
    caller = Caller("usage:read")
    asked = (
        "",
        "&event_name=embedding",
        "&start=2026-01-20T00:00:00Z&end=2026-02-01T00:00:00Z",
        "&end=2026-01-01T00:00:00Z",
    )

    def walk(query: str, limit: int) -> list[Any]:
        """Follow the cursors to the end."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            answer = caller.get(f"events?customer=acme&limit={limit}{query}{more}").json()
            assert len(answer["data"]) <= limit
            found += answer["data"]
            cursor = answer["next_cursor"]
        return found

    live = [walk(query, 100) for query in asked]
    assert [len(rows) for rows in live] == [8, 1, 5, 0]
    archived = _archived(engineer, at)

    for limit in (1, 2, 100):
        assert [walk(query, limit) for query in asked] == live
    _path(archived, settings).unlink()
    lost = caller.get("events?customer=acme")
    assert (lost.status_code, lost.json()["code"]) == (409, "month_archived")
    recent = caller.get("events?customer=acme&start=2026-02-01T00:00:00Z")
    assert [row["identifier"] for row in recent.json()["data"]] == ["now", "edge-2"]


def test_the_events_of_an_archived_window_are_those_that_count(
    customer: Customer, engineer: User, at: datetime
) -> None:
    def told() -> list[list[tuple[object, ...]]]:
        return [
            [
                (event.pk, event.identifier, event.properties, event.is_adjusted)  # type: ignore[attr-defined]
                for event in events_of_window(window, limit)
            ]
            for window in UsageWindow.objects.order_by("pk")
            for limit in (1, 100)
        ]

    send(JANUARY, an_event("e6"), an_event("e7", timestamp=JANUARY + timedelta(seconds=1)))
    aggregate_batches(at=JANUARY)
    live = told()
    _archived(engineer, at)

    assert any(len(events) > 1 for events in live)
    assert told() == live


def test_an_archived_month_takes_no_more_but_knows_its_duplicates(
    customer: Customer, engineer: User, at: datetime
) -> None:
    _archived(engineer, at)
    events = [
        an_event("new", timestamp=JANUARY),
        an_event("e2", workspace="prod"),
        an_event("e2", workspace="prod", properties={"tokens": "5"}),
        an_event("unknown", customer="nobody", timestamp=JANUARY),
    ]

    result = capture_events(items=events, sender="t", at=at, since=JANUARY - timedelta(days=9))

    assert statuses(result, 4) == ["rejected", "duplicate", "conflict", "rejected"]
    assert {item.code for item in result.results if item.status == "rejected"} == {"period_closed"}
    with pytest.raises(DatabaseError), transaction.atomic():
        storing.ensure_partitions([JANUARY])


def test_what_would_change_or_misread_an_archived_month_is_refused(
    customer: Customer, engineer: User, at: datetime
) -> None:
    _archived(engineer, at)
    meters = {window.meter.code: window for window in UsageWindow.objects.filter(quantity__gt=0)}
    unique, biggest = meters["tokens_unique"], meters["tokens_sum"]
    common: dict[str, Any] = {"customer": customer, "reason": "x", "by": engineer, "at": at}

    with pytest.raises(MonthArchived):
        cancel_event(identifier="e1", **common)
    with pytest.raises(MonthArchived):
        amend_event(identifier="e1", properties={"tokens": "1"}, **common)
    with pytest.raises(MonthArchived):
        start_backfill(start_at=MONTH.start, end_at=MONTH.end, **common)
    with pytest.raises(MonthArchived):
        replay_span(customer, MONTH.start, MONTH.end)
    with pytest.raises(MonthArchived):
        usage(customer, unique.meter, MONTH.start, MONTH.end)
    with pytest.raises(MonthArchived):
        period_quantity(unique, MONTH.start, MONTH.end)
    assert usage(customer, biggest.meter, MONTH.start, MONTH.end)
    everything = replay_span()
    assert everything is not None
    assert [one for span in chunks(everything) for one in replay_chunk(span)] == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE usage_window SET quantity = 1 WHERE start_at < '2026-02-01'", "windows"),
        ("DELETE FROM event_identity WHERE identifier = 'e1'", "identities"),
        ("DELETE FROM event_batch WHERE id = (SELECT min(id) FROM event_batch)", "batches"),
        ("DELETE FROM meter_event_adjustment WHERE identifier = 'e2'", "adjustments"),
    ],
)
def test_what_is_forged_afterwards_is_found(
    customer: Customer, engineer: User, at: datetime, statement: str, finding: str
) -> None:
    _archived(engineer, at)
    for table in ("usage_window", "event_identity", "event_batch", "meter_event_adjustment"):
        _execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")

    _execute(statement)

    assert any("archived_seals" in one and finding in one for one in _findings())


def test_a_file_that_is_gone_or_changed_is_found_and_not_relied_on(
    customer: Customer, engineer: User, at: datetime, settings: Any
) -> None:
    archived = _archived(engineer, at)
    path = _path(archived, settings)
    path.write_bytes(path.read_bytes() + b"x")
    assert any("is not what was verified" in one for one in _findings())
    with pytest.raises(Conflict):
        drop_detached(archived=archived, by=engineer, at=at)

    path.unlink()

    assert any("is missing" in one for one in _findings())
    with pytest.raises(MonthArchived):
        find_event(customer, "e1")
    assert restore_month(first=date(2026, 1, 1), by=engineer, at=at).event_count == 5


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_month_comes_back_as_it_was(
    customer: Customer, engineer: User, at: datetime, is_dropped: bool
) -> None:
    rows = list(MeterEvent.objects.order_by("pk").values())
    archived = _archived(engineer, at)
    if is_dropped:
        assert drop_detached(archived=archived, by=engineer, at=at)
        assert not drop_detached(archived=archived, by=engineer, at=at)
        assert _findings() == []

    restore_month(first=date(2026, 1, 5), by=engineer, at=at)

    assert list(MeterEvent.objects.order_by("pk").values()) == rows
    assert _findings() == []
    cancel_event(customer=customer, identifier="e1", reason="x", by=engineer, at=at)
    _execute("SET CONSTRAINTS ALL IMMEDIATE")
    again = _archived(engineer, at)
    assert again.pk != archived.pk
    assert _findings() == []
    with pytest.raises(NotFound):
        restore_month(first=date(2025, 1, 1), by=engineer, at=at)


def test_a_dropped_month_whose_file_changed_is_not_restored(
    customer: Customer, engineer: User, at: datetime, settings: Any
) -> None:
    archived = _archived(engineer, at)
    drop_detached(archived=archived, by=engineer, at=at)
    path = _path(archived, settings)
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(Conflict):
        restore_month(first=date(2026, 1, 1), by=engineer, at=at)


def test_a_month_stays_while_something_needs_it(customer: Customer, at: datetime) -> None:
    assert reasons_not_to_archive(MONTH, at) == []
    early = datetime(2026, 3, 5, tzinfo=UTC)
    assert "still accepted" in reasons_not_to_archive(MONTH, early)[0]
    assert "still accepted" in reasons_not_to_archive(month_named(date(2026, 10, 1)), at)[0]
    old = {"sender": "t", "at": at, "since": JANUARY}
    capture_events(items=[an_event("late", timestamp=JANUARY)], **old)  # type: ignore[arg-type]
    assert "1 batch waits to be aggregated" in reasons_not_to_archive(MONTH, at)[0]
    aggregate_batches(at=at)
    lost = an_event("lost", customer="nobody", timestamp=JANUARY)
    capture_events(items=[lost], **old)  # type: ignore[arg-type]
    assert "1 event of it in quarantine" in reasons_not_to_archive(MONTH, at)[0]
    with pytest.raises(Conflict):
        _archived(User.objects.get(username="eli.engineer"), at)


def test_a_month_whose_books_do_not_hold_stays(
    customer: Customer, engineer: User, at: datetime
) -> None:
    _execute("UPDATE usage_window SET quantity = 5 WHERE id = (SELECT min(id) FROM usage_window)")

    with pytest.raises(Conflict, match="do not say"):
        _archived(engineer, at)

    assert not ArchivedMonth.objects.exists()


def test_killed_before_the_end_it_begins_again(
    customer: Customer, engineer: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_compare", "_manifest", "_detach_patiently"):
        with monkeypatch.context() as patch:
            patch.setattr(archiving, name, _die)
            with pytest.raises(KeyboardInterrupt), transaction.atomic():
                _archived(engineer, at)
        assert MeterEvent.objects.filter(timestamp__lt=MONTH.end).count() == 5

    archived = _archived(engineer, at)

    assert _archived(engineer, at).pk == archived.pk
    assert _findings() == []


def _die(*args: object) -> None:
    raise KeyboardInterrupt


def test_an_event_that_came_meanwhile_keeps_the_month(
    customer: Customer, engineer: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    detach = archiving._detach_patiently

    def late(*args: Any) -> ArchivedMonth:
        event = an_event("meanwhile", timestamp=JANUARY)
        capture_events(items=[event], sender="t", at=at, since=JANUARY)
        return detach(*args)

    monkeypatch.setattr(archiving, "_detach_patiently", late)
    with pytest.raises(Conflict, match="changed while"):
        _archived(engineer, at)

    assert MeterEvent.objects.filter(timestamp__lt=MONTH.end).count() == 6


def test_an_event_that_no_window_counts_yet_keeps_the_month(
    customer: Customer, engineer: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the first look and is in the file: aggregation would find nothing there."""
    refuse = archiving._refuse_differences

    def just_before(month: Period) -> None:
        event = an_event("just-before", timestamp=JANUARY)
        capture_events(items=[event], sender="t", at=at, since=JANUARY)
        refuse(month)

    monkeypatch.setattr(archiving, "_refuse_differences", just_before)
    with pytest.raises(Conflict, match="1 batch waits to be aggregated"):
        _archived(engineer, at)

    assert not ArchivedMonth.objects.exists()
    aggregate_batches(at=at)
    monkeypatch.undo()
    assert sum(len(replay_chunk(span)) for span in chunks(MONTH)) == 0


@pytest.mark.django_db(transaction=True)
def test_one_at_a_time_writes_an_archive(customer: Customer, engineer: User, at: datetime) -> None:
    with archiving._alone("meter_event_2026_01.parquet"), ThreadPoolExecutor(1) as pool:
        refused = pool.submit(_refusal, engineer, at).result()

    assert refused == "archive_under_way"
    assert _archived(engineer, at).event_count == 5


def _refusal(by: User, at: datetime) -> str:
    try:
        _archived(by, at)
    except Conflict as conflict:
        return conflict.code
    finally:
        connection.close()
    return ""


def test_a_detached_table_refuses_every_change(
    customer: Customer, engineer: User, at: datetime
) -> None:
    archived = _archived(engineer, at)

    for statement in (
        "INSERT INTO meter_event_2026_01 SELECT * FROM meter_event LIMIT 1",
        "UPDATE meter_event_2026_01 SET identifier = 'x'",
        "DELETE FROM meter_event_2026_01",
        "TRUNCATE meter_event_2026_01",
        f"UPDATE archived_month SET event_count = 0 WHERE id = {archived.pk}",
        f"DELETE FROM archived_month WHERE id = {archived.pk}",
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            _execute(statement)


def test_one_event_is_found_by_the_bounds_of_its_row_group(
    customer: Customer, engineer: User, at: datetime, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "ROWS", 2)
    archived = _archived(engineer, at)
    path = _path(archived, settings)

    assert len(list(groups_of(path))) == 3
    for identifier in ("e1", "e2", "e3", "e4", "edge-1"):
        wanted = Wanted(customers=[customer.pk], identifiers=[identifier])
        assert [[row["identifier"] for row in rows] for rows in find_rows(path, wanted)] == [
            [identifier]
        ]
    for nothing in (
        Wanted(customers=[customer.pk], identifiers=["e11"]),
        Wanted(customers=[customer.pk + 1], identifiers=["e1"]),
        Wanted(ids=[0]),
        Wanted(customers=[]),
        Wanted(end=MONTH.start),
        Wanted(hours=[MONTH.start]),
    ):
        assert list(find_rows(path, nothing)) == []


def test_a_month_that_is_none_is_said_in_words() -> None:
    with pytest.raises(CommandError, match="'nonsense' is no month: write 2026-01"):
        call_command("archive_events", "--before", "nonsense")


def _command(*args: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command(*args, stdout=out)
    except SystemExit as stopped:
        return int(str(stopped.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_commands_archive_drop_and_restore(customer: Customer, auditor: User) -> None:
    assert [f"{month.start:%Y-%m}" for month in archivable_months(date(2026, 3, 1))][-2:] == [
        "2026-01", "2026-02",
    ]  # fmt: skip
    QuarantinedEvent.objects.all()

    code, text = _command("archive_events", "--before", "2026-02", "--drop")

    assert (code, "2026-01: 5 events in meter_event_2026_01.parquet" in text) == (0, True)
    assert "2026-01: table dropped" in text
    client = Client()
    client.force_login(auditor)
    month = ArchivedMonth.objects.get()
    assert client.get(reverse("admin:metering_archivedmonth_changelist")).status_code == 200
    page = client.get(reverse("admin:metering_archivedmonth_change", args=[month.pk]))
    assert page.status_code == 200
    assert "5 events back" in _command("restore_events", "2026-01")[1]
    assert MeterEvent.objects.count() == 7
    with pytest.raises(CommandError):
        _command("restore_events", "2026-01")


def test_the_command_says_why_a_month_stays(customer: Customer, at: datetime) -> None:
    code, text = _command("archive_events", "--before", "2026-12")

    assert code == 1
    assert "2026-11 stays: events of it are still accepted" in text


def test_dismissed_reports_hold_no_month_back(
    customer: Customer, engineer: User, at: datetime
) -> None:
    lost = an_event("lost", customer="nobody", timestamp=JANUARY)
    capture_events(items=[lost], sender="t", at=at, since=JANUARY)
    row = QuarantinedEvent.objects.get()

    dismiss_quarantined(ids=[row.pk], reason="a test", by=engineer, at=at)

    assert reasons_not_to_archive(MONTH, at) == []
    with pytest.raises(BillingError):
        restore_month(first=date(2026, 1, 1), by=engineer, at=at)
