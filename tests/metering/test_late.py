"""Late events: which they are, what their policy makes of them, and that retries stay retries."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.approvals import Proposal, is_as_proposed
from billing_project.kernel.drafts import draft, submit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import Period
from billing_project.kernel.users import worker_user
from metering.events import EventInput
from metering.models import Customer, InvoicedUsage, LateEventPolicy, MeterEvent, QuarantinedEvent
from metering.models.late import LateTreatment
from metering.selectors.late import invoiced_spans, late_quarantine, late_treatments
from metering.services.quarantine import dismiss_quarantined, replay_quarantine
from tests.metering.builders import a_customer, a_meter, an_event, send, statuses
from tests.metering.late import a_late_policy, a_person, invoice_span, invoice_until

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def acme(at: datetime) -> Customer:
    """Return a customer whose usage is invoiced until ten days ago."""
    a_meter(at - 90 * DAY)
    customer = a_customer(at - 90 * DAY)
    invoice_until(customer, at - 10 * DAY)
    return customer


def late(at: datetime, identifier: str = "e1") -> EventInput:
    return an_event(identifier, timestamp=at - 11 * DAY)


def test_without_any_version_a_late_event_is_stored(acme: Customer, at: datetime) -> None:
    assert statuses(send(at, late(at)), 1) == ["accepted"]
    assert invoiced_spans([acme.pk]) == {acme.pk: (Period(at - 110 * DAY, at - 10 * DAY),)}
    assert late_treatments({acme.pk}, at) == {acme.pk: LateTreatment.NEXT_INVOICE}


def test_usage_that_still_waits_for_its_invoice_is_not_late(acme: Customer, at: datetime) -> None:
    """A period may be invoiced while the one before it waits, say for an approval."""
    a_late_policy("quarantine", at - 90 * DAY)
    invoice_span(acme, at - 8 * DAY, at - 5 * DAY)
    invoice_span(acme, at - 5 * DAY, at - 4 * DAY)
    days = {"before": 11, "waiting": 9, "first": 8, "second": 4.5, "open": 3}

    result = send(at, *(an_event(name, timestamp=at - days[name] * DAY) for name in days))

    kept = set(QuarantinedEvent.objects.values_list("identifier", flat=True))
    assert kept == {"before", "first", "second"}
    assert [one.code for one in result.results] == ["period_closed"] * 3
    assert invoiced_spans([acme.pk])[acme.pk] == (
        Period(at - 110 * DAY, at - 10 * DAY), Period(at - 8 * DAY, at - 4 * DAY),
    )  # fmt: skip


def test_rows_without_a_start_reach_back_to_the_beginning(acme: Customer, at: datetime) -> None:
    InvoicedUsage.objects.create(
        customer=acme, end_at=at - 20 * DAY, source_key="of old", recorded_at=at
    )

    [span] = invoiced_spans([acme.pk])[acme.pk]

    assert at - 4000 * DAY in span
    assert span.end == at - 10 * DAY


def test_the_end_of_invoiced_usage_is_not_late(acme: Customer, at: datetime) -> None:
    a_late_policy("quarantine", at - 30 * DAY)

    result = send(
        at,
        an_event("on-the-edge", timestamp=at - 10 * DAY),
        an_event("before", timestamp=at - 10 * DAY - timedelta(microseconds=1)),
    )

    assert statuses(result, 2) == ["accepted", "quarantined"]
    [named] = result.results
    assert named.code == "period_closed"
    assert "2026-11-10T12:00:00+00:00" in named.detail


def test_a_customers_own_version_wins_over_the_default(acme: Customer, at: datetime) -> None:
    beta = a_customer(at - 90 * DAY, "beta")
    a_late_policy("quarantine", at - 30 * DAY)
    a_late_policy("credit_note", at - 60 * DAY, acme)

    assert late_treatments({acme.pk, beta.pk}, at) == {
        acme.pk: LateTreatment.CREDIT_NOTE,
        beta.pk: LateTreatment.QUARANTINE,
    }
    assert late_quarantine({acme.pk, beta.pk}, at) == {}  # Beta has no invoice yet.
    assert statuses(send(at, late(at)), 1) == ["accepted"]


def test_a_version_governs_from_its_effective_date_once_approved(
    acme: Customer, at: datetime
) -> None:
    a_late_policy("quarantine", at - DAY)
    a_late_policy("next_invoice", at + DAY)
    a_late_policy("credit_note", at - DAY, is_approved=False)

    assert late_quarantine({acme.pk}, at - 2 * DAY) == {}
    assert late_quarantine({acme.pk}, at) == {acme.pk: (Period(at - 110 * DAY, at - 10 * DAY),)}
    assert late_quarantine({acme.pk}, at + DAY) == {}


def test_a_version_is_what_was_proposed_and_is_never_edited(acme: Customer, at: datetime) -> None:
    policy = a_late_policy("quarantine", at)

    assert is_as_proposed(policy.policy_change)
    with pytest.raises(Invalid, match="late events go to"):
        a_late_policy("forget", at)
    for change in (
        lambda: LateEventPolicy.objects.update(treatment="next_invoice"),
        lambda: InvoicedUsage.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_a_replay_by_reason_or_id_stores_what_was_kept_and_no_other_does(
    acme: Customer, at: datetime
) -> None:
    a_late_policy("quarantine", at - 30 * DAY)
    send(at, late(at, "a"), late(at, "b"), late(at, "c"))
    a, b, c = QuarantinedEvent.objects.order_by("id")
    by = worker_user()

    assert replay_quarantine(by=by, at=at).tried == 0
    assert replay_quarantine(by=by, at=at, customer_external_id="acme").tried == 0
    assert replay_quarantine(by=by, at=at, ids=[a.pk]).replayed == 1
    assert dismiss_quarantined(ids=[c.pk], reason="theirs to bear", by=by, at=at) == 1
    assert replay_quarantine(by=by, at=at, reason="period_closed").replayed == 1

    assert set(MeterEvent.objects.values_list("identifier", flat=True)) == {"a", "b"}
    assert b.timestamp == MeterEvent.objects.get(identifier="b").timestamp


def test_a_late_event_that_was_dismissed_stays_so_under_another_rule(
    acme: Customer, at: datetime
) -> None:
    a_late_policy("quarantine", at - 30 * DAY, acme)
    send(at, late(at))
    row = QuarantinedEvent.objects.get()
    dismiss_quarantined(ids=[row.pk], reason="we bear it", by=worker_user(), at=at)
    a_late_policy("next_invoice", at - DAY, acme)

    result = send(at, late(at), late(at, "e2"))

    assert statuses(result, 2) == ["duplicate", "accepted"]
    assert result.results[0].code == "dismissed"


@pytest.mark.parametrize("days", [1, 36, 400])
def test_a_stale_retry_is_a_duplicate_for_ever(acme: Customer, at: datetime, days: int) -> None:
    sent = an_event(timestamp=at - DAY)
    other = an_event(timestamp=at - DAY, properties={"model": "haiku", "tokens": "7"})
    without_time = an_event("no-time")
    send(at, sent, without_time)
    a_late_policy("quarantine", at)
    invoice_until(acme, at + timedelta(hours=1))

    result = send(at + days * DAY, sent, other, without_time)

    assert statuses(result, 3) == ["duplicate", "conflict", "duplicate"]
    assert MeterEvent.objects.count() == 2


def test_a_retry_of_what_was_kept_adds_no_row(acme: Customer, at: datetime) -> None:
    a_late_policy("quarantine", at - 30 * DAY)

    first, again, later = send(at, late(at)), send(at, late(at)), send(at + 40 * DAY, late(at))

    assert [statuses(one, 1) for one in (first, again, later)] == [["quarantined"]] * 3
    assert QuarantinedEvent.objects.count() == 1


def test_a_version_tells_how_many_customers_it_moves(acme: Customer, at: datetime) -> None:
    a_customer(at, "own")
    a_customer(at, "other")
    own = Customer.objects.get(external_id="own")
    a_late_policy("quarantine", at - timedelta(days=1), own)

    change = a_late_policy("credit_note", at).policy_change

    assert change.effect is not None
    moved = {row["subject"]: (row["before"], row["after"]) for row in change.effect["rows"]}
    # Three customers: two follow the default, one keeps a rule of its own.
    assert [moved[f"Customers whose late events go to {t.label}"] for t in LateTreatment] == [
        ("2", "0"),
        ("0", "2"),
        ("1", "1"),
    ]
    assert change.effect["customers"] == 2


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"treatment": ["bill"]}, "treatment"),
        ({"treatment": "quarantine", "customer": ["acme"]}, "customer"),
        ({"treatment": "quarantine", "customer": "\0"}, "customer"),
        (["quarantine"], "content"),
    ],
)
def test_a_draft_of_another_shape_is_refused_with_its_field(
    at: datetime, content: Any, field: str
) -> None:
    author = a_person("paula.late", "product")
    words = Proposal("Late", "Asked", "A row", "late", at)
    change = draft(kind="late_events", content=content, proposal=words, by=author, at=at)

    with pytest.raises(Invalid) as refused:
        submit(change=change, by=author, at=at)

    assert refused.value.field == field


def test_a_draft_of_a_late_rule_becomes_a_version(at: datetime) -> None:
    author = a_person("paula.late", "product")
    words = Proposal("Late", "Asked", "A row", "late", at)
    wrong, right = (
        draft(
            kind="late_events", content={"customer": None, "treatment": treatment},
            proposal=words, by=author, at=at,
        )
        for treatment in ("lost", "quarantine")
    )  # fmt: skip

    with pytest.raises(Invalid) as refused:
        submit(change=wrong, by=author, at=at)
    submit(change=right, by=author, at=at)

    assert refused.value.field == "treatment"
    assert LateEventPolicy.objects.get(policy_change=right).treatment == "quarantine"
    right.refresh_from_db()
    assert is_as_proposed(right)
