"""What goes back by itself when a change cuts a period, whatever became of its invoice."""

from decimal import Decimal

import pytest

from billing_project.kernel.errors import Insufficient
from invoicing.items import Item
from invoicing.models import ChangeKind, CreditNote, Invoice, InvoiceLine, Subscription
from invoicing.phases import Moment
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.disputes import record_dispute
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice
from invoicing.services.invoices import finalize_due
from invoicing.services.seats import change_seats, settle_due_seats
from invoicing.services.subscriptions import subscribe
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    fee_invoice,
    issued,
    note_on,
    paid,
    registered_in,
    sell_plan,
    subscribed,
)

pytestmark = pytest.mark.django_db

HALF = START + 15 * DAY  # Of the 30 days that the first period has.


def _cancel(shop: Shop, subscription: Subscription) -> None:
    asked = Asked(ChangeKind.CANCEL, Moment.NOW, "they asked", f"cancel:{subscription.pk}")
    change_subscription(subscription=subscription, asked=asked, by=shop.worker, at=HALF)


def _team(shop: Shop) -> Subscription:
    """Sell three seats of USD 20.00."""
    version = sell_plan(shop, "team", items=(Item("seat", "seats", "Seats", 2_000),))
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=3,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    return sold


def _charged_for_seats(sold: Subscription) -> int:
    lines = InvoiceLine.objects.filter(invoice__subscription=sold, kind="seat")
    standing = lines.exclude(invoice__status="void")
    return sum(line.amount_minor - line.credited_minor for line in standing)


def _dispute(shop: Shop, invoice: Invoice, minor: int) -> None:
    record_dispute(
        invoice=invoice, amount_minor=minor, reason="fraudulent", method="stripe",
        reference="dp_1", opened_at=START, by=shop.worker, at=START,
    )  # fmt: skip


@pytest.mark.parametrize(("disputed", "given_back"), [(4_900, []), (3_000, [1_900])])
def test_a_dispute_holds_up_no_cancellation_and_gives_nothing_back_twice(
    shop: Shop, disputed: int, given_back: list[int]
) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    _dispute(shop, paid(shop, fee_invoice(sold)), disputed)

    _cancel(shop, sold)

    sold.refresh_from_db()
    assert sold.ends_at == HALF
    # 24.50 is not used; the bank took the rest, and its verdict is waited for.
    assert list(CreditNote.objects.values_list("total_minor", flat=True)) == given_back
    check_what_is_deferred()


def test_what_is_left_beside_a_dispute_is_counted_with_tax(shop: Shop) -> None:
    registered_in(shop, "DE", "0.19", "EUR")
    customer = customer_of(shop, country="DE", currency="EUR")
    invoice = paid(shop, issued(shop, customer, 10_000, "EUR"))  # 119.00.
    _dispute(shop, invoice, 1_900)

    with pytest.raises(Insufficient, match=r"100\.00 EUR is left to credit"):
        note_on(shop, invoice, 10_000)
    assert note_on(shop, invoice, 8_403).total_minor == 10_000


def test_seats_that_were_written_off_hold_up_no_cancellation(shop: Shop) -> None:
    sold = _team(shop)
    write_off_invoice(invoice=fee_invoice(sold), reason="gone", by=shop.worker, at=START + DAY)

    _cancel(shop, sold)

    sold.refresh_from_db()
    assert (sold.ends_at, CreditNote.objects.count()) == (HALF, 0)


def test_what_is_claimed_again_after_a_cut_claims_the_days_that_were_served(shop: Shop) -> None:
    sold = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    wrong = fee_invoice(sold)
    void_invoice(invoice=wrong, reason="wrong name", by=shop.worker, at=START + DAY)
    _cancel(shop, sold)

    again = void_and_regenerate(invoice=wrong, reason="wrong name", by=shop.worker, at=HALF + DAY)

    assert again.total_minor == 2_450
    assert again.lines.get().description.endswith("15 of 30 days x 49.00")


def test_seats_that_were_removed_while_their_claim_was_void_are_not_claimed_again(
    shop: Shop,
) -> None:
    sold = _team(shop)
    wrong = fee_invoice(sold)
    void_invoice(invoice=wrong, reason="wrong name", by=shop.worker, at=START + DAY)
    for seats, key in ((-1, "left"), (1, "came")):
        change_seats(
            subscription=sold, seats=seats, effective_at=HALF, reason=key, key=key,
            by=shop.worker, at=HALF,
        )  # fmt: skip
    change_seats(
        subscription=sold, seats=-1, effective_at=HALF + 10 * DAY, reason="leaves", key="leaves",
        by=shop.worker, at=HALF,
    )  # fmt: skip

    void_and_regenerate(invoice=wrong, reason="wrong name", by=shop.worker, at=HALF + DAY)
    assert _charged_for_seats(sold) == 6_000
    settle_due_seats(at=HALF + 10 * DAY)

    assert _charged_for_seats(sold) == 6_000 - 333  # 5 of 30 days x 20.00
    check_what_is_deferred()


def test_a_discounted_fee_that_is_claimed_again_after_a_cut_is_claimed_in_part(
    shop: Shop,
) -> None:
    off = Item("discount", "launch", "Launch", percent=Decimal(50), kinds=("recurring",))
    sold = subscribed(shop, items=(off,))
    finalize_due(by=shop.worker, at=START)
    wrong = fee_invoice(sold)
    void_invoice(invoice=wrong, reason="wrong name", by=shop.worker, at=START + DAY)
    _cancel(shop, sold)

    again = void_and_regenerate(invoice=wrong, reason="wrong name", by=shop.worker, at=HALF + DAY)

    assert (again.status, again.total_minor) == ("draft", 1_225)
    check_what_is_deferred()
