"""The days of the books begin in one zone, which is chosen before anything is posted."""

import io
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import kinds
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.kinds import kind_of
from invoicing.models import Invoice
from revrec import pack_verifier
from revrec.models import AuditPack, BooksZone, JournalEntry, Posting, RevenueSchedule
from revrec.selectors.tables import REPORTS
from revrec.selectors.zone import BOOKS_ZONE, books_zone
from revrec.services.months import ensure_period
from revrec.services.packs import Wish, ask_for_pack, make_pack, path_of
from revrec.services.periods import propose_close
from revrec.services.zone import propose_zone
from tests.revrec.builders import LONG_AGO, Shop, balances, on, recognise

pytestmark = pytest.mark.django_db

WORDS = Proposal("zone", "we are in Berlin", "none", "test", LONG_AGO)

# The end of a month everywhere, and a scenario's own calendar.
_OTHER_DAYS = {"revrec/services/periods.py": 1, "revrec/scenario.py": 1}


def test_days_of_the_books_are_made_in_one_place() -> None:
    """No default of UTC, no date of an instant and no midnight beside `day_of` and `start_of`."""
    root = Path(settings.BASE_DIR)
    made = re.compile(r"\bmidnight\(|\.date\(\)|\bcombine\(|::date\b|__date\b")
    zoned = re.compile(r"AT TIME ZONE %\(zone\)s\)+::date")
    found = {}
    for path in sorted((root / "revrec").rglob("*.py")):
        name = str(path.relative_to(root))
        if "migrations" not in path.parts and name != "revrec/schedule.py":
            text = path.read_text()
            if count := len(made.findall(text)) - len(zoned.findall(text)):
                found[name] = count

    assert found == _OTHER_DAYS


