"""Who decides on what waits: finance on events of closed periods, and only it, at every door."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from billing_project.kernel.errors import NotAllowed
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from metering.models import MeterEvent, QuarantinedEvent, QuarantineRun
from metering.selectors.quarantine import Chosen, groups
from metering.services.quarantine import dismiss_quarantined, replay_part, replay_quarantine
from metering.services.quarantine_runs import advance_run, start_run
from tests.console.backoffice import action_url, client_of, list_of, page_of, told
from tests.console.backoffice import send as fill_in
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.metering.late import a_late_policy, a_person, invoice_until
from tests.worlds import standing

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "period_closed"
Act = Callable[[User, list[int]], object]

# Every way to act on rows of a reason or by id.
WAYS: dict[str, Act] = {
    "replay by id": lambda by, ids: replay_quarantine(by=by, at=AT, ids=ids),
    "replay a part": lambda by, ids: replay_part(by=by, at=AT, chosen=Chosen(ids=ids)),
    "dismiss": lambda by, ids: dismiss_quarantined(by=by, at=AT, ids=ids, reason="borne"),
}
LATE_WAYS: dict[str, Act] = WAYS | {
    "replay by reason": lambda by, ids: replay_quarantine(by=by, at=AT, reason=REASON),
    "replay a group": lambda by, ids: start_run(
        kind="replay", reason=REASON, missing="acme", by=by, at=AT
    ),
    "dismiss a group": lambda by, ids: start_run(
        kind="dismiss", reason=REASON, missing="acme", words="borne", by=by, at=AT
    ),
}


def _wait() -> dict[str, QuarantinedEvent]:
    """Let a late event wait, and one of an unknown customer."""
    a_meter(AT - 9 * DAY)
    acme = a_customer(AT - 9 * DAY)
    a_late_policy("quarantine", AT - 2 * DAY, acme)
    invoice_until(acme, AT - DAY)
    send(AT, an_event("late", timestamp=AT - 2 * DAY), an_event("lost", customer="nobody"))
    return {row.identifier: row for row in QuarantinedEvent.objects.all()}


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[dict[str, QuarantinedEvent]]:
    with override_settings(BILLING_CLOCK=AT.isoformat()), standing(_wait, django_db_blocker) as it:
        yield it


@pytest.fixture
def rows(made: dict[str, QuarantinedEvent], db: None) -> dict[str, QuarantinedEvent]:
    return deepcopy(made)


def _open() -> set[str]:
    waiting = QuarantinedEvent.objects.filter(state="open")
    return set(waiting.values_list("identifier", flat=True))


@pytest.mark.parametrize("role", ["support", "engineering"])
@pytest.mark.parametrize("way", LATE_WAYS)
def test_nobody_but_finance_decides_on_late_events(
    rows: dict[str, QuarantinedEvent], way: str, role: str
) -> None:
    with pytest.raises(NotAllowed, match="Finance alone decides on events of closed periods"):
        LATE_WAYS[way](a_person("somebody", role), [rows["late"].pk])

    assert _open() == {"late", "lost"}
    assert not QuarantineRun.objects.exists()
    assert not MeterEvent.objects.exists()


@pytest.mark.parametrize("way", WAYS)
def test_finance_decides_on_nothing_else(rows: dict[str, QuarantinedEvent], way: str) -> None:
    maker = a_person("somebody", "finance_maker")

    with pytest.raises(NotAllowed, match="closed periods; lost waits for another reason"):
        WAYS[way](maker, [row.pk for row in rows.values()])

    assert _open() == {"late", "lost"}


@pytest.mark.parametrize("way", WAYS)
def test_finance_and_services_decide_on_late_events(
    rows: dict[str, QuarantinedEvent], way: str
) -> None:
    late = rows["late"].pk
    WAYS[way](a_person("somebody", "finance_maker"), [late])
    assert _open() == {"lost"}


def test_the_worker_and_keys_decide_on_both(rows: dict[str, QuarantinedEvent]) -> None:
    key, _ = create_api_key(name="k", scopes=["admin"], at=AT)

    assert replay_quarantine(by=key.user, at=AT, reason=REASON).replayed == 1
    assert dismiss_quarantined(ids=[rows["lost"].pk], reason="x", by=worker_user(), at=AT) == 1


def test_work_that_was_allowed_goes_on_when_its_owner_has_left(
    rows: dict[str, QuarantinedEvent],
) -> None:
    maker = a_person("somebody", "finance_maker")
    run = start_run(kind="replay", reason=REASON, missing="acme", by=maker, at=AT)
    User.objects.filter(pk=maker.pk).update(is_active=False)

    assert advance_run(run, at=AT).closed_count == 1


def test_a_row_is_decided_on_by_its_owner_on_its_page(rows: dict[str, QuarantinedEvent]) -> None:
    late, lost = rows["late"], rows["lost"]
    shown = {}
    for role in ("finance_maker", "support"):
        client = client_of(a_person(role, role))
        for row in (late, lost):
            page = client.get(page_of(row)).content.decode()
            named = {name for name in ("replay", "dismiss") if f'{action_url(row, name)}"' in page}
            shown[role, row.identifier] = named

    refused = fill_in(client, action_url(late, "replay"), scope="reason")
    owner = client_of(User.objects.get(username="finance_maker"))
    done = fill_in(owner, action_url(late, "dismiss"), reason="borne")

    both: set[str] = {"replay", "dismiss"}
    assert shown == {
        ("finance_maker", "late"): both, ("finance_maker", "lost"): set(),
        ("support", "late"): set(), ("support", "lost"): both,
    }  # fmt: skip
    assert refused.status_code == 422
    assert "Finance alone decides" in refused.content.decode()
    assert told(done).startswith("success: Dismissed acme/late")


def test_a_group_is_another_roles(rows: dict[str, QuarantinedEvent]) -> None:
    support = client_of(a_person("somebody", "support"))
    late = groups().get(reason=REASON)

    page = support.get(page_of(late)).content.decode()
    refused = fill_in(support, action_url(late, "replay_group"))

    assert action_url(late, "replay_group") not in page
    assert refused.status_code == 422
    assert _open() == {"late", "lost"}


def test_a_selection_that_holds_anothers_rows_is_refused(
    rows: dict[str, QuarantinedEvent],
) -> None:
    url, every = list_of(QuarantinedEvent), [row.pk for row in rows.values()]
    support = client_of(a_person("somebody", "support"))

    def select(action: str, ids: list[int], **fields: Any) -> Any:
        return support.post(url, {"action": action, "_selected_action": ids, **fields})

    replayed = select("replay_selected", every)
    asked = select("dismiss_selected", every)
    dismissed = select("dismiss_selected", every, apply="1", reason="x", nonce="n" * 20)
    words = "Finance alone decides on events of closed periods; late waits for that."

    assert told(replayed) == f"error: {words}"
    assert words in asked.content.decode()
    assert (dismissed.status_code, words in dismissed.content.decode()) == (422, True)
    assert _open() == {"late", "lost"}
    select("dismiss_selected", [rows["lost"].pk], apply="1", reason="x", nonce="n" * 20)
    assert _open() == {"late"}


def test_of_many_rows_the_first_are_named(rows: dict[str, QuarantinedEvent]) -> None:
    send(AT, *(an_event(f"late-{n}", timestamp=AT - 2 * DAY) for n in range(4)))
    ids = list(QuarantinedEvent.objects.values_list("pk", flat=True))

    with pytest.raises(NotAllowed, match="; late, late-0, late-1 and 2 more wait for that"):
        dismiss_quarantined(ids=ids, reason="x", by=a_person("somebody", "support"), at=AT)
