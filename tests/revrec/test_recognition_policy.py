"""Fees earn by day or by month, and statements show what is due: by the version in force."""

from datetime import date

import pytest

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Invalid
from invoicing.items import Item
from invoicing.models import CreditNote, Invoice, InvoiceLine
from invoicing.services.note_voids import void_credit_note
from metering.models import Customer
from revrec.models import Granularity, Presentation
from revrec.reporting import Table
from revrec.schedule import ScheduleDay, months_alike, respread
from revrec.selectors.recognition import RECOGNITION
from revrec.selectors.tables import REPORTS
from revrec.services.months import ensure_period
from revrec.services.recognition import Recognition
from tests.revrec.builders import LONG_AGO, Shop, balances, govern, on, recognise
from tests.revrec.vectors import VECTORS, by_month, minor


def test_each_month_of_a_service_earns_alike() -> None:
    year = months_alike(minor(VECTORS["LDG-02"]["inputs"]["amount"]), date(2026, 1, 1),
                        date(2027, 1, 1))  # fmt: skip
    month = minor(VECTORS["LDG-02"]["expected"]["monthly"])

    assert list(by_month(year).values()) == [month] * 12


@pytest.mark.parametrize(
    ("start_on", "end_on", "sums"),
    [
        # 90.00 are 30.00 from each 15th on: 17 of 31 days are 16.45, and so on.
        (date(2026, 1, 15), date(2026, 4, 15), [1_645, 2_855, 3_145, 1_355]),
        (date(2026, 1, 31), date(2026, 2, 28), [321, 8_679]),  # One month, of 28 days.
        (date(2026, 1, 1), date(2026, 1, 11), [9_000]),  # No whole month: by day.
    ],
)
def test_a_service_that_begins_within_a_month_counts_its_own_months(
    start_on: date, end_on: date, sums: list[int]
) -> None:
    days = list(months_alike(9_000, start_on, end_on))

    assert sum(day.amount_minor for day in days) == 9_000
    assert [day.service_on for day in days][:: len(days) - 1][0] == start_on
    assert len(days) == (end_on - start_on).days
    assert list(by_month(days).values()) == sums


def test_what_is_left_is_spread_as_it_was_to_be_earned() -> None:
    days = [ScheduleDay(date(2026, 1, n), minor_) for n, minor_ in ((1, 10), (2, 30), (3, 0))]

    assert [day.amount_minor for day in respread(20, days)] == [5, 15, 0]
    assert list(respread(0, days[2:])) == []


BY_MONTH = Recognition(Granularity.MONTH)


def _quarter(shop: Shop) -> tuple[Customer, InvoiceLine]:
    item = Item("one_off", "setup", "Setup", amount_minor=9_000, periods=3)
    customer = shop.subscriber("2026-01-01", items=(item,))
    return customer, InvoiceLine.objects.get(invoice__customer=customer)


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_a_note_and_its_void_follow_the_months(shop: Shop) -> None:
    govern(shop, BY_MONTH)
    customer, line = _quarter(shop)
    recognise(customer, "2026-02-01")
    assert balances(customer)["4000"] == -3_000  # By day it would be 31.00.

    shop.credit(line.invoice, 3_000, "goodwill", "2026-02-01")
    recognise(customer, "2026-03-01")

    # A third was earned of 90.00, so that 10.00 come off; 20.00 are each of the two months left.
    assert balances(customer) == {"1100": 6_000, "2120": -2_000, "4000": -5_000, "4900": 1_000}
    note = CreditNote.objects.get()
    void_credit_note(credit_note=note, reason="mistake", by=shop.maker, at=on("2026-03-01T01"))
    recognise(customer, "2026-03-01T02")
    assert balances(customer) == {"1100": 9_000, "2120": -3_000, "4000": -6_000}
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1100": 9_000, "4000": -9_000}


@pytest.mark.django_db
@pytest.mark.usefixtures("books_hold")
def test_what_was_issued_before_a_version_keeps_its_days(shop: Shop) -> None:
    govern(shop, BY_MONTH, "2026-01-02")
    customer, _line = _quarter(shop)

    recognise(customer, "2026-02-01")

    assert balances(customer)["4000"] == -3_100


def _balances_of(month: int) -> dict[str, int]:
    table: Table = REPORTS["contract_balances"].build(ensure_period(date(2026, month, 1)))
    return {row.labels["balance"]: row.figures["closing"].amount_minor for row in table.rows}


@pytest.mark.django_db
def test_what_can_be_cancelled_and_is_not_due_is_not_shown_by_that_policy(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-20", fee=3_100)  # Due on 19 February.
    recognise(customer, "2026-02-01")
    gross = _balances_of(1)
    govern(shop, Recognition(presentation=Presentation.DUE))

    shown = _balances_of(1)

    # Twelve days are earned: 31.00 claimed, 19.00 not delivered.
    assert (gross["Receivables, billed"], gross["Contract liabilities"]) == (3_100, 1_900)
    assert shown == gross | {
        "Receivables not due yet, of what can be cancelled": -1_900,
        "Contract liabilities not due yet, of what can be cancelled": -1_900,
    }
    recognise(customer, "2026-02-20")
    assert {total for name, total in _balances_of(2).items() if "not due yet" in name} == {0}


@pytest.mark.django_db
def test_what_is_not_paid_is_not_shown_by_that_policy_however_long_it_is_due(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-11", fee=9_000, days=90)  # Due on 10 February.
    shop.pack(customer, "100", 500, "2026-01-11")
    invoice = Invoice.objects.get(customer=customer, subscription__isnull=False)
    shop.pay(invoice, "2026-01-12", 1_000)
    recognise(customer, "2026-03-01")
    gross = _balances_of(2)
    govern(shop, Recognition(presentation=Presentation.PAID))

    shown = _balances_of(2)

    # 49 of 90 days are earned: 80.00 are open of the fee, 41.00 of it not delivered; 5.00 of the
    # pack neither paid nor delivered. What is left to show is 39.00 that were earned and not paid.
    assert (gross["Receivables, billed"], gross["Contract liabilities"]) == (8_500, 4_600)
    assert shown == gross | {
        "Receivables not paid yet, of what is not delivered": -4_600,
        "Contract liabilities not paid yet, of what is not delivered": -4_600,
    }
    shop.pay(invoice, "2026-03-01")
    recognise(customer, "2026-03-02")
    assert _balances_of(3)["Receivables not paid yet, of what is not delivered"] == -500


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["tax_point", "gross", "rounding", "included_credits"])
def test_a_policy_says_nothing_of_tax_points_or_agency(shop: Shop, name: str) -> None:
    words = Proposal("more", "wanted", "done", "test", LONG_AGO)
    content = {**example_of(RECOGNITION), name: "other"}
    kept = draft(kind=RECOGNITION, content=content, proposal=words, by=shop.maker, at=LONG_AGO)

    with pytest.raises(Invalid, match=f"nobody reads {name}"):
        submit(change=kept, by=shop.maker, at=LONG_AGO)
