"""The zone of the books cannot be chosen while a run that found none posts its first entry."""

import threading
import time

import pytest
from django.db import DatabaseError, connection

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.errors import Conflict
from revrec.models import JournalEntry
from revrec.selectors import zone as zone_module
from revrec.selectors.zone import books_zone
from revrec.services import recognise as recognise_module
from revrec.services.drafts import Run
from revrec.services.overage import accrue_overage
from revrec.services.zone import propose_zone
from tests.revrec.builders import LONG_AGO, Shop, recognise

pytestmark = pytest.mark.django_db(transaction=True)
WORDS = Proposal("zone", "we are in Berlin", "none", "test", LONG_AGO)


def _race(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Approve a zone after a run has read it, and before the run posts."""
    waiting = propose_zone(zone="Europe/Berlin", proposal=WORDS, by=shop.maker, at=LONG_AGO)
    customer = shop.subscriber("2026-01-01", fee=3_100)
    has_read = threading.Event()
    failures: list[Exception] = []

    def slow(run: Run) -> int:
        has_read.set()
        time.sleep(0.3)
        return accrue_overage(run)

    monkeypatch.setattr(recognise_module, "accrue_overage", slow)

    def choose() -> None:
        try:
            assert has_read.wait(5)
            approve(change=waiting.policy_change, by=shop.approver, reason="yes", at=LONG_AGO)
        except (Conflict, DatabaseError) as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=choose)
    thread.start()
    recognise(customer, "2026-01-02")
    thread.join()
    return failures


def test_a_run_that_has_read_the_zone_keeps_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    [failure] = _race(shop, monkeypatch)

    assert "their days stay" in str(failure)
    assert (books_zone(), JournalEntry.objects.exists()) == ("UTC", True)


def test_without_the_lock_entries_of_utc_would_stand_in_books_of_berlin(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: the gap is where an approval would come between."""
    monkeypatch.setattr(recognise_module, "held_zone", zone_module.books_zone)

    assert _race(shop, monkeypatch) == []

    assert (books_zone(), JournalEntry.objects.exists()) == ("Europe/Berlin", True)
