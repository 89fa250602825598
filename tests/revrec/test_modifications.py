"""A contract that changes is blended, caught up or a contract of its own, as its answers say."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from django.db.models import Sum
from django.urls import reverse

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from invoicing.items import Item
from invoicing.models import CreditNote, Invoice, InvoiceLine
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import void_invoice, write_off_invoice
from invoicing.services.note_voids import void_credit_note
from metering.models import Customer
from revrec.models import ContractModification, PerformanceObligation, RevenueScheduleLine
from revrec.services.allocations import Alone, propose_allocation
from revrec.services.modifications import Answers, propose_modification
from tests.console.backoffice import client_of, person, send
from tests.revrec.builders import LONG_AGO, Shop, balances, entries, on, recognise
from tests.revrec.vectors import VECTORS, minor

pytestmark = pytest.mark.django_db
BLENDS, CATCHES_UP = Answers(False, False, True), Answers(False, False, False)


def _sold(
    shop: Shop, fee: int = 3_100, once: int = 9_000, periods: int = 3, days: int = 0
) -> tuple[Customer, InvoiceLine, InvoiceLine]:
    """Sell a month for a fee, and beside it something that serves for longer."""
    item = Item("one_off", "more", "More", amount_minor=once, periods=periods)
    customer = shop.subscriber("2026-01-01", fee=fee, items=(item,), days=days)
    first, second = InvoiceLine.objects.filter(invoice__customer=customer).order_by("position")
    return customer, first, second


def _change(
    shop: Shop, before: Sequence[InvoiceLine], added: Sequence[InvoiceLine], answers: Answers,
    on_day: str = "2026-01-11", approved: bool = True,
) -> ContractModification:  # fmt: skip
    words = Proposal("change", "wanted", "done", "test", on(on_day))
    made = propose_modification(
        customer=before[0].invoice.customer, before=before, added=added, answers=answers,
        evidence="an amendment", proposal=words, by=shop.maker, at=on(on_day),
    )  # fmt: skip
    if approved:
        approve(change=made.policy_change, by=shop.approver, reason="agreed", at=on(on_day))
    return made


@pytest.mark.usefixtures("books_hold")
def test_what_is_left_is_earned_evenly_until_the_last_of_it_ends(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)

    recognise(customer, "2026-01-11T09")

    # Ten days at 1.00 + 1.00; 21.00 + 80.00 are left for 80 days.
    [moved] = entries(customer, "contract_modified")
    assert list(moved.postings.order_by("position").values_list("account", "amount_minor")) == [
        ("2120", 2_100), ("2120", -2_100),
    ]  # fmt: skip
    assert balances(customer) == {"1100": 12_100, "2120": -10_100, "4000": -2_000}
    assert recognise(customer, "2026-01-11T09") == 0
    recognise(customer, "2026-01-21")
    assert balances(customer)["4000"] == -(2_000 + 1_263)  # 101.00 * 10/80 = 12.625.
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1100": 12_100, "4000": -12_100}


def test_ifr_07_years_that_are_left_cost_alike(shop: Shop) -> None:
    inputs, expected = VECTORS["IFR-07"]["inputs"], VECTORS["IFR-07"]["expected"]
    customer, year3, extension = _sold(
        shop, minor(inputs["year3"]), minor(inputs["extension"]), inputs["years_left"], days=365
    )
    _change(shop, [year3], [extension], BLENDS, "2026-01-01")

    recognise(customer, "2026-01-01T01")

    promise = PerformanceObligation.objects.get(invoice_line=extension)
    days = RevenueScheduleLine.objects.filter(schedule=promise.schedules.latest("revision"))
    sums = days.values("service_on__year").annotate(sum=Sum("amount_minor"))
    years = dict(sums.order_by().values_list("service_on__year", "sum"))
    # 2028 has one day more than the 365 of a year, 2029 ends a day early.
    per_day = minor(expected["annual_revenue_after"]) / 365
    assert years[2026] == years[2027] == minor(expected["annual_revenue_after"])
    assert abs(years[2028] - 366 * per_day) <= 1
    assert sum(years.values()) == 4 * minor(expected["annual_revenue_after"])


@pytest.mark.usefixtures("books_hold")
def test_one_promise_that_is_partly_kept_is_caught_up(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], CATCHES_UP)

    recognise(customer, "2026-01-11T09")

    # 121.00 * 10/90 = 13.44 of the 20.00 that were earned.
    assert balances(customer) == {"1100": 12_100, "2120": -(12_100 - 1_344), "4000": -1_344}
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1100": 12_100, "4000": -12_100}


@pytest.mark.usefixtures("books_hold")
def test_a_contract_of_its_own_leaves_the_old_one_as_it_is(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    made = _change(shop, [fee], [more], Answers(True, True, True))

    recognise(customer, "2026-01-11T09")

    assert made.treatment == "separate"
    assert entries(customer, "contract_modified") == []
    assert balances(customer) == {"1100": 12_100, "2120": -10_100, "4000": -2_000}


@pytest.mark.usefixtures("books_hold")
def test_what_is_taken_off_an_old_line_comes_off_the_promise_that_took_it_over(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")

    shop.credit(fee.invoice, 3_100, "billing_error", "2026-01-11T10")
    recognise(customer, "2026-01-11T11")

    # 10.00 were earned of it; of the 21.00 that are left 80 days the rest is the other line's.
    assert balances(customer)["2120"] + balances(customer)["4000"] + balances(customer)["4900"] == (
        -9_000
    )
    recognise(customer, "2026-04-01")
    assert balances(customer)["4000"] + balances(customer)["4900"] == -9_000


@pytest.mark.usefixtures("books_hold")
def test_a_future_that_is_cancelled_comes_off_the_promise_that_owes_it(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")

    shop.credit(fee.invoice, 2_100, "cancel_future", "2026-01-11T10")
    recognise(customer, "2026-01-11T11")

    # Ten days were delivered and stay earned; of the 101.00 that were left, 80.00 are.
    assert balances(customer) == {"1100": 10_000, "2120": -8_000, "4000": -2_000}
    void_credit_note(
        credit_note=CreditNote.objects.get(), reason="x", by=shop.maker, at=on("2026-01-11T12")
    )
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1100": 12_100, "4000": -12_100}


@pytest.mark.usefixtures("books_hold")
def test_the_void_of_a_note_puts_back_what_it_took_of_the_promise_that_took_over(
    shop: Shop,
) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")
    shop.credit(fee.invoice, 2_100, "cancel_future", "2026-01-11T10")
    recognise(customer, "2026-01-11T11")

    void_credit_note(
        credit_note=CreditNote.objects.get(), reason="x", by=shop.maker, at=on("2026-01-11T12")
    )
    recognise(customer, "2026-01-21")

    # As without the note: 101.00 over 80 days, and nothing of it over the days of the old line.
    assert balances(customer)["4000"] == -(2_000 + 1_263)
    promise = PerformanceObligation.objects.get(invoice_line=fee)
    assert promise.price_minor == promise.recognised_minor == 1_000


@pytest.mark.usefixtures("books_hold")
def test_a_write_off_ends_what_another_promise_took_over_of_a_line(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")

    write_off_invoice(invoice=fee.invoice, reason="gone", by=shop.maker, at=on("2026-01-11T10"))
    recognise(customer, "2026-01-11T11")

    # Ten days at 1.00 + 1.00 were delivered; the 21.00 of the old line lie in the other's promise.
    assert balances(customer) == {"4000": -2_000, "6200": 2_000}
    invoice = Invoice.objects.get(pk=fee.invoice_id)
    shop.pay(invoice, "2026-01-12", 12_100)
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1000": 12_100, "4000": -12_100}


@pytest.mark.usefixtures("books_hold")
def test_of_a_line_that_took_over_only_its_own_is_written_off(shop: Shop) -> None:
    customer, _fee, more = _sold(shop)
    shop.renew("2026-02-01")
    february = InvoiceLine.objects.filter(invoice__customer=customer).latest("pk")
    _change(shop, [more], [february], BLENDS, "2026-02-11")
    recognise(customer, "2026-02-11T09")

    write_off_invoice(
        invoice=february.invoice, reason="gone", by=shop.maker, at=on("2026-02-11T10")
    )
    recognise(customer, "2026-02-11T11")

    # 10 of February's 28 days: 31.00 x 10/28 = 11.07 delivered. 49.00 of 90.00 are the other's.
    assert balances(customer)["6200"] == 1_107
    assert balances(customer)["2120"] == -4_900


@pytest.mark.usefixtures("books_hold")
def test_a_lost_dispute_ends_what_another_promise_took_over(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    shop.pay(fee.invoice, "2026-01-02")
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")

    dispute = record_dispute(
        invoice=fee.invoice, amount_minor=12_100, reason="general", method="stripe", reference="d",
        opened_at=on("2026-01-11T10"), by=shop.maker, at=on("2026-01-11T10"),
    )  # fmt: skip
    record_dispute_outcome(
        dispute=dispute, verdict="lost", decided_at=on("2026-01-11T11"), by=shop.maker,
        at=on("2026-01-11T11"),
    )  # fmt: skip
    recognise(customer, "2026-01-11T12")

    assert balances(customer) == {"4000": -2_000, "4920": 2_000}


@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize("answers", [BLENDS, CATCHES_UP])
def test_a_note_and_its_void_leave_what_a_changed_contract_earned(
    shop: Shop, answers: Answers
) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], answers)
    recognise(customer, "2026-01-21")
    before, line = balances(customer), more if answers is BLENDS else fee

    note = issue_credit_note(
        invoice=line.invoice, lines=[(line, 100)], reason="goodwill", memo="", key="note",
        by=shop.maker, at=on("2026-01-21T10"),
    )  # fmt: skip
    recognise(customer, "2026-01-21T11")
    void_credit_note(credit_note=note, reason="x", by=shop.maker, at=on("2026-01-21T12"))
    recognise(customer, "2026-01-21T13")

    assert balances(customer) == before


@pytest.mark.usefixtures("books_hold")
def test_what_was_void_before_a_change_began_takes_nothing_over(shop: Shop) -> None:
    customer, _fee, more = _sold(shop)
    shop.renew("2026-02-01")
    february = InvoiceLine.objects.filter(invoice__customer=customer).latest("pk")
    _change(shop, [more], [february], CATCHES_UP, "2026-02-01")
    void_invoice(invoice=more.invoice, reason="mistake", by=shop.maker, at=on("2026-02-01"))

    recognise(customer, "2026-02-01T09")

    assert entries(customer, "contract_modified") == []
    assert balances(customer)["2120"] == -3_100


@pytest.mark.usefixtures("books_hold")
def test_what_nobody_approved_moves_nothing_and_late_approval_starts_with_the_next_day(
    shop: Shop,
) -> None:
    customer, fee, more = _sold(shop)
    made = _change(shop, [fee], [more], BLENDS, approved=False)
    recognise(customer, "2026-01-21")
    assert balances(customer)["4000"] == -4_000

    approve(change=made.policy_change, by=shop.approver, reason="late", at=on("2026-01-21"))
    recognise(customer, "2026-01-21T01")

    [moved] = entries(customer, "contract_modified")
    assert str(moved.effective_on) == "2026-01-21"
    recognise(customer, "2026-04-01")
    assert balances(customer) == {"1100": 12_100, "4000": -12_100}


def test_only_fees_in_advance_of_one_customer_are_a_contract(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    pack = shop.pack(customer, "10", 100, "2026-01-01").lines.get()
    other = InvoiceLine.objects.get(invoice__customer=shop.subscriber("2026-01-01", fee=100))

    for before, added in (([fee], []), ([fee], [fee]), ([fee], [pack]), ([fee], [other])):
        with pytest.raises(Invalid):
            _change(shop, before, added, BLENDS)
    _change(shop, [fee], [more], BLENDS, approved=False)
    with pytest.raises(Conflict, match="a change that waits"):
        _change(shop, [fee], [more], BLENDS)


@pytest.mark.usefixtures("books_hold")
def test_what_went_on_in_a_changed_contract_is_allocated_no_more(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-11T09")

    with pytest.raises(Conflict, match="no longer at its whole price"):
        propose_allocation(
            customer=customer, parts=[Alone(fee, Decimal(1)), Alone(more, Decimal(1))],
            evidence="x", proposal=Proposal("x", "wanted", "done", "test", LONG_AGO),
            by=shop.maker, at=LONG_AGO,
        )  # fmt: skip


def test_a_change_that_is_not_in_the_books_is_found(shop: Shop) -> None:
    customer, fee, more = _sold(shop)
    _change(shop, [fee], [more], BLENDS)

    def found() -> bool:
        return "revrec.modifications_tie" in {one.name for one in run_checks() if one.findings}

    assert found()
    recognise(customer, "2026-01-12")
    assert not found()


def test_finance_proposes_a_change_in_the_back_office(shop: Shop) -> None:
    _customer, fee, more = _sold(shop)
    client = client_of(person("finance_maker"))
    url = reverse("admin:revrec_contractmodification_propose")

    send(
        client, url, before=f"{fee.invoice.number}/{fee.position}",
        added=f"{more.invoice.number}/{more.position}", rest_is_distinct="on",
        effective_on="2026-12-01", evidence="an amendment",
    )  # fmt: skip

    made = ContractModification.objects.get()
    assert (made.treatment, made.lines.count()) == ("prospective", 2)
    assert made.policy_change.effective_at > LONG_AGO


@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize("is_disputed", [False, True])
def test_halves_of_one_promise_that_end_at_once_are_no_more_than_it_owes(
    shop: Shop, is_disputed: bool
) -> None:
    customer, fee, more = _sold(shop, once=2_362)  # On 11 January 21.00 are left of each.
    if is_disputed:
        shop.pay(fee.invoice, "2026-01-02")
    _change(shop, [fee], [more], BLENDS)
    recognise(customer, "2026-01-12T09")  # Of 42.00 in 80 days one day: 0.53; 41.47 are left.
    assert balances(customer)["2120"] == -4_147

    if is_disputed:
        dispute = record_dispute(
            invoice=fee.invoice, amount_minor=5_462, reason="general", method="stripe",
            reference="d", opened_at=on("2026-01-12T10"), by=shop.maker, at=on("2026-01-12T10"),
        )  # fmt: skip
        record_dispute_outcome(
            dispute=dispute, verdict="lost", decided_at=on("2026-01-12T11"), by=shop.maker,
            at=on("2026-01-12T11"),
        )  # fmt: skip
    else:
        write_off_invoice(invoice=fee.invoice, reason="x", by=shop.maker, at=on("2026-01-12T11"))
    recognise(customer, "2026-01-12T12")

    # 20.73 of each; the cent that is neither's is earned as the promise ends.
    assert balances(customer)["2120"] == -1
    recognise(customer, "2026-04-01")
    assert "2120" not in balances(customer)
