"""The unmatched-event report: all that was kept and not billed, streamed."""

import csv
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from billing_project.kernel.models import User
from metering.models import QuarantinedEvent
from metering.selectors import unmatched
from metering.services.quarantine import dismiss_quarantined
from tests.console.backoffice import client_of, list_of, told
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db
SPAN = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


@pytest.fixture(autouse=True)
def waiting(at: datetime, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave four reports of a day, and one of the next."""
    monkeypatch.setattr(unmatched, "_PAGE", 3)
    a_meter(at)
    a_customer(at)
    send(at, *(an_event(f"e{i}", customer="nobody") for i in range(3)))
    send(at, an_event("f", event_name="=cmd|' /C calc'!A0", properties={"n": "1.50"}))
    send(at + timedelta(days=1), an_event("late", customer="nobody"))


def _body(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def _csv(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_body(response).decode(), newline="")))


def test_csv_is_the_default_and_neutralises_formulas(support: User, at: datetime) -> None:
    ids = list(QuarantinedEvent.objects.filter(identifier="e0").values_list("pk", flat=True))
    dismiss_quarantined(ids=ids, reason="a load test", by=support, at=at)

    response = Caller("usage:read").get("exports/unmatched", **SPAN)
    rows = _csv(response)

    assert response["Content-Disposition"] == 'attachment; filename="unmatched.csv"'
    assert [row["identifier"] for row in rows] == ["e0", "e1", "e2", "f"]
    assert (rows[0]["state"], rows[0]["resolved_by"], rows[0]["resolution"]) == (
        "dismissed", "sam.support", "a load test",
    )  # fmt: skip
    assert rows[3]["event_name"] == "'=cmd|' /C calc'!A0"
    assert json.loads(rows[3]["properties"]) == {"n": "1.50"}


def test_json_lines_and_parquet_say_the_same() -> None:
    caller = Caller("usage:read")

    lines = _body(caller.get("exports/unmatched", **SPAN, format="jsonl")).splitlines()
    body = _body(caller.get("exports/unmatched", **SPAN, format="parquet"))

    table = pq.read_table(io.BytesIO(body))
    assert [json.loads(line)["identifier"] for line in lines] == ["e0", "e1", "e2", "f"]
    assert table.column("identifier").to_pylist() == ["e0", "e1", "e2", "f"]
    assert table.column("missing").to_pylist()[0] == "nobody"


def test_the_export_is_filtered() -> None:
    caller = Caller("usage:read")

    by_reason = caller.get("exports/unmatched", **SPAN, reason="unknown_event_name")
    by_state = caller.get("exports/unmatched", **SPAN, state="dismissed")

    assert [row["identifier"] for row in _csv(by_reason)] == ["f"]
    assert _csv(by_state) == []


@pytest.mark.parametrize(
    "query",
    [{}, {**SPAN, "end": SPAN["start"]}, {**SPAN, "format": "xls"}, {**SPAN, "reason": "x"}],
)
def test_a_bad_question_is_refused(query: dict[str, str]) -> None:
    assert Caller("usage:read").get("exports/unmatched", **query).status_code == 422


def test_what_is_filtered_is_downloaded_from_the_list(auditor: User) -> None:
    url = f"{list_of(QuarantinedEvent)}?reason__exact=unknown_customer"
    ids = list(QuarantinedEvent.objects.values_list("pk", flat=True))

    response = client_of(auditor).post(
        url, {"action": "download_selected", "_selected_action": ids[:1], "select_across": "1"}
    )

    assert [row["identifier"] for row in _csv(response)] == ["e0", "e1", "e2", "late"]


def test_a_selection_is_dismissed_with_a_reason(support: User, auditor: User) -> None:
    url = list_of(QuarantinedEvent)
    rows = QuarantinedEvent.objects.order_by("pk")
    chosen = {
        "action": "dismiss_selected",
        "_selected_action": list(rows.values_list("pk", flat=True)[:2]),
    }
    client = client_of(support)

    client_of(auditor).post(url, {**chosen, "apply": "1", "reason": "x", "nonce": "n" * 20})
    asked = client.post(url, chosen)
    untouched = QuarantinedEvent.objects.filter(state="open").count()
    refused = client.post(url, {**chosen, "apply": "1", "reason": "", "nonce": "n" * 20})
    done = client.post(url, {**chosen, "apply": "1", "reason": "a test", "nonce": "n" * 20})

    assert (asked.status_code, untouched, refused.status_code) == (200, 5, 422)
    assert b'name="_selected_action"' in asked.content
    assert told(done).endswith("Dismissed 2.")
    assert list(rows.filter(state="dismissed").values_list("identifier", flat=True)) == ["e0", "e1"]


def test_a_selection_is_replayed(support: User, at: datetime) -> None:
    ids = list(QuarantinedEvent.objects.filter(identifier="e1").values_list("pk", flat=True))
    a_customer(at, "nobody")

    done = client_of(support).post(
        list_of(QuarantinedEvent), {"action": "replay_selected", "_selected_action": ids}
    )

    assert "Replayed 1." in told(done)
    assert QuarantinedEvent.objects.get(identifier="e1").state == "replayed"
