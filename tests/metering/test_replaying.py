"""Replay agrees with what is stored, finds what is not right, and repairs only what is approved."""

import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from billing_project.kernel.approvals import approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.effects import effect_in
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import AuditEntry, OutboxMessage, User
from metering.models import AppliedRepair, Customer, MeterEvent, UsageWindow, WindowRepair
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.repairing import apply_repair, propose_repair
from metering.services.replaying import Difference, chunks, replay_chunk, replay_span
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(at: datetime, engineer: User) -> Customer:
    """Return a customer with events of two months, some cancelled, some amended."""
    customer = a_customer(at)
    for aggregation in ("sum", "count", "max", "last", "unique"):
        a_meter(at, aggregation)
    for i in range(6):
        moment = at - timedelta(days=5 * i, hours=i)
        send(at, an_event(f"e{i}", timestamp=moment, workspace="prod" if i % 2 else ""))
    aggregate_batches(at=at)
    changed = {"properties": {"model": "opus", "tokens": "1.50"}, "reason": "x", "by": engineer}
    amend_event(customer=customer, identifier="e1", at=at, **changed)  # type: ignore[arg-type]
    cancel_event(customer=customer, identifier="e2", reason="x", by=engineer, at=at)
    send(at, an_event("waiting"))
    return customer


def _differences(customer: Customer | None = None) -> list[Difference]:
    period = replay_span(customer)
    assert period is not None
    return [one for span in chunks(period, customer) for one in replay_chunk(span)]


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in statements:
            cursor.execute(statement)


def test_what_is_stored_is_what_a_replay_says(customer: Customer) -> None:
    assert _differences() == _differences(customer) == []
    assert UsageWindow.objects.count() > 10


def test_nothing_to_replay_is_no_difference() -> None:
    assert replay_span() is None


def test_each_kind_of_difference_is_found(customer: Customer) -> None:
    sums = UsageWindow.objects.filter(meter__code="tokens_sum", quantity=100).order_by("start_at")
    lost, changed = sums[0], sums[1]
    _execute(
        f"DELETE FROM usage_window WHERE id = {lost.pk}",
        f"UPDATE usage_window SET quantity = 107.5 WHERE id = {changed.pk}",
    )

    first, second = _differences()

    assert (first.stored_quantity, first.quantity) == (None, Decimal(100))
    assert (second.stored_quantity, second.quantity) == (Decimal("107.5"), Decimal(100))
    assert (second.start_at, second.dimensions) == (changed.start_at, changed.dimensions)


def test_chunks_are_months_of_groups_of_customers(customer: Customer) -> None:
    a_customer(datetime(2026, 1, 1, tzinfo=UTC), "other")
    start, end = datetime(2026, 10, 5, 3, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    period = replay_span(customer, start, end)
    assert period is not None

    spans = chunks(period)

    assert [(span.start, span.end) for span in spans] == [
        (start, datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime(2026, 11, 1, tzinfo=UTC), end),
    ]
    assert len(spans[0].customer_ids) == 2


def test_bounds_are_whole_hours_in_order(customer: Customer, at: datetime) -> None:
    with pytest.raises(Invalid):
        replay_span(customer, at, at + timedelta(minutes=1))
    with pytest.raises(Invalid):
        replay_span(customer, at, at)


def _forged(customer: Customer) -> Sequence[Difference]:
    _execute(
        "UPDATE usage_window SET quantity = quantity + 7 WHERE event_count > 0",
        "DELETE FROM usage_window WHERE id = (SELECT min(id) FROM usage_window)",
    )
    found = _differences(customer)
    assert len(found) > 10
    return found


def test_an_approved_repair_sets_the_windows_right(
    customer: Customer, engineer: User, approver: User, at: datetime
) -> None:
    sent = list(UsageWindow.objects.filter(dimensions__model="haiku"))
    found = _forged(customer)
    revisions = dict(UsageWindow.objects.values_list("pk", "revision"))
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    with pytest.raises(Conflict):
        apply_repair(repair=repair, by=engineer, at=at)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    repair.refresh_from_db()
    OutboxMessage.objects.all().delete()

    applied = apply_repair(repair=repair, by=engineer, at=at)

    assert _differences() == []
    assert UsageWindow.objects.filter(dimensions__model="haiku").count() == len(sent)
    assert apply_repair(repair=repair, by=engineer, at=at).pk == applied.pk
    grown = UsageWindow.objects.in_bulk(revisions)
    assert all(grown[pk].revision == revisions[pk] + 1 for pk in grown if grown[pk].event_count)
    assert OutboxMessage.objects.filter(topic="usage_changed", object_id=customer.pk).exists()
    assert AuditEntry.objects.get(action="apply_window_repair").reason == "checked"
    assert not [one for result in run_checks() for one in result.findings]


def test_an_approver_sees_each_window_as_it_is_and_as_it_should_be(
    customer: Customer, engineer: User, at: datetime
) -> None:
    window = UsageWindow.objects.filter(meter__code="tokens_sum", quantity=100).earliest("start_at")
    _execute(f"UPDATE usage_window SET quantity = 107.5 WHERE id = {window.pk}")

    repair = propose_repair(differences=_differences(), reason="forged", by=engineer, at=at)

    assert repair.policy_change.effect is not None
    effect, _ = effect_in(repair.policy_change.effect)
    assert effect.basis == "1 usage window as stored, and as the raw events say"
    assert [(row.subject, f"{row.before} {row.after} {row.unit}") for row in effect.rows] == [
        (f"acme, tokens_sum, haiku, {window.start_at:%Y-%m-%d %H:00}", "107.5 100 token")
    ]


def test_a_repair_of_what_changed_since_is_refused(
    customer: Customer, engineer: User, approver: User, at: datetime
) -> None:
    found = _forged(customer)
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    aggregate_batches(at=at)  # The batch that waited.
    repair.refresh_from_db()

    with pytest.raises(Conflict):
        apply_repair(repair=repair, by=engineer, at=at)

    assert not AppliedRepair.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_repair_never_writes_over_a_window_that_is_made_meanwhile(
    customer: Customer, engineer: User, approver: User, at: datetime
) -> None:
    _execute("DELETE FROM usage_window")
    found = _differences(customer)
    assert {one.stored_quantity for one in found} == {None}
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            aggregate_batches(at=at)  # The batch that waited makes windows of the repair.
            applied = pool.submit(_apply, repair, engineer, at)
            while not applied.done() and not _waits_for_us():
                time.sleep(0.01)
        assert applied.result() == "windows_changed"

    assert not AppliedRepair.objects.exists()


def _apply(repair: WindowRepair, by: User, at: datetime) -> str:
    try:
        apply_repair(repair=repair, by=by, at=at)
    except Conflict as conflict:
        return conflict.code
    finally:
        connection.close()
    return ""


def _waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])


