"""What finance reads of the ledger in the back office, and how it closes a month."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from billing_project.kernel.clock import now
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.ownership import name_owner
from billing_project.kernel.period import midnight
from metering.events import EventInput
from metering.services.capture import capture_events
from revrec.models import (
    AccountingPeriod,
    CloseException,
    JournalEntry,
    LedgerSeal,
    PeriodStatus,
)
from revrec.services.periods import ensure_period, propose_close
from tests.console.backoffice import CLOCK, action_url, client_of, list_of, page_of, send, told
from tests.console.chain import Chain, run_chain
from tests.worlds import standing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = CLOCK


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with override_settings(BILLING_CLOCK=CLOCK), standing(run_chain, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def october(made: Chain, db: None) -> AccountingPeriod:
    """Return October 2026, in which the chain earned ten days of its fee."""
    return AccountingPeriod.objects.earliest("start_on")


def _propose(period: AccountingPeriod, maker: User) -> None:
    propose_close(period=period, by=maker, at=now())


def test_a_month_is_proposed_by_one_and_closed_by_another(
    october: AccountingPeriod, maker: User, approver: User
) -> None:
    client = client_of(approver)
    page = client.get(page_of(october)).content.decode()
    assert action_url(october, "close") not in page
    assert "All usage is rated" in page

    told_maker = send(client_of(maker), action_url(october, "propose"), reason="all is in")
    page = client.get(page_of(october)).content.decode()
    assert told(told_maker) == "success: The close of 2026-10 waits for somebody else"
    assert action_url(october, "close") in page

    response = send(client, action_url(october, "close"), reason="month-end list is signed")

    october.refresh_from_db()
    assert (october.status, october.closed_by) == (PeriodStatus.CLOSED, approver)
    assert told(response).startswith("success: Closed 2026-10; trial balance ")
    assert AuditEntry.objects.get(action="close_period").reason == "month-end list is signed"
    assert action_url(october, "close") not in client.get(page_of(october)).content.decode()


def test_a_month_that_has_not_ended_stays_open(october: AccountingPeriod, approver: User) -> None:
    november = ensure_period(october.end_on)

    client = client_of(approver)
    assert action_url(november, "close") not in client.get(page_of(november)).content.decode()

    response = send(client, action_url(november, "close"), reason="early")

    november.refresh_from_db()
    assert response.status_code == 422
    assert told(response) == "error: 2026-11 has not ended"
    assert november.status == PeriodStatus.OPEN


def test_a_close_asks_why_and_says_that_more_is_recognised_first(
    october: AccountingPeriod, maker: User, approver: User
) -> None:
    _propose(october, maker)
    client, url = client_of(approver), action_url(october, "close")

    assert "before the final recognition" in client.get(url).content.decode()
    assert send(client, url).status_code == 422
    october.refresh_from_db()
    assert october.status == PeriodStatus.SOFT


def test_who_proposed_a_close_reads_why_they_do_not_close_it(
    october: AccountingPeriod, approver: User
) -> None:
    _propose(october, approver)

    page = client_of(approver).get(action_url(october, "close")).content.decode()

    assert "You proposed this close" in page


def test_a_finding_is_signed_for_on_the_month_s_page(
    october: AccountingPeriod, approver: User
) -> None:
    name_owner(
        step="capture", function="finance", person=approver, since_at=now(), reason="does it",
        by=approver, at=now(),
    )  # fmt: skip
    event = EventInput(
        event_name="x", identifier="x", customer="nobody", timestamp=midnight(october.start_on),
        properties={},
    )  # fmt: skip
    capture_events(items=[event], sender="tests", at=midnight(october.end_on))
    client = client_of(approver)
    assert f"{approver} may sign for it" in client.get(page_of(october)).content.decode()

    response = send(
        client, action_url(october, "sign"), item="quarantine", reason="a test of the sender"
    )

    assert told(response).startswith("success: Signed for: nobody looks after")
    assert "a test of the sender" in client.get(page_of(october)).content.decode()
    list_page = client.get(list_of(CloseException)).content.decode()
    assert "a test of the sender" in list_page


def test_the_foot_of_a_page_leads_back(october: AccountingPeriod, auditor: User) -> None:
    foot = client_of(auditor).get(page_of(october)).content.decode().split("submit-row")[1]

    assert "Back" in foot
    assert "Close" not in foot


def test_a_month_shows_its_trial_balance_and_its_deferred_revenue(
    october: AccountingPeriod, auditor: User
) -> None:
    page = client_of(auditor).get(page_of(october)).content.decode()

    # The fee of 49.00 for 30 days from 21 October: 11 days of October earn 17.97.
    assert "4000 Revenue: base fees" in page
    assert "-17.97 USD" in page
    assert "Not explained" in page


def test_an_entry_shows_debits_credits_and_the_facts_behind_it(
    october: AccountingPeriod, auditor: User
) -> None:
    entry = JournalEntry.objects.filter(sources__source_type="invoice_line").earliest("pk")
    source = entry.sources.get()

    page = client_of(auditor).get(page_of(entry)).content.decode()

    assert page.count("49.00 USD") == 3  # Debited once, credited once; the share of the one fact.
    assert f"/admin/invoicing/invoiceline/{source.source_id}/change/" in page


@pytest.mark.parametrize(
    ("words", "finds"),
    [("{id}", True), ("{key}", True), ("acme", True), ("ACME", False), ("12x", False)],
)
def test_entries_are_found_exactly(
    october: AccountingPeriod, auditor: User, words: str, finds: bool
) -> None:
    entry = JournalEntry.objects.latest("pk")
    term = words.format(id=entry.pk, key=entry.source_key)

    found = client_of(auditor).get(list_of(JournalEntry), {"q": term}).context["cl"].result_list

    assert (entry in found) is finds


def test_a_closed_month_shows_its_seal_and_hands_it_out(
    october: AccountingPeriod, maker: User, approver: User, auditor: User
) -> None:
    _propose(october, maker)
    client = client_of(approver)
    assert (
        "The journal is sealed when the month closes."
        in client.get(page_of(october)).content.decode()
    )
    send(client, action_url(october, "close"), reason="month-end list is signed")
    seal = LedgerSeal.objects.get()
    reader = client_of(auditor)

    page = reader.get(page_of(october)).content.decode()
    assert (f"main: position {seal.head_position}, {seal.head_sha256}" in page) is True
    assert ">stands<" in page
    assert page_of(seal) in page
    assert page_of(seal) in reader.get("/admin/books/").content.decode()

    answer = reader.get(action_url(seal, "download"))

    [chain] = json.loads(answer.content)["manifest"]["chains"].values()
    assert chain["head"]["sha256"] == seal.head_sha256
    assert f'"ledger-2026-10-{seal.head_sha256[:12]}.seal.json"' in answer["Content-Disposition"]
    assert seal.manifest.replace('"', "&quot;") in reader.get(page_of(seal)).content.decode()
    assert action_url(october, "seal") not in page
