"""The lineage of a chain whose raw events lie in a file is the one it was in the table."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from billing_project.console.explaining import explain
from billing_project.console.lineage import Lineage, NodeType, report_event, start_of, trace
from metering.models import ArchivedMonth, MeterEvent
from metering.selectors.archive import MonthArchived, month_named
from metering.services import storing
from metering.services.adjust import amend_event, cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.archiving import archive_month
from tests.console.chain import CLOSED_AT, Chain, event, recognise, run_chain

pytestmark = pytest.mark.django_db
MUCH_LATER = datetime(2027, 6, 1, tzinfo=UTC)
NAMES = [(customer, f"req-{n}") for customer in ("acme", "other") for n in (1, 2)]


@pytest.fixture
def chain(db: None) -> Chain:
    """Return a chain in which one event was amended, and another one cancelled."""
    chain = run_chain("other")
    later = CLOSED_AT + timedelta(hours=2)
    common: dict[str, Any] = {"reason": "sent wrongly", "by": chain.shop.maker, "at": later}
    customer = chain.subscription.customer
    amend_event(
        customer=customer,
        identifier="req-1",
        properties={"model": "small", "output_tokens": "50"},
        **common,
    )
    cancel_event(customer=customer, identifier="req-2", **common)
    aggregate_batches(at=later)
    recognise(chain.shop, chain.subscription, later)
    return chain


@pytest.fixture(autouse=True)
def _folder(settings: Any, tmp_path: Path) -> None:
    settings.ARCHIVE_DIR = tmp_path
    storing.forget_months()


def _archive(chain: Chain) -> ArchivedMonth:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    month = month_named(chain.subscription.start_at.date())
    return archive_month(month=month, by=chain.shop.worker, at=MUCH_LATER)


def _traces(chain: Chain, limit: int) -> list[Lineage]:
    number = str(chain.overage.number)
    starts = [
        start_of("event", f"{customer}/req-{n}") for customer in ("acme", "other") for n in (1, 2)
    ]
    starts += [start_of("invoice_line", f"{number}:1"), start_of("invoice", number)]
    starts += [start_of("credit_note", str(chain.note.number))]
    return [trace(start, limit=limit) for start in starts]


@pytest.mark.parametrize("limit", [1, 200])
def test_a_trace_is_the_same_once_the_events_are_archived(chain: Chain, limit: int) -> None:
    live = _traces(chain, limit)
    assert all(one.of(NodeType.METER_EVENT) for one in live)
    assert live[0].of(NodeType.METER_EVENT_ADJUSTMENT)

    _archive(chain)

    assert not MeterEvent.objects.exists()
    assert _traces(chain, limit) == live


def test_an_adjustment_leads_to_the_window_of_its_archived_event(chain: Chain) -> None:
    def edges() -> set[str]:
        found = trace(frozenset(node.ref for node in adjusted))
        return {f"{edge.source} {edge.target}" for edge in found.edges}

    adjusted = trace([event("req-1")]).of(NodeType.METER_EVENT_ADJUSTMENT)
    live = edges()
    assert any("adjustment" in edge and "usage_window" in edge for edge in live)

    _archive(chain)

    assert edges() == live


def test_an_archived_event_is_reported_and_explained_to_its_end(chain: Chain) -> None:
    reports = [report_event(*name) for name in NAMES]
    told = [explain(*name, MUCH_LATER) for name in NAMES]

    _archive(chain)

    assert [report_event(*name) for name in NAMES] == reports
    after = [explain(*name, MUCH_LATER) for name in NAMES]
    assert [one.summary for one in after] == [one.summary for one in told]
    assert [one.state for one in after] == [one.state for one in told]
    assert told[0].summary.startswith("Billed: ")
    for then, now in zip(told, after, strict=True):
        assert {step.name for step in now.steps} - {step.name for step in then.steps} == {
            "archived"
        }


def test_a_file_that_is_elsewhere_is_named(chain: Chain, tmp_path: Path, client: Client) -> None:
    archived = _archive(chain)
    (tmp_path / archived.file_name).unlink()

    with pytest.raises(MonthArchived, match="2026-10 is not in ARCHIVE_DIR"):
        trace([event("req-1")])
    assert "not in ARCHIVE_DIR" in explain("acme", "req-1", MUCH_LATER).summary
    client.force_login(chain.shop.maker)
    for address, name in (("lineage", {"event": "acme/req-1"}), ("why", {"q": "req-1"})):
        shown = client.get(reverse(f"console:{address}"), name)
        assert "not in ARCHIVE_DIR" in shown.content.decode()


def test_an_archived_event_keeps_its_page(chain: Chain, client: Client) -> None:
    pk = event("req-1").pk
    client.force_login(chain.shop.maker)
    page = reverse("admin:metering_meterevent_change", args=[pk])
    rows = reverse("admin:metering_meterevent_changelist")
    assert "are archived" not in client.get(rows).content.decode()

    _archive(chain)

    shown = client.get(page)
    assert shown.status_code == 200
    assert "meter_event_2026_10.parquet" in shown.content.decode()
    assert "amend" in shown.content.decode()
    assert (
        client.get(reverse("admin:metering_meterevent_change", args=[pk + 99])).status_code == 302
    )
    assert "Events of 2026-10 are archived" in client.get(rows).content.decode()
    lineage = client.get(reverse("console:lineage"), {"event": "acme/req-1"}).content.decode()
    assert page in lineage
