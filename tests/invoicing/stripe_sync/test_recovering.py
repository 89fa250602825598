"""A failed payment followed day by day: what is tried and told, and what changes in between."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from django.core import mail

from billing_project.kernel.books import run_checks
from credits.models import CreditGrant
from invoicing.models import Invoice, PaymentAttempt
from invoicing.services.endings import void_invoice, write_off_invoice
from invoicing.stripe_sync.dunning import mail_declines
from metering.models import Customer
from revrec.services.recognise import recognise_pending
from tests.invoicing.builders import issued, note_on, sold_pack
from tests.invoicing.stripe_sync.till import Till

DAY = timedelta(days=1)
Walk = list[tuple[int, int, int, str]]


def _customer(till: Till, *codes: str) -> Customer:
    """Return a customer whose bank says so, one charge after the other."""
    customer = till.customer(email="pay@acme.example")
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=list(codes))
    return customer


def _walk(
    till: Till, invoice: Invoice, days: Mapping[int, Callable[[], object]], until: int
) -> Walk:
    """Go from day to day; return days on which something was tried, told or settled."""
    seen: Walk = []
    for day in range(until + 1):
        if day in days:
            days[day]()
        till.collect(DAY if day else timedelta(0))
        mail_declines(by=till.shop.worker, at=till.at)
        invoice.refresh_from_db()
        now = (day, invoice.attempts.count(), len(mail.outbox), invoice.status)
        if not seen or seen[-1][1:] != now[1:]:
            seen.append(now)
    return seen


def _asked(invoice: Invoice) -> list[int]:
    tries = PaymentAttempt.objects.filter(invoice=invoice).order_by("number")
    return list(tries.values_list("amount_minor", flat=True))


def _books_are_right(till: Till) -> bool:
    recognise_pending(by=till.shop.worker, at=till.at, limit=None)
    return [finding for result in run_checks() for finding in result.findings] == []


NO = "insufficient_funds"


def test_it_fails_twice_and_recovers(till: Till) -> None:
    invoice = issued(till.shop, _customer(till, NO, NO), 10_000)

    walk = _walk(till, invoice, {}, 9)

    # After the first decline a day, after the second one three more.
    assert walk == [(0, 1, 1, "finalized"), (1, 2, 2, "finalized"), (4, 3, 2, "paid")]
    assert len(till.charges(invoice.customer)) == 1
    assert _books_are_right(till)


def test_it_fails_to_the_end_and_says_so_in_the_last_mail(till: Till) -> None:
    invoice = issued(till.shop, _customer(till, *[NO] * 9), 10_000)

    walk = _walk(till, invoice, {}, 40)

    assert walk == [
        (0, 1, 1, "finalized"), (1, 2, 2, "finalized"), (4, 3, 3, "finalized"),
        (9, 4, 4, "finalized"), (16, 5, 5, "finalized"),
    ]  # fmt: skip
    said = ["We will try again" in one.body for one in mail.outbox]
    assert said == [True, True, True, True, False]
    assert "We will not try this card again" in mail.outbox[-1].body
    assert (invoice.open_minor, till.charges(invoice.customer)) == (10_000, [])


def test_a_new_card_is_charged_at_once_and_the_schedule_is_over(till: Till) -> None:
    customer = _customer(till, *[NO] * 9)
    invoice = issued(till.shop, customer, 10_000)

    walk = _walk(till, invoice, {2: lambda: till.new_card(customer)}, 20)

    assert walk == [(0, 1, 1, "finalized"), (1, 2, 2, "finalized"), (2, 3, 2, "paid")]
    assert len(till.charges(customer)) == 1


def test_what_a_note_took_off_in_between_is_not_charged(till: Till) -> None:
    invoice = issued(till.shop, _customer(till, NO, NO), 10_000)

    walk = _walk(till, invoice, {2: lambda: note_on(till.shop, invoice, 4_000)}, 9)

    assert walk == [(0, 1, 1, "finalized"), (1, 2, 2, "finalized"), (4, 3, 2, "paid")]
    assert _asked(invoice) == [10_000, 10_000, 6_000]
    assert [one["amount"] for one in till.charges(invoice.customer)] == [6_000]
    assert _books_are_right(till)


def test_a_note_over_all_ends_it(till: Till) -> None:
    invoice = issued(till.shop, _customer(till, NO), 10_000)

    walk = _walk(till, invoice, {1: lambda: note_on(till.shop, invoice, 10_000)}, 9)

    assert [row[:3] for row in walk] == [(0, 1, 1), (1, 1, 1)]
    assert till.charges(invoice.customer) == []


@pytest.mark.parametrize(("end", "status"), [("void", "void"), ("give_up", "uncollectible")])
def test_what_ended_in_between_is_neither_charged_nor_told_of(
    till: Till, end: str, status: str
) -> None:
    customer = _customer(till, NO, NO)
    invoice = issued(till.shop, customer, 10_000)
    act = {"void": void_invoice, "give_up": write_off_invoice}[end]
    ends = {1: lambda: act(invoice=invoice, reason="x", by=till.shop.approver, at=till.at)}
    later = {3: lambda: till.new_card(customer)}

    walk = _walk(till, invoice, {**ends, **later}, 9)

    assert walk == [(0, 1, 1, "finalized"), (1, 1, 1, status)]
    assert till.charges(customer) == []
    assert _books_are_right(till)


def test_a_pack_gives_no_credits_before_its_payment_recovers(till: Till) -> None:
    customer = _customer(till, NO, NO)
    invoice = sold_pack(till.shop, customer, 9_000)
    grants = CreditGrant.objects.filter(customer=customer)
    seen: list[int] = []
    look = {day: lambda: seen.append(grants.count()) for day in range(1, 5)}

    walk = _walk(till, invoice, look, 9)

    assert walk[-1] == (4, 3, 2, "paid")
    assert (seen, grants.count()) == ([0, 0, 0, 0], 1)
    assert _books_are_right(till)
