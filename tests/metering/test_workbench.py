"""The quarantine workbench: groups with owners, mapping, conflicts that somebody decides."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import AuditEntry, User
from metering.models import Meter, QuarantinedEvent, UsageWindow
from metering.selectors.quarantine import Chosen, conflict_of, group_of, groups, sent_of
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.mapping import map_event_name
from metering.services.quarantine import dismiss_quarantined, replay_part
from metering.services.workbench import amend_stored_event, assign_group, keep_stored_event
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
IMAGES = {
    "code": "images", "name": "Images", "aggregation": "count", "unit": "image",
    "value_property": "", "dimensions": [],
}  # fmt: skip


@pytest.fixture(autouse=True)
def acme(at: datetime, db: None) -> None:
    a_meter(at)
    a_customer(at)


def _conflict(at: datetime, **changes: Any) -> QuarantinedEvent:
    """Leave one event stored, and another report of it in quarantine."""
    send(at, an_event(timestamp=at))
    content: dict[str, Any] = {
        "properties": {"model": "haiku", "tokens": "70"},
        "timestamp": at,
        **changes,
    }
    send(at, an_event(**content))
    return QuarantinedEvent.objects.get()


def test_what_waits_is_grouped_by_what_is_missing(at: datetime) -> None:
    later = at + timedelta(hours=3)
    send(at, an_event("a", customer="nobody"), an_event("b", customer="nobody"))
    send(later, an_event("c", customer="nobody", event_name="image"))
    send(at, an_event("d", customer="somebody"))
    send(at, an_event("e", event_name="image"))
    send(at, an_event("f", properties={"model": "haiku"}))
    send(at, an_event("g"), an_event("g", properties={"tokens": "1"}))

    found = {(g.reason, g.missing): (g.event_count, g.role) for g in groups()}
    nobody = groups().get(missing="nobody")

    missing_value = "meter tokens_sum reads tokens, which is not there"
    assert found == {
        ("unknown_customer", "nobody"): (3, "support"),
        ("unknown_customer", "somebody"): (1, "support"),
        ("unknown_event_name", "image"): (1, "engineering"),
        ("missing_value", missing_value): (1, "engineering"),
        ("identifier_conflict", "acme"): (1, "engineering"),
    }
    assert (nobody.first_seen_at, nobody.last_seen_at) == (at, later)
    assert (nobody.customer_count, nobody.event_name_count) == (1, 2)
    assert nobody.sample.identifier == "c"


def test_an_owner_is_named_for_the_group_and_for_what_comes_later(
    engineer: User, support: User, at: datetime
) -> None:
    send(at, an_event(customer="nobody"))
    group = groups().get()

    assign_group(
        reason=group.reason, missing=group.missing, role="engineering", person=engineer,
        note="their SDK", by=support, at=at,
    )  # fmt: skip
    send(at, an_event("later", customer="nobody"))

    row = QuarantinedEvent.objects.get(identifier="later")
    named = group_of(row)
    assert named is not None
    assert (named.pk, named.person, named.role) == (group.pk, engineer, "engineering")
    entry = AuditEntry.objects.get(action="assign_quarantine_group")
    assert (entry.by, entry.facts["person"]) == (support, "eli.engineer")


def test_only_somebody_of_the_role_is_named(engineer: User, support: User, at: datetime) -> None:
    for role, person in (("support", engineer), ("nobody", None)):
        with pytest.raises(Invalid):
            assign_group(
                reason="unknown_customer", missing="x", role=role, person=person, by=support, at=at
            )


def test_a_new_meter_for_an_unknown_name_counts_what_waited(engineer: User, at: datetime) -> None:
    send(at, an_event("a", event_name="image"), an_event("b", event_name="image"))

    meter, part = map_event_name(
        event_name="image", meter=IMAGES, reason="a new product", by=engineer, at=at
    )
    aggregate_batches(at=at)

    assert (part.result.replayed, part.left) == (2, 0)
    assert meter == Meter.objects.get(versions__event_name="image")
    assert UsageWindow.objects.get(meter=meter).quantity == 2


def test_a_choice_is_replayed_part_by_part(engineer: User, at: datetime) -> None:
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(5)))
    chosen = Chosen(customer_external_id="nobody")

    first = replay_part(chosen=chosen, by=engineer, at=at, limit=3)
    second = replay_part(chosen=chosen, by=engineer, at=at, limit=3, after_id=first.last_id)

    assert (first.result.still_open, first.left) == (3, 2)
    assert (second.result.still_open, second.left) == (2, 0)


def test_a_conflict_is_decided_for_the_stored_event(engineer: User, at: datetime) -> None:
    row = _conflict(at)

    kept = keep_stored_event(row_id=row.pk, reason="a sender's bug", by=engineer, at=at)
    aggregate_batches(at=at)

    assert (kept.state, kept.resolution) == (
        "dismissed", "kept the stored event: a sender's bug",
    )  # fmt: skip
    assert UsageWindow.objects.get().quantity == 100
    with pytest.raises(NotFound):
        amend_stored_event(row_id=row.pk, reason="no", by=engineer, at=at)


def test_repeats_of_both_reports_of_a_decided_conflict(engineer: User, at: datetime) -> None:
    """The one that was amended to is a duplicate; the one that was dismissed stays refused."""
    row = _conflict(at)
    later = sent_of(row)
    assert send(at, later).conflicts == 1
    amend_stored_event(row_id=row.pk, reason="recounted", by=engineer, at=at)
    third = an_event(row.identifier, timestamp=at, properties={"model": "haiku", "tokens": "1"})
    send(at, third)
    refused = QuarantinedEvent.objects.get(state="open")
    dismiss_quarantined(ids=[refused.pk], reason="wrong", by=engineer, at=at)

    repeated, refused_again = send(at, later), send(at, third)

    assert [(one.status, one.code) for one in repeated.results] == [("duplicate", "amended")]
    assert [(one.status, one.code) for one in refused_again.results] == [
        ("conflict", "identifier_conflict")
    ]
    assert not QuarantinedEvent.objects.filter(state="open").exists()


@pytest.mark.parametrize("is_aggregated_before", [True, False])
def test_a_conflict_is_decided_for_the_later_report(
    engineer: User, at: datetime, is_aggregated_before: bool
) -> None:
    row = _conflict(at)
    if is_aggregated_before:
        aggregate_batches(at=at)

    amended = amend_stored_event(row_id=row.pk, reason="recounted", by=engineer, at=at)
    aggregate_batches(at=at)

    assert amended.state == "amended"
    assert UsageWindow.objects.get().quantity == 70
    assert [r.name for r in run_checks() if r.findings and r.name.startswith("metering")] == []
    with pytest.raises(NotFound):
        keep_stored_event(row_id=row.pk, reason="no", by=engineer, at=at)


def test_a_conflict_shows_what_differs(at: datetime) -> None:
    row = _conflict(at, workspace="prod")

    found = conflict_of(row)

    assert found is not None
    assert [(d.name, d.stored, d.reported) for d in found.differences] == [
        ("workspace", "", "prod"),
        ("tokens", "100", "70"),
    ]
    assert found.fixed == ["workspace"]


@pytest.mark.parametrize(
    "changes", [{"workspace": "prod"}, {"timestamp": datetime.fromisoformat("2026-11-20T11:00Z")}]
)
def test_no_amendment_moves_an_event(engineer: User, at: datetime, changes: dict[str, Any]) -> None:
    row = _conflict(at, **changes)

    with pytest.raises(Conflict, match="which no amendment can change"):
        amend_stored_event(row_id=row.pk, reason="moved", by=engineer, at=at)

    row.refresh_from_db()
    assert row.state == "open"


def test_a_cancelled_event_is_not_amended(engineer: User, at: datetime) -> None:
    row = _conflict(at)
    found = conflict_of(row)
    assert found is not None
    cancel_event(
        customer=found.event.customer, identifier="e1", reason="a test", by=engineer, at=at
    )

    with pytest.raises(Conflict, match="cancelled"):
        amend_stored_event(row_id=row.pk, reason="recounted", by=engineer, at=at)


@pytest.mark.parametrize("decide", [keep_stored_event, amend_stored_event])
def test_a_decision_needs_its_reason_and_a_conflict(
    engineer: User, at: datetime, decide: object
) -> None:
    send(at, an_event(customer="nobody"))
    row = QuarantinedEvent.objects.get()

    with pytest.raises(Invalid):
        decide(row_id=row.pk, reason=" ", by=engineer, at=at)  # type: ignore[operator]
    with pytest.raises(Conflict):
        decide(row_id=row.pk, reason="x", by=engineer, at=at)  # type: ignore[operator]
