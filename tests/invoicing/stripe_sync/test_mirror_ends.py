"""Stripe's copies end as what they are copies of: voided, credited, paid elsewhere, expired."""

from datetime import timedelta
from typing import Any

import pytest

from credits.models import CreditGrant
from credits.services.grants import expire_grant, void_grant
from invoicing.models import CallKind, CallState, Invoice, StripeCall, StripeCustomer
from invoicing.services.endings import void_invoice, write_off_invoice
from invoicing.services.note_voids import void_credit_note
from metering.models import Customer
from tests.invoicing.builders import customer_of, issued, note_on, paid, sold_pack
from tests.invoicing.stripe_sync.test_mirroring import _differences, _run
from tests.invoicing.stripe_sync.till import Till

HOUR = timedelta(hours=1)
Copy = tuple[str, int, int]
ALL = tuple(CallKind)


@pytest.fixture
def mirror(till: Till, settings: Any) -> Till:
    """Return a shop that tells Stripe everything."""
    settings.STRIPE_MIRROR = True
    return till


def _mirrored(till: Till, rounds: int = 12) -> None:
    """Tell all that there is to tell, and nothing more afterwards."""
    for _ in range(rounds):
        if not _run(till, HOUR, ALL):
            break
    assert _run(till, HOUR, ALL) == 0
    assert _differences(till) == []


def _invoice(till: Till, minor: int = 10_000) -> tuple[Customer, Invoice]:
    customer = customer_of(till.shop)
    invoice = issued(till.shop, customer, minor, at=till.at)
    _mirrored(till)
    return customer, invoice


def _copy(till: Till, customer: Customer) -> Copy:
    """Return the copy's status, what was paid of it, and what its notes took off."""
    known = StripeCustomer.objects.get(customer=customer).stripe_id
    [copy] = till.fake.tell("find", object="invoice", customer=known)
    notes = till.fake.tell("find", object="credit_note", invoice=copy["id"], status="issued")
    return copy["status"], copy["amount_paid"], sum(one["amount"] for one in notes)


def test_an_invoice_that_is_owed_stays_a_draft(mirror: Till) -> None:
    customer, invoice = _invoice(mirror)
    note_on(mirror.shop, invoice, 3_000, at=mirror.at)
    _mirrored(mirror)

    assert _copy(mirror, customer) == ("draft", 0, 0)


@pytest.mark.parametrize(
    ("end", "copy"), [("void", ("void", 0, 0)), ("give_up", ("uncollectible", 0, 0)),
                      ("pay", ("paid", 10_000, 0))],
)  # fmt: skip
def test_a_copy_ends_as_its_invoice_does(mirror: Till, end: str, copy: Copy) -> None:
    customer, invoice = _invoice(mirror)
    words: Any = {"invoice": invoice, "reason": "x", "by": mirror.shop.approver, "at": mirror.at}
    if end == "void":
        void_invoice(**words)
    elif end == "give_up":
        write_off_invoice(**words)
    else:
        invoice.refresh_from_db()
        paid(mirror.shop, invoice, at=mirror.at)

    _mirrored(mirror)

    assert _copy(mirror, customer) == copy


def test_notes_before_and_after_the_payment_are_told_and_their_voids(mirror: Till) -> None:
    customer, invoice = _invoice(mirror)
    note_on(mirror.shop, invoice, 3_000, at=mirror.at)
    invoice.refresh_from_db()
    paid(mirror.shop, invoice, at=mirror.at)
    _mirrored(mirror)
    assert _copy(mirror, customer) == ("paid", 7_000, 3_000)

    mirror.at += HOUR
    late = note_on(mirror.shop, invoice, 2_000, key="late", at=mirror.at)
    _mirrored(mirror)
    assert _copy(mirror, customer) == ("paid", 7_000, 5_000)

    void_credit_note(credit_note=late, reason="a mistake", by=mirror.shop.maker, at=mirror.at)
    _mirrored(mirror)
    assert _copy(mirror, customer) == ("paid", 7_000, 3_000)


def test_a_note_over_all_pays_a_copy_by_itself(mirror: Till) -> None:
    customer, invoice = _invoice(mirror)
    note_on(mirror.shop, invoice, 10_000, at=mirror.at)

    _mirrored(mirror)

    assert _copy(mirror, customer) == ("paid", 0, 10_000)


@pytest.mark.parametrize("verb", ["void", "expire"])
def test_a_grant_that_is_taken_back_ends_at_stripe(mirror: Till, verb: str) -> None:
    customer = customer_of(mirror.shop)
    paid(mirror.shop, sold_pack(mirror.shop, customer, 9_000, mirror.at), at=mirror.at)
    _mirrored(mirror)
    grant = CreditGrant.objects.get(customer=customer)
    act = {"void": void_grant, "expire": expire_grant}[verb]
    act(grant=grant, reason_code="mistake", by=mirror.shop.maker, at=mirror.at)

    _mirrored(mirror)

    known = StripeCustomer.objects.get(customer=customer).stripe_id
    [told] = mirror.fake.tell("find", object="billing.credit_grant", customer=known)
    assert (told["voided_at"] is not None, told["expires_at"] is not None) == (
        verb == "void", verb == "expire"
    )  # fmt: skip


@pytest.mark.parametrize("fault", ["lost_answer", "lost_request", "error", "error_after"])
@pytest.mark.parametrize("later", [HOUR, timedelta(hours=25)])
def test_an_end_that_is_lost_is_told_once(mirror: Till, fault: str, later: timedelta) -> None:
    customer, invoice = _invoice(mirror)
    note_on(mirror.shop, invoice, 3_000, at=mirror.at)
    invoice.refresh_from_db()
    paid(mirror.shop, invoice, at=mirror.at)
    mirror.fake.faults(
        *({"fault": fault, "calls": f"POST /v1/{path}$", "times": 1}
          for path in (r"invoices/\w+/finalize", r"invoices/\w+/pay", "credit_notes"))
    )  # fmt: skip
    for _ in range(12):
        _run(mirror, later)
    mirror.fake.faults()

    _mirrored(mirror)

    assert _copy(mirror, customer) == ("paid", 7_000, 3_000)


def test_what_stripe_refuses_stops_there_and_is_shown(mirror: Till) -> None:
    customer, invoice = _invoice(mirror)
    known = StripeCustomer.objects.get(customer=customer).stripe_id
    [copy] = mirror.fake.tell("find", object="invoice", customer=known)
    mirror.fake.tell("change", id=copy["id"], status="void")  # By hand, at the dashboard.
    invoice.refresh_from_db()
    paid(mirror.shop, invoice, at=mirror.at)

    for _ in range(4):
        _run(mirror, HOUR)

    ends = StripeCall.objects.filter(kind=CallKind.END).order_by("id")
    assert [(one.params["verb"], one.state) for one in ends] == [
        ("finalize", CallState.DONE), ("pay", CallState.FAILED)
    ]  # fmt: skip
    assert ends[1].error == "This invoice is void."
    assert _differences(mirror) == [f"copy of {invoice.number}: open here, void there"]