def _choose(shop: Shop, zone: str = "Europe/Berlin") -> BooksZone:
    chosen = propose_zone(zone=zone, proposal=WORDS, by=shop.maker, at=LONG_AGO)
    approve(change=chosen.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return chosen


def _days(kind: str) -> list[str]:
    found = JournalEntry.objects.filter(kind=kind).order_by("chain_position")
    return [str(day) for day in found.values_list("effective_on", flat=True)]


@pytest.mark.usefixtures("books_hold")
def test_an_event_before_midnight_utc_is_of_the_next_month_in_berlin(shop: Shop) -> None:
    _choose(shop)
    # A month of Berlin: 1 October 0:00 to 1 November 0:00, of which 25 October has 25 hours.
    customer = shop.customer(time_zone="Europe/Berlin")
    shop.subscribe(customer, "2026-09-30T22", fee=3_100, overage="0.01")
    shop.renew("2026-10-31T23")  # Its second period: opened at 31 October 23:00 UTC.
    invoice = Invoice.objects.filter(customer=customer).earliest("pk")
    shop.pay(invoice, "2026-10-31T23:30")
    shop.use(customer, "500", "2026-10-31T22:30")  # 23:30 there, one hour before the second.
    shop.use(customer, "700", "2026-10-31T23:30")  # 0:30 of 1 November there (OWN-16).

    recognise(customer, "2026-10-31T22:59")
    assert balances(customer)["4000"] == -3_000  # 30 of 31 days have ended.
    recognise(customer, "2026-11-02")

    plan = RevenueSchedule.objects.earliest("pk")
    assert (plan.start_on, plan.end_on) == (date(2026, 10, 1), date(2026, 11, 1))
    assert _days("payment_recorded") == ["2026-11-01"]
    assert _days("invoice_finalized")[0] == "2026-10-01"
    assert _days("overage_used") == ["2026-10-31", "2026-11-01"]
    of_november = Posting.objects.filter(account="4020", entry__period__start_on="2026-11-01")
    assert [posting.amount_minor for posting in of_november] == [-700]
    assert balances(customer, until=date(2026, 11, 1))["4000"] == -3_100
    # In UTC the usage, the payment and the second invoice would be October's.
    shown = REPORTS["recognised_billed_cash"].build(ensure_period(date(2026, 10, 1)))
    assert shown.rows[-1].figures["cash"].amount_minor == 0


def test_a_month_ends_at_midnight_of_the_zone(shop: Shop) -> None:
    _choose(shop)
    october = ensure_period(date(2026, 10, 1))

    with pytest.raises(Conflict, match="not ended"):
        propose_close(period=october, by=shop.maker, at=on("2026-10-31T22:59"))
    propose_close(period=october, by=shop.maker, at=on("2026-10-31T23"))


def test_the_zone_stays_once_anything_is_posted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = propose_zone(zone="Europe/Berlin", proposal=WORDS, by=shop.maker, at=LONG_AGO)
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-02")

    with pytest.raises(Conflict, match="their days stay"):
        propose_zone(zone="Europe/Paris", proposal=WORDS, by=shop.maker, at=LONG_AGO)
    with pytest.raises(Conflict, match="their days stay"):
        approve(change=waiting.policy_change, by=shop.approver, reason="late", at=LONG_AGO)
    monkeypatch.setitem(kinds._kinds, BOOKS_ZONE, replace(kind_of(BOOKS_ZONE), obstacle=None))
    with pytest.raises(DatabaseError, match="their days stay"), transaction.atomic():
        approve(change=waiting.policy_change, by=shop.approver, reason="late", at=LONG_AGO)
    assert books_zone() == "UTC"
    for statement in ("UPDATE books_zone SET zone = 'UTC'", "DELETE FROM books_zone"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_what_is_being_posted_keeps_the_zone_from_being_chosen(shop: Shop) -> None:
    customer = shop.customer()

    recognise(customer, "2026-01-02")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
            " AND pid = pg_backend_pid() AND granted"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended('books_zone', 0)"
        )
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize(
    ("zone", "said"),
    [("Mars/Phobos", "no time zone"), ("Asia/Kolkata", "whole hours"), ("", "no time zone")],
)
def test_a_zone_that_days_cannot_begin_in_is_refused(shop: Shop, zone: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        propose_zone(zone=zone, proposal=WORDS, by=shop.maker, at=LONG_AGO)


def test_a_zone_is_drafted_like_any_policy(shop: Shop) -> None:
    content = example_of(BOOKS_ZONE)
    kept = draft(kind=BOOKS_ZONE, content=content, proposal=WORDS, by=shop.maker, at=LONG_AGO)
    submit(change=kept, by=shop.maker, at=LONG_AGO)
    assert books_zone() == "UTC"
    kept.refresh_from_db()
    approve(change=kept, by=shop.approver, reason="agreed", at=LONG_AGO)
    assert books_zone() == "Europe/Berlin"


@pytest.mark.usefixtures("books_hold")
def test_a_pack_is_of_days_of_the_books_and_adds_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("django.conf.settings.PACKS_DIR", tmp_path)
    _choose(shop)
    customer = shop.customer(time_zone="Europe/Berlin")
    shop.subscribe(customer, "2026-10-31T23", fee=3_000, overage="0.01")
    shop.use(customer, "700", "2026-10-31T23:30")
    recognise(customer, "2026-11-03")

    def ask(start: str, end: str) -> AuditPack:
        return ask_for_pack(
            wish=Wish(on(start), on(end)), reason="sample", key=start, by=shop.maker,
            at=on("2026-12-01"),
        )  # fmt: skip

    with pytest.raises(Invalid, match="whole days, Europe/Berlin"):
        ask("2026-11-01", "2026-12-01")
    pack = ask("2026-10-31T23", "2026-11-30T23")
    make_pack(pack=pack, now=lambda: on("2026-12-01"))

    out = io.StringIO()
    assert pack_verifier.verify(str(path_of(pack)), out) == 0, out.getvalue()
    assert "2026-11-01 to 2026-11-30" in out.getvalue()
