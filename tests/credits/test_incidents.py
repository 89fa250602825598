"""From an odd hour to a signed week: detection, owners, incidents, evidence, checkpoints."""

import csv
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.ownership import name_owner
from billing_project.kernel.users import ensure_roles
from credits.models import (
    Alert,
    Anomaly,
    ControlCheckpoint,
    Incident,
    IncidentEvidence,
    SpendHour,
    SpendMark,
)
from credits.selectors.incident_facts import facts_of, files_of
from credits.services.anomalies import (
    detect_anomalies,
    hand_over,
    plan_activity,
    say_what_it_was,
)
from credits.services.authorizing import authorize
from credits.services.checkpoints import prepare_checkpoint, sign_checkpoint
from credits.services.evidence import make_evidence
from credits.services.incidents import Scope, act_on_incident, open_incident, resolve_incident
from credits.services.rates import create_pricing_unit, create_rate_card
from credits.services.standing import Request
from credits.spend_checks import checkpoints_are_as_signed, hours_follow_facts
from invoicing.tasks import prepare_checkpoints
from metering.events import EventInput
from metering.models import Customer
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from tests.console.backoffice import client_of
from tests.credits.builders import NOVEMBER, Shop, make_customer, make_shop, rate
from tests.invoicing.builders import check_what_is_deferred
from tests.worlds import standing

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DAY_2 = NOVEMBER.start + timedelta(days=1)  # A Monday: 2 November.
ODD = DAY_2 + 30 * HOUR  # The hour of the loop.
SEEN = ODD + HOUR + timedelta(minutes=15)


def price_of(customer: Customer, unit: str, at: datetime) -> tuple[Decimal, str] | None:
    return (Decimal("0.01"), "USD") if unit == "credit" else None


def sent(count: int, start: datetime, kind: str, tokens: str = "") -> list[EventInput]:
    return [
        EventInput(
            event_name="output", identifier=f"{kind}-{start:%d-%H}-{n}", customer="acme",
            timestamp=start + n * timedelta(seconds=10),
            properties={"model": "small", "output": tokens or str(5 + n)},
        )
        for n in range(count)
    ]  # fmt: skip


