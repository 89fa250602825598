"""What a refund of unused credits takes: what they carried first, and beyond it 4910 (rule 16)."""

import pytest

from billing_project.kernel.books import run_checks
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from credits.services.clawing import claw_back
from credits.services.grants import expire_grant
from invoicing.crediting import Settlement
from invoicing.models import Invoice
from metering.models import Customer
from revrec.crediting import RefundSplit, split_refund
from revrec.posting import About, Account, EntryKind, pair
from revrec.services.journal import EntryDraft, post_entries
from tests.revrec.builders import Shop, balances, close_month, entries, on, recognise, signed


@pytest.mark.parametrize(
    ("amount", "deferred", "broken", "split"),
    [
        (6_000, 0, 6_000, RefundSplit(0, 6_000, 0)),  # All that was unused.
        (5_000, 0, 6_000, RefundSplit(0, 5_000, 0)),  # 10.00 are retained.
        (7_000, 0, 6_000, RefundSplit(0, 6_000, 1_000)),  # 10.00 of what was used.
        (7_000, 4_000, 2_000, RefundSplit(4_000, 2_000, 1_000)),
        (500, 0, 0, RefundSplit(0, 0, 500)),  # All of it was used.
    ],
)
def test_what_goes_back_comes_off_what_unused_credits_carried_first(
    amount: int, deferred: int, broken: int, split: RefundSplit
) -> None:
    assert split_refund(amount, deferred, broken) == split
    assert split.liability_minor + split.breakage_minor + split.beyond_minor == amount


def _taken_back(shop: Shop) -> tuple[Customer, Invoice]:
    """Return a paid pack of 1,000 credits for 100.00: 400 were used, the others clawed back."""
    customer = shop.subscriber("2026-01-01")
    pack = shop.pack(customer, "1000", 10_000, "2026-01-02")
    shop.pay(pack, "2026-01-02")
    shop.use(customer, "400", "2026-01-03T10")
    claw_back(
        grant=CreditGrant.objects.get(customer=customer), reason="refund", reference="re_1",
        by=shop.maker, at=on("2026-01-05"),
    )  # fmt: skip
    return customer, pack


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize(
    ("refund", "noted", "left"),
    [
        (6_000, {"4030": 6_000}, {}),
        (5_000, {"4030": 5_000}, {"4030": -1_000}),  # Retained: kept as breakage.
        (7_000, {"4030": 6_000, "4910": 1_000}, {"4910": 1_000}),  # A favour beyond what was due.
    ],
)
def test_a_refund_of_unused_credits_retains_what_is_not_given_back(
    shop: Shop, refund: int, noted: dict[str, int], left: dict[str, int]
) -> None:
    customer, pack = _taken_back(shop)
    note = shop.credit(pack, refund, "cancel_future", "2026-01-06", Settlement(refund))
    shop.refund(note, refund, "2026-01-07")

    recognise(customer, "2026-01-08")

    [entry] = entries(customer, "credit_note_issued")
    assert signed(entry) == {**noted, "2200": -refund}
    assert balances(customer) == {"1000": 10_000 - refund, "4010": -4_000, **left}


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_a_refund_after_a_close_takes_breakage_back_in_the_open_month(shop: Shop) -> None:
    customer, pack = _taken_back(shop)
    close_month("2026-01-01", "2026-02-02")
    shop.credit(pack, 7_000, "goodwill", "2026-02-03")

    recognise(customer, "2026-02-04")

    [entry] = entries(customer, "credit_note_issued")
    assert (str(entry.effective_on), signed(entry)) == (
        "2026-02-03", {"4030": 6_000, "4910": 1_000, "2200": -7_000},
    )  # fmt: skip


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_credits_that_expired_before_a_refund_give_their_breakage_back(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    pack = shop.pack(customer, "1000", 10_000, "2026-01-02")
    shop.pay(pack, "2026-01-02")
    grant = CreditGrant.objects.get(customer=customer)
    expire_grant(grant=grant, reason_code="ended", by=shop.maker, at=on("2026-01-04"))
    claw_back(grant=grant, reason="refund", reference="re_1", by=shop.maker, at=on("2026-01-05"))
    shop.credit(pack, 3_000, "goodwill", "2026-01-06")
    shop.credit(pack, 7_000, "goodwill", "2026-01-07")

    recognise(customer, "2026-01-08")

    assert balances(customer) == {"1000": 10_000, "2200": -10_000}


@pytest.mark.django_db
def test_what_no_note_gave_back_is_found_on_4910(shop: Shop) -> None:
    customer, pack = _taken_back(shop)
    note = shop.credit(pack, 7_000, "goodwill", "2026-01-06")
    recognise(customer, "2026-01-07")
    [entry] = entries(customer, "credit_note_issued")
    of = entry.postings.get(account="4910")
    about = About("USD", of.obligation_id, of.invoice_line_id)
    wrong = pair(Account.REFUNDS, Account.BREAKAGE_REVENUE, 100, about)
    for number, kind in enumerate((EntryKind.CREDIT_NOTE_ISSUED, EntryKind.CREDITS_EXPIRED)):
        draft = EntryDraft(
            on("2026-01-08").date(), kind, note.number, customer.pk, wrong, f"test:{number}"
        )
        post_entries(drafts=[draft], by=worker_user(), at=on("2026-01-08"))

    found = {result.name: len(result.findings) for result in run_checks() if result.findings}

    assert found["revrec.refunds_tie"] == 2
