"""The books follow what happened: each fact once, each promise to its last unit."""

from datetime import date, timedelta

import pytest
from django.db import connection

from billing_project.kernel import outbox
from billing_project.kernel.users import worker_user
from credits.models import LedgerKind, LedgerTransaction, RatedUsage
from credits.services.grants import expire_due_grants, void_grant
from invoicing.models import Invoice
from metering.services.adjust import cancel_event
from revrec.models import (
    BooksMark,
    EntrySource,
    JournalEntry,
    PerformanceObligation,
    UsedCredits,
)
from revrec.selectors.obligations import used_credits
from revrec.services.recognise import recognise_pending
from tests.revrec.builders import Shop, balances, entries, on, recognise, signed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_hold")]


def test_a_fee_is_a_liability_that_each_ended_day_earns(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)  # 49.00 for 31 days.

    recognise(customer, "2026-01-03T09")  # Two days have ended: 4900 * 2/31 = 316.13.

    assert balances(customer) == {"1100": 4_900, "2120": -4_584, "4000": -316}
    assert [signed(entry) for entry in entries(customer, "fees_earned")] == [
        {"2120": 158, "4000": -158},
        {"2120": 158, "4000": -158},
    ]


def test_a_whole_fee_is_earned_to_its_last_unit(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)

    recognise(customer, "2026-02-01")

    assert balances(customer) == {"1100": 4_900, "4000": -4_900}
    assert PerformanceObligation.objects.get().recognised_minor == 4_900


def test_running_again_posts_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)
    shop.use(customer, "250", "2026-01-02T10")

    first = recognise(customer, "2026-01-10")
    again = recognise(customer, "2026-01-10")

    assert (first, again) == (1 + 1 + 9, 0)


def test_days_are_told_apart_by_the_day_of_service(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)

    recognise(customer, "2026-01-03")

    [first, second] = entries(customer, "fees_earned")
    assert (first.effective_on, second.effective_on) == (date(2026, 1, 1), date(2026, 1, 2))
    posting = first.postings.get(account_id="4000")
    assert (posting.service_start_on, posting.service_end_on) == (
        date(2026, 1, 1),
        date(2026, 1, 2),
    )


def test_a_payment_settles_the_receivable(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)
    invoice = Invoice.objects.get(customer=customer)
    shop.pay(invoice, "2026-01-05", amount=1_900)

    recognise(customer, "2026-01-01")

    [payment] = entries(customer, "payment_recorded")
    assert signed(payment) == {"1000": 1_900, "1100": -1_900}
    assert payment.effective_on == date(2026, 1, 5)