def test_who_may_not_neither_proposes_nor_applies(
    customer: Customer, engineer: User, support: User, at: datetime
) -> None:
    found = _forged(customer)
    with pytest.raises(NotAllowed):
        propose_repair(differences=found, reason="forged", by=support, at=at)
    repair = propose_repair(differences=found, reason="forged", by=engineer, at=at)
    with pytest.raises(NotAllowed):
        apply_repair(repair=repair, by=support, at=at)
    with pytest.raises(Invalid):
        propose_repair(differences=found, reason=" ", by=engineer, at=at)
    with pytest.raises(Invalid):
        propose_repair(differences=[], reason="x", by=engineer, at=at)


def test_postgresql_refuses_what_nobody_approved(
    customer: Customer, engineer: User, at: datetime
) -> None:
    repair = propose_repair(differences=_forged(customer), reason="forged", by=engineer, at=at)

    for statement in (
        f"INSERT INTO applied_repair (repair_id, by_id, at) VALUES ({repair.pk}, 1, now())",
        "UPDATE window_repair_item SET quantity = 0",
        "DELETE FROM window_repair_item",
        "DELETE FROM window_repair",
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            _execute(statement)


def test_an_engineer_applies_an_approved_repair_on_its_page(
    customer: Customer, engineer: User, approver: User, at: datetime
) -> None:
    repair = propose_repair(differences=_forged(customer), reason="forged", by=engineer, at=at)
    client = Client()
    client.force_login(engineer)
    page = reverse("admin:metering_windowrepair_change", args=[repair.pk])
    button = reverse("admin:metering_windowrepair_set_right", args=[repair.pk])
    assert button not in client.get(page).content.decode()
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    assert button in client.get(page).content.decode()

    response = client.post(button, {"nonce": "n" * 20})

    assert response.status_code == 302
    assert _differences() == []
    for name in ("windowrepair", "windowrepairitem", "appliedrepair"):
        assert client.get(reverse(f"admin:metering_{name}_changelist")).status_code == 200
    row = repair.items.first()
    assert row is not None
    for name, pk in (("windowrepairitem", row.pk), ("appliedrepair", repair.applied.pk)):
        assert client.get(reverse(f"admin:metering_{name}_change", args=[pk])).status_code == 200


def _command(*args: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("replay", *args, stdout=out)
    except SystemExit as stopped:
        return int(str(stopped.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_command_says_what_differs_and_proposes(
    customer: Customer, engineer: User, approver: User
) -> None:
    assert _command("--all")[0] == 0
    assert "0 differences" in _command("--customer", "acme")[1]
    assert MeterEvent.objects.count() == 7
    _execute(
        "UPDATE usage_window SET quantity = 107.5 WHERE id = (SELECT min(id) FROM usage_window)"
    )

    code, text = _command("--all")
    assert code == 1
    assert "stored 107.5 from 1 event, recomputed" in text
    assert "1 difference\n" in text
    code, text = _command("--all", "--repair", "--by", engineer.username, "--reason", "forged")
    assert code == 1
    assert _command("--all", "--repair", "--by", engineer.username, "--reason", "again")[1] == text

    repair = WindowRepair.objects.get()
    assert f"--apply {repair.pk}" in text
    with pytest.raises(CommandError):
        _command("--apply", str(repair.pk), "--by", engineer.username)
    at = datetime(2026, 11, 21, tzinfo=UTC)
    approve(change=repair.policy_change, by=approver, reason="checked", at=at)
    assert _command("--apply", str(repair.pk), "--by", engineer.username)[0] == 0
    assert _command("--all")[0] == 0


@pytest.mark.parametrize(
    "args", [[], ["--all", "--customer", "acme"], ["--customer", "nobody"], ["--apply", "7"]]
)
def test_the_command_wants_to_know_whom(args: list[str]) -> None:
    with pytest.raises(CommandError):
        _command(*args)