def make_world() -> Shop:
    """Let acme use five calls an hour, then one call three hundred times in an hour."""
    ensure_roles()
    maker = User.objects.create_user("mia.loop")
    approver = User.objects.create_user("ann.loop")
    approver.groups.add(Group.objects.get(name="finance_approver"))
    shop = make_shop(maker, approver, SEEN)
    name_owner(
        step="rate", function="product", person=maker, since_at=DAY_2, reason="launch",
        by=approver, at=SEEN,
    )  # fmt: skip
    usual = [one for n in range(31) for one in sent(5, DAY_2 + n * HOUR, "req")]
    loop = sent(300, ODD + timedelta(minutes=5), "loop", "7")
    result = capture_events(items=[*usual, *loop], sender="test", at=SEEN)
    assert result.accepted == 31 * 5 + 300, result
    aggregate_batches(at=SEEN)
    shop.rate(SEEN)
    return shop


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Shop]:
    with standing(make_world, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def shop(made: Shop, db: None) -> Shop:
    return deepcopy(made)


@pytest.fixture
def anomaly(shop: Shop) -> Anomaly:
    assert detect_anomalies(price_of=price_of, at=SEEN) == 1
    return Anomaly.objects.get()


@pytest.fixture
def incident(shop: Shop, anomaly: Anomaly) -> Incident:
    return open_incident(
        title="A loop", scope=Scope(shop.customer, anomaly.start_at, anomaly.end_at),
        owner=shop.maker, key="k", by=shop.maker, at=SEEN, anomaly=anomaly,
    )  # fmt: skip


def test_a_loop_is_found_once_with_its_impact_and_owner(shop: Shop, anomaly: Anomaly) -> None:
    # An hour of 5 + 6 + 7 + 8 + 9 = 35 tokens is 70 credits. Now 2 x 70 + 300 x 7 x 2 = 4,340;
    # 140 are usual: 4,200 more, at USD 0.01.
    assert (anomaly.pattern, anomaly.start_at) == ("retry_loop", ODD - HOUR)
    assert (anomaly.observed, anomaly.expected) == (Decimal(4_340), Decimal(140))
    assert (anomaly.impact_minor, anomaly.currency) == (4_200, "USD")
    assert anomaly.owner == shop.maker
    assert [one["value"] for one in anomaly.causes] == ["small"]
    alert = Alert.objects.get()
    assert (alert.kind, alert.owner, alert.customer) == ("anomaly", shop.maker, shop.customer)

    assert detect_anomalies(price_of=price_of, at=SEEN) == 0
    assert detect_anomalies(price_of=price_of, at=SEEN + HOUR) == 0  # It goes on: the same one.
    anomaly.refresh_from_db()
    assert anomaly.end_at == ODD + 2 * HOUR
    assert Alert.objects.count() == 1


def test_late_usage_makes_the_impact_of_hours_that_were_looked_at_worse(
    shop: Shop, anomaly: Anomaly
) -> None:
    detect_anomalies(price_of=price_of, at=SEEN + HOUR)
    late = SEEN + HOUR + timedelta(minutes=15)
    capture_events(items=sent(300, ODD, "late", "7"), sender="test", at=late)
    aggregate_batches(at=late)
    shop.rate(late)

    assert detect_anomalies(price_of=price_of, at=late) == 0

    anomaly.refresh_from_db()  # 4,340 and 300 x 7 x 2 more.
    assert (anomaly.observed, anomaly.impact_minor) == (Decimal(8_540), 8_400)
    assert anomaly.end_at == ODD + 2 * HOUR


def test_an_hour_that_nobody_looked_at_is_found_later_once(shop: Shop) -> None:
    # The loop, and that nothing came after it.
    assert detect_anomalies(price_of=price_of, at=SEEN + 3 * HOUR) == 2
    assert detect_anomalies(price_of=price_of, at=SEEN + 4 * HOUR) == 0
    loop = Anomaly.objects.get(pattern="retry_loop")
    assert (loop.start_at, loop.end_at) == (ODD - HOUR, ODD + 2 * HOUR)


def test_a_worker_that_stood_still_for_two_days_looks_at_all_of_them_once(shop: Shop) -> None:
    detect_anomalies(price_of=price_of, at=SEEN - 2 * HOUR)
    assert not Anomaly.objects.exists()

    late = SEEN + timedelta(days=2)
    assert detect_anomalies(price_of=price_of, at=late) >= 1
    loop = Anomaly.objects.get(pattern="retry_loop")
    assert (loop.start_at, loop.end_at) == (ODD - HOUR, ODD + 2 * HOUR)
    assert detect_anomalies(price_of=price_of, at=late) == 0
    assert set(SpendMark.objects.values_list("looked_until", flat=True)) == {
        late - timedelta(minutes=15)
    }
    assert list(hours_follow_facts()) == []


def test_kept_hours_follow_late_usage_and_the_books_find_others(shop: Shop) -> None:
    detect_anomalies(price_of=price_of, at=SEEN + 12 * HOUR)
    before = SpendHour.objects.get(dimension="customer", start_at=DAY_2)
    late = SEEN + 13 * HOUR
    capture_events(items=sent(1, DAY_2, "late", "100"), sender="test", at=late)
    aggregate_batches(at=late)
    shop.rate(late)
    assert list(hours_follow_facts()) == []  # Not read yet: no drift.

    detect_anomalies(price_of=price_of, at=late)

    after = SpendHour.objects.get(dimension="customer", start_at=DAY_2)
    assert (after.credits - before.credits, after.calls - before.calls) == (Decimal(200), 1)
    assert list(hours_follow_facts()) == []
    SpendHour.objects.filter(dimension="model", start_at=DAY_2).update(credits=1)
    (found,) = hours_follow_facts()
    assert "model small" in found.message


def test_a_key_that_asks_for_much_is_one_anomaly_by_its_name(shop: Shop) -> None:
    keys = [create_api_key(name=name, scopes=["authorize"], at=DAY_2)[0] for name in ("a", "b")]
    shop.grant("100000")
    asked = [(key, "2", DAY_2 + n * HOUR) for n in range(29) for key in keys]
    asked += [(keys[1], "100", ODD + n * timedelta(minutes=1)) for n in range(40)]
    for key, amount, at in asked:
        authorize(
            customer=shop.customer, api_key=key, at=at,
            request=Request(model="small", credits=Decimal(amount), ttl_seconds=60),
        )  # fmt: skip

    assert detect_anomalies(price_of=price_of, at=SEEN) == 1

    anomaly = Anomaly.objects.get()
    assert (anomaly.dimension, anomaly.value) == ("key", f"{keys[1].pk}")


def test_what_was_planned_is_no_anomaly(shop: Shop) -> None:
    plan_activity(
        customer=shop.customer, start_at=ODD, end_at=ODD + 5 * HOUR, reason="a load test",
        by=shop.maker, at=DAY_2,
    )  # fmt: skip

    assert detect_anomalies(price_of=price_of, at=SEEN) == 0
    with pytest.raises(Invalid):
        plan_activity(
            customer=shop.customer, start_at=ODD, end_at=ODD, reason="no time", by=shop.maker,
            at=DAY_2,
        )  # fmt: skip


def test_feedback_is_kept_once_and_owners_change(shop: Shop, anomaly: Anomaly) -> None:
    hand_over(anomaly=anomaly, owner=shop.approver, reason="knows it", by=shop.maker, at=SEEN)
    seen = say_what_it_was(
        anomaly=anomaly, feedback="real", note="a loop", by=shop.approver, at=SEEN
    )

    assert (seen.owner, seen.feedback, seen.feedback_by) == (shop.approver, "real", shop.approver)
    with pytest.raises(Conflict):
        say_what_it_was(anomaly=anomaly, feedback="expected", note="x", by=shop.maker, at=SEEN)


def test_what_comes_after_somebody_called_it_real_is_raised_anew(
    shop: Shop, anomaly: Anomaly
) -> None:
    say_what_it_was(anomaly=anomaly, feedback="real", note="Key revoked", by=shop.maker, at=SEEN)
    again = ODD + 3 * HOUR  # Two hours later: less than what counts as going on.
    capture_events(items=sent(300, again, "next", "7"), sender="test", at=again + HOUR)
    aggregate_batches(at=again + HOUR)
    shop.rate(again + HOUR)

    detect_anomalies(price_of=price_of, at=again + HOUR + timedelta(minutes=15))

    first, second = Anomaly.objects.filter(pattern="retry_loop").order_by("pk")
    assert (first.observed, first.feedback) == (anomaly.observed, "real")
    assert (second.start_at, second.feedback) == (again - HOUR, "")
    assert Alert.objects.filter(source_key__endswith=second.source_key).exists()
    assert not detect_anomalies(price_of=price_of, at=again + HOUR + timedelta(minutes=20))


def test_an_incident_is_acted_on_and_resolved_once(shop: Shop, incident: Incident) -> None:
    act_on_incident(
        incident=incident, what="Key revoked", by=shop.maker, at=SEEN, is_contained=True
    )
    done = resolve_incident(incident=incident, resolution="Retries are capped now",
                            by=shop.maker, at=SEEN)  # fmt: skip

    assert (done.state, done.resolved_by) == ("resolved", shop.maker)
    assert [one.what for one in done.actions.all()] == ["Key revoked"]
    for again in (
        lambda: resolve_incident(incident=incident, resolution="x", by=shop.maker, at=SEEN),
        lambda: act_on_incident(incident=incident, what="x", by=shop.maker, at=SEEN),
        lambda: open_incident(
            title="Again", scope=Scope(None, ODD, SEEN), owner=shop.maker, key="other",
            by=shop.maker, at=SEEN, anomaly=incident.anomaly,
        ),
    ):  # fmt: skip
        with pytest.raises(Conflict):
            again()


def test_a_pack_holds_the_rows_behind_it_with_their_hashes(shop: Shop, incident: Incident) -> None:
    act_on_incident(incident=incident, what="Key revoked", by=shop.maker, at=SEEN)

    act_on_incident(incident=incident, what='=HYPERLINK("https://e.test")', by=shop.maker, at=SEEN)
    pack = make_evidence(incident=incident, by=shop.maker, at=SEEN)

    assert bytes(pack.pdf).startswith(b"%PDF")
    with zipfile.ZipFile(io.BytesIO(bytes(pack.archive))) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(texts["manifest.json"])
    for one in manifest["files"]:
        assert sha256(texts[one["name"]]).hexdigest() == one["sha256"]
        rows = list(csv.DictReader(io.StringIO(texts[one["name"]].decode())))
        assert len(rows) == one["rows"], one["name"]
    counts = {one["name"]: one["rows"] for one in manifest["files"]}
    assert counts["events.csv"] == 310  # Two hours of five calls, and the loop.
    assert counts["actions.csv"] == 2
    assert "\"'=HYPERLINK(" in texts["actions.csv"].decode()  # No formula in a spreadsheet.
    assert counts["audit.csv"] >= 2
    assert make_evidence(incident=incident, by=shop.maker, at=SEEN) != pack


def test_a_pack_sums_each_kind_of_credits_apart(shop: Shop, incident: Incident) -> None:
    unit = create_pricing_unit(code="other", name="Other", by=shop.maker, at=SEEN)
    card = create_rate_card(code="o", name="O", pricing_unit=unit, by=shop.maker, at=SEEN)
    bolt = replace(shop, customer=make_customer("bolt", shop.maker, SEEN), unit=unit, card=card)
    bolt.version([rate("output", "1")])
    bolt.period()
    bolt.use(ODD, output="1000")
    bolt.rate()
    everybody = open_incident(
        title="All", scope=Scope(None, incident.start_at, incident.end_at), owner=shop.maker,
        key="all", by=shop.maker, at=SEEN,
    )  # fmt: skip

    facts = facts_of(everybody)

    assert facts.credits == (("credit", "4340"), ("other", "1000"))
    assert facts.models == (("small", "credit", "4340"), ("small", "other", "1000"))
    rated = next(one for one in files_of(everybody) if one.name == "rated_usage.csv")
    place = {name: rated.columns.index(name) for name in ("hour", "unit", "charge")}
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rated.rows:
        if datetime.fromisoformat(row[place["hour"]]) >= everybody.start_at:
            sums[row[place["unit"]]] += Decimal(row[place["charge"]])
    assert sums == {"credit": 4_340, "other": 1_000}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident_evidence SET files = '[]'",
        "DELETE FROM incident_action",
        "UPDATE incident SET title = 'other'",
        "UPDATE anomaly SET start_at = start_at - interval '1 hour'",
        "DELETE FROM anomaly",
    ],
)
def test_postgresql_keeps_what_happened(shop: Shop, incident: Incident, statement: str) -> None:
    act_on_incident(incident=incident, what="Key revoked", by=shop.maker, at=SEEN)
    make_evidence(incident=incident, by=shop.maker, at=SEEN)
    check_what_is_deferred()

    with (
        pytest.raises(DatabaseError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_a_week_says_what_was_prevented_and_is_signed_once(shop: Shop, anomaly: Anomaly) -> None:
    # No grant: a request for 250 credits is refused, asked for three times; and one for 30.
    for request, amount in (("r1", "250"), ("r1", "250"), ("r1", "200"), ("", "30")):
        answer = authorize(
            customer=shop.customer, api_key=None, at=SEEN,
            request=Request(model="small", job="nightly", request=request,
                            credits=Decimal(amount), ttl_seconds=60),
        )  # fmt: skip
        assert not answer.decision.is_allowed
    other = create_pricing_unit(code="other", name="Other", by=shop.maker, at=DAY_2)
    authorize(
        customer=shop.customer, api_key=None, at=SEEN,
        request=Request(credits=Decimal(70), unit=other.code, ttl_seconds=60),
    )  # fmt: skip
    after = DAY_2 + timedelta(days=7)
    for start_at in (DAY_2 - HOUR, after):  # The second is of the next week.
        plan_activity(
            customer=shop.customer, start_at=start_at, end_at=start_at + 3 * HOUR, reason="a test",
            by=shop.approver, at=DAY_2,
        )  # fmt: skip

    week = prepare_checkpoint(
        start_on=date(2026, 11, 2), price_of=price_of, by=shop.maker, at=after
    )
    with pytest.raises(NotAllowed, match="planned what raised no anomaly"):
        sign_checkpoint(checkpoint=week, note="My own", by=shop.approver, at=after)
    signed = sign_checkpoint(checkpoint=week, note="Looked at", by=shop.maker, at=after)

    one, foreign = week.document["prevented"]
    assert (foreign["unit"], foreign["credits"], foreign["amount_minor"]) == ("other", "70", None)
    assert (one["requests"], one["credits"], one["amount_minor"]) == (4, "280", 280)
    (open_,) = week.document["unresolved_anomalies"]
    assert (open_["owner"], open_["impact_minor"]) == ("mia.loop", 4_200)
    assert {row["kind"] for row in week.document["alerts"]} == {"anomaly"}
    (planned,) = week.document["planned_activities"]
    assert (planned["planned_by"], planned["reason"]) == ("ann.loop", "a test")
    assert signed.signed_by == shop.maker
    assert list(checkpoints_are_as_signed()) == []
    again = prepare_checkpoint(
        start_on=date(2026, 11, 2), price_of=price_of, by=shop.approver, at=after
    )
    assert again == week
    with pytest.raises(Conflict):
        sign_checkpoint(checkpoint=week, note="Again", by=shop.approver, at=after)
    with pytest.raises(Conflict):
        prepare_checkpoint(start_on=date(2026, 11, 9), price_of=price_of, by=shop.maker, at=after)


def test_a_list_of_a_week_that_is_cut_says_so_and_leads_to_all(
    shop: Shop, anomaly: Anomaly, maker: User, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BILLING_CLOCK = SEEN.isoformat()
    monkeypatch.setattr("credits.selectors.checkpoint_facts.MOST", 0)
    week = prepare_checkpoint(
        start_on=date(2026, 11, 2), price_of=price_of, by=shop.maker, at=DAY_2 + timedelta(days=7)
    )

    assert week.document["unresolved_anomalies"] == []
    assert week.document["counts"] == {
        "unresolved_anomalies": 1, "planned_activities": 0, "open_incidents": 0,
    }  # fmt: skip
    client = client_of(maker)
    page = client.get(reverse("admin:credits_controlcheckpoint_change", args=[week.pk]))
    assert "0 of 1 are listed" in page.content.decode()
    url = f"{reverse('admin:credits_anomaly_changelist')}?feedback__exact="
    assert url in page.content.decode()
    assert client.get(url).context["cl"].result_count == 1


def test_a_week_in_which_the_worker_stood_still_is_written_down_later(
    shop: Shop, settings: Any
) -> None:
    made = []
    for weeks in (1, 1, 4):
        settings.BILLING_CLOCK = (DAY_2 + weeks * timedelta(days=7)).isoformat()
        made.append(prepare_checkpoints())
    assert made == [1, 0, 3]
    days = ControlCheckpoint.objects.order_by("start_on").values_list("start_on", flat=True)
    assert [day.day for day in days] == [2, 9, 16, 23]


def test_the_books_find_who_did_not_sign(shop: Shop) -> None:
    after = DAY_2 + timedelta(days=7)
    week = prepare_checkpoint(
        start_on=date(2026, 11, 2), price_of=price_of, by=shop.maker, at=after
    )
    ControlCheckpoint.objects.filter(pk=week.pk).update(signed_by=shop.approver, signed_at=after)

    assert len(list(checkpoints_are_as_signed())) == 1


def test_the_back_office_and_the_api_show_it(
    shop: Shop, incident: Incident, auditor: User, settings: Any
) -> None:
    settings.BILLING_CLOCK = SEEN.isoformat()
    pack = make_evidence(incident=incident, by=shop.maker, at=SEEN)
    week = prepare_checkpoint(
        start_on=date(2026, 11, 2), price_of=price_of, by=shop.maker,
        at=DAY_2 + timedelta(days=7),
    )  # fmt: skip
    client = client_of(auditor)
    assert incident.anomaly
    for row in (incident, incident.anomaly, pack, week):
        opts = row._meta
        page = client.get(reverse(f"admin:credits_{opts.model_name}_change", args=[row.pk]))
        assert page.status_code == 200
    for name in ("report", "archive"):
        taken = client.get(reverse(f"admin:credits_incidentevidence_{name}", args=[pack.pk]))
        assert sha256(taken.content).hexdigest() in (pack.pdf_digest, pack.archive_digest)
    _, key = create_api_key(name="all", scopes=["admin"], at=SEEN)

    def get(path: str) -> Any:
        return Client().get(path, headers={"authorization": f"Bearer {key}"})

    (found,) = get("/v1/anomalies?customer=acme").json()["data"]
    assert (found["pattern"], found["impact_minor"]) == ("retry_loop", 4_200)
    (found,) = get("/v1/incidents").json()["data"]
    assert found["state"] == "open"
    archive = get(f"/v1/incidents/{incident.pk}/evidence")
    assert sha256(archive.content).hexdigest() == pack.archive_digest
    assert get("/v1/incidents/999/evidence").status_code == 404
    assert IncidentEvidence.objects.count() == 1