def test_yen_are_earned_in_whole_units(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", currency="JPY", fee=1_000, days=7)

    recognise(customer, "2026-01-08")

    amounts = [-signed(entry)["4000"] for entry in entries(customer, "fees_earned")]
    assert amounts == [143, 143, 143, 142, 143, 143, 143]


def test_included_credits_earn_nothing_but_are_accounted_for(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900, included="1000")
    shop.use(customer, "400", "2026-01-02T10")

    recognise(customer, "2026-01-01")

    drawn = LedgerTransaction.objects.get(kind=LedgerKind.DRAWN)
    source = EntrySource.objects.get(source_type="ledger_transaction", source_id=drawn.pk)
    assert source.entry is None
    assert balances(customer) == {"1100": 4_900, "2120": -4_900}


def test_a_pack_is_a_liability_from_invoice_to_use(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    invoice = shop.pack(customer, "10000", 9_000, "2026-01-10")
    recognise(customer, "2026-01-10")
    assert balances(customer) == {"1100": 9_000, "2100": -9_000}

    shop.pay(invoice, "2026-01-10")
    shop.use(customer, "2500", "2026-01-10T12")
    recognise(customer, "2026-01-11")

    # 90.00 * 2,500 / 10,000 = 22.50.
    assert balances(customer) == {"1000": 9_000, "2100": -6_750, "4010": -2_250}


def test_paid_credits_without_an_invoice_were_paid_out_of_band(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "100", "2026-01-05", price=1_000)

    recognise(customer, "2026-01-06")

    [sale] = entries(customer, "credits_sold")
    assert signed(sale) == {"1000": 1_000, "2100": -1_000}
    assert sale.effective_on == date(2026, 1, 5)


def test_own_06_use_earns_at_the_price_of_each_grant(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "100", "2026-01-01")
    shop.grant(customer, "1000", "2026-01-01", price=10_000)
    shop.grant(customer, "1000", "2026-01-02", price=8_000)
    shop.use(customer, "1300", "2026-01-03T10")

    recognise(customer, "2026-01-04")

    # 100 free, 1,000 at 0.10, 200 at 0.08: 0 + 100.00 + 16.00 = 116.00; 64.00 is left.
    assert balances(customer) == {"1000": 18_000, "2100": -6_400, "4010": -11_600}


def test_uses_of_a_grant_on_one_day_are_one_entry(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "3", "2026-01-01", price=1_000)
    for at in ("2026-01-03T10", "2026-01-03T15", "2026-01-04T10"):
        shop.use(customer, "1", at)

    recognise(customer, "2026-01-05")

    used = entries(customer, "credits_used")
    assert [-signed(entry)["4010"] for entry in used] == [667, 333]  # 10.00 * 2/3 = 6.67.
    assert [entry.sources.count() for entry in used] == [2, 1]


def test_expiry_turns_what_is_left_into_breakage(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "1000", "2026-01-01", price=10_000, expires="2026-01-20")
    shop.use(customer, "800", "2026-01-03T10")
    expire_due_grants(by=worker_user(), at=on("2026-01-21"))

    recognise(customer, "2026-01-21")

    assert balances(customer) == {"1000": 10_000, "4010": -8_000, "4030": -2_000}
    assert entries(customer, "credits_expired")[0].effective_on == date(2026, 1, 20)


def test_voiding_a_paid_grant_releases_what_it_carried(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = shop.grant(customer, "1000", "2026-01-01", price=10_000)
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=on("2026-01-05"))

    recognise(customer, "2026-01-06")

    assert balances(customer) == {"1000": 10_000, "4030": -10_000}


def test_a_promotional_grant_that_ends_moves_nothing(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = shop.grant(customer, "500", "2026-01-01")
    void_grant(grant=grant, reason_code="mistake", by=shop.maker, at=on("2026-01-05"))

    recognise(customer, "2026-01-06")

    assert balances(customer) == {}
    assert EntrySource.objects.filter(source_type="ledger_transaction", entry=None).count() == 2


def test_overage_is_earned_by_the_day_and_then_billed(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.012")
    for day, used in (("03", "1000"), ("04", "500.5")):
        shop.use(customer, used, f"2026-01-{day}T10")
    recognise(customer, "2026-01-05")
    assert balances(customer) == {"1200": 1_801, "4020": -1_801}  # 1,500.5 * 0.012 = 18.006.

    shop.renew("2026-02-02")
    recognise(customer, "2026-02-02")

    assert balances(customer) == {"1100": 1_801, "4020": -1_801}
    assert [-signed(entry)["4020"] for entry in entries(customer, "overage_used")] == [1_200, 601]


def test_overage_that_rounds_to_nothing_is_accounted_for_and_carried(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.001")
    for day in ("03", "04", "05"):
        shop.use(customer, "2", f"2026-01-{day}T10")

    recognise(customer, "2026-01-06")

    # 0.2, 0.4, 0.6 cents: only the third day brings the total to a cent.
    [entry] = entries(customer, "overage_used")
    assert (entry.effective_on, signed(entry)["1200"]) == (date(2026, 1, 5), 1)
    assert EntrySource.objects.filter(source_type="rated_usage", entry=None).count() == 2


def test_usage_that_arrives_after_the_invoice_stays_unbilled(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.use(customer, "1000", "2026-01-10T10")
    shop.renew("2026-02-02")
    shop.use(customer, "300", "2026-01-20T10")

    recognise(customer, "2026-02-03")

    assert balances(customer) == {"1100": 1_000, "1200": 300, "4020": -1_300}


def test_a_cancelled_event_takes_overage_back(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.use(customer, "1000", "2026-01-10T10")
    wrong = shop.use(customer, "300", "2026-01-10T12")
    recognise(customer, "2026-01-11")

    _cancel(shop, customer, wrong, "2026-01-12")
    recognise(customer, "2026-01-12")

    assert balances(customer) == {"1200": 1_000, "4020": -1_000}
    assert signed(entries(customer, "overage_used")[-1]) == {"1200": -300, "4020": 300}


def test_a_cancelled_event_gives_paid_credits_back_at_their_basis(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    shop.grant(customer, "3", "2026-01-01", price=1_000)
    shop.use(customer, "1", "2026-01-10T10")
    wrong = shop.use(customer, "1", "2026-01-11T10")
    recognise(customer, "2026-01-12")

    _cancel(shop, customer, wrong, "2026-01-12")
    recognise(customer, "2026-01-13")

    assert signed(entries(customer, "credits_used")[-1]) == {"2100": -334, "4010": 334}
    assert balances(customer) == {"1000": 1_000, "2100": -667, "4010": -333}


def test_str_27_a_note_after_a_month_catches_up_and_replans(shop: Shop) -> None:
    # 90.00 for the 90 days from 1 January 2026, paid; 45.00 credited on 1 February.
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    shop.pay(invoice, "2026-01-01")
    recognise(customer, "2026-02-01")
    shop.credit(invoice, 4_500, "service_failure", "2026-02-01")

    recognise(customer, "2026-02-01")

    [note] = entries(customer, "credit_note_issued")
    assert signed(note) == {"2200": -4_500, "4900": 1_550, "2120": 2_950}
    recognise(customer, "2026-04-01")
    months = [balances(customer, date(2026, month, 1)).get("4000", 0) for month in (2, 3, 4)]
    assert months == [-3_100, -4_500, -6_050]  # 31.00, then 14.00 and 15.50 as published.


def test_a_note_known_late_is_measured_on_its_own_day(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    invoice = Invoice.objects.get(customer=customer)
    shop.credit(invoice, 1_550, "price_concession", "2026-01-11")

    recognise(customer, "2026-01-21")  # Ten days at 1.00, then ten of the remaining 21 at half.

    [note] = entries(customer, "credit_note_issued")
    assert signed(note) == {"1100": -1_550, "4900": 500, "2120": 1_050}
    assert balances(customer) == {"1100": 1_550, "2120": -550, "4000": -1_500, "4900": 500}


def test_cancelling_the_future_leaves_what_was_earned(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    invoice = Invoice.objects.get(customer=customer)
    shop.credit(invoice, 2_100, "cancel_future", "2026-01-11")

    recognise(customer, "2026-02-01")

    assert balances(customer) == {"1100": 1_000, "4000": -1_000}


def test_notes_one_after_the_other_keep_the_schedule_exact(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_999)
    invoice = Invoice.objects.get(customer=customer)
    shop.credit(invoice, 333, "goodwill", "2026-01-07")
    shop.credit(invoice, 1_111, "cancel_future", "2026-01-13")
    shop.credit(invoice, 777, "billing_error", "2026-01-29")

    recognise(customer, "2026-02-01")

    left = 4_999 - 333 - 1_111 - 777
    totals = balances(customer)
    assert totals["1100"] == left
    assert -totals["4000"] - totals["4900"] == left
    assert "2120" not in totals


def test_a_note_on_overage_is_all_contra_revenue(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.use(customer, "1000", "2026-01-10T10")
    shop.renew("2026-02-02")
    shop.credit(Invoice.objects.get(customer=customer), 400, "billing_error", "2026-02-03")

    recognise(customer, "2026-02-04")

    assert balances(customer) == {"1100": 600, "4020": -1_000, "4900": 400}


def test_a_note_on_an_unpaid_pack_is_all_liability(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    invoice = shop.pack(customer, "1000", 9_000, "2026-01-10")
    shop.credit(invoice, 1_000, "goodwill", "2026-01-11")
    shop.pay(invoice, "2026-01-12")
    shop.use(customer, "500", "2026-01-13T10")

    recognise(customer, "2026-01-14")

    # 1,000 credits now cost 80.00; half of them are used.
    assert balances(customer) == {"1000": 8_000, "2100": -4_000, "4010": -4_000}


def test_an_entry_names_every_fact_that_it_accounts_for(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)
    invoice = Invoice.objects.get(customer=customer)

    recognise(customer, "2026-01-01")

    [entry] = entries(customer, "invoice_finalized")
    sources = entry.sources.values_list("source_type", "source_id", "role")
    assert list(sources) == [("invoice_line", invoice.lines.get().pk, "invoiced")]
    assert entry.source_key == f"invoice:{invoice.pk}:finalized"


def test_the_notes_in_the_outbox_are_taken(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=4_900)
    assert outbox.waiting("money_changed") == [customer.pk]

    recognise(customer, "2026-01-02")

    assert outbox.waiting("money_changed") == []
    assert outbox.waiting("credits_changed") == []


def test_the_worker_finds_who_waits_and_whose_days_have_ended(shop: Shop) -> None:
    first, second = (shop.subscriber("2026-01-01", fee=3_100) for _ in range(2))
    recognise_pending(by=worker_user(), at=on("2026-01-02"))

    posted = recognise_pending(by=worker_user(), at=on("2026-01-04"))  # No note; two days more.

    assert posted == 4
    assert balances(first) == balances(second) == {"1100": 3_100, "2120": -2_800, "4000": -300}
    assert recognise_pending(by=worker_user(), at=on("2026-01-04")) == 0


def test_movements_of_credits_gather_and_money_does_not_wait(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    at, rest = on("2026-01-01"), timedelta(seconds=30)
    recognise_pending(by=worker_user(), at=at)
    outbox.publish("credits_changed", [customer.pk], at)

    recognise_pending(by=worker_user(), at=at + rest / 2, rest=rest)
    assert outbox.waiting("credits_changed") == [customer.pk]

    outbox.publish("money_changed", [customer.pk], at + rest / 2)
    recognise_pending(by=worker_user(), at=at + rest / 2, rest=rest)
    assert outbox.waiting("credits_changed") == []

    outbox.publish("credits_changed", [customer.pk], at)
    recognise_pending(by=worker_user(), at=at + rest, rest=rest)
    assert outbox.waiting("credits_changed") == []


def test_the_mark_follows_and_what_it_passes_is_in_the_books(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = shop.grant(customer, "100", "2026-01-01", price=1_000)
    for day in ("2026-01-02", "2026-01-03"):
        shop.use(customer, "30", f"{day}T10")
        recognise(customer, f"{day}T12")

    mark = BooksMark.objects.get(customer=customer)
    assert mark.through_transaction == LedgerTransaction.objects.latest("pk").pk
    assert mark.through_usage == RatedUsage.objects.latest("pk").pk
    assert UsedCredits.objects.get(obligation__grant=grant).credits == 60
    assert used_credits(PerformanceObligation.objects.get(grant=grant)) == 60


def test_books_without_marks_are_read_from_the_beginning(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01")
    grant = shop.grant(customer, "100", "2026-01-01", price=1_000)
    shop.use(customer, "30", "2026-01-02T10")
    recognise(customer, "2026-01-02T12")
    _forget_marks()  # As after the release that brought them.

    shop.use(customer, "30", "2026-01-03T10")
    assert recognise(customer, "2026-01-03T12") > 0

    assert UsedCredits.objects.get(obligation__grant=grant).credits == 60


def _forget_marks() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("books_mark", "used_credits"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(f"DELETE FROM {table}")
            for guard in ("keep_rows", "keep_table"):
                cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def test_drafts_are_not_in_the_books(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", overage="0.01")
    shop.use(customer, "10", "2026-01-03T10")
    recognise(customer, "2026-01-04")

    assert not JournalEntry.objects.filter(kind="invoice_finalized").exists()


def _cancel(shop: Shop, customer, identifier: str, at: str) -> None:  # type: ignore[no-untyped-def]
    cancel_event(customer=customer, identifier=identifier, reason="twice", by=shop.maker, at=on(at))
    shop.rate(customer, on(at))
