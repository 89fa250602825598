"""A fee and credits that were sold together share their price by what each would cost alone."""

from decimal import Decimal

import pytest
from django.urls import reverse

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid
from credits.models import CreditGrant
from invoicing.models import CreditNote, InvoiceLine
from invoicing.services.endings import void_invoice
from invoicing.services.note_voids import void_credit_note
from metering.models import Customer
from revrec.basis import CostBasis, repriced
from revrec.models import ContractAllocation, JournalEntry, PerformanceObligation
from revrec.services.allocations import Alone, propose_allocation
from revrec.services.bases import Alone as Worth
from revrec.services.bases import propose_bonus
from tests.console.backoffice import client_of, person, send
from tests.revrec.builders import LONG_AGO, Shop, balances, entries, on, recognise, signed

pytestmark = pytest.mark.django_db
WORDS = Proposal("contract", "wanted", "done", "test", LONG_AGO)


@pytest.mark.parametrize(
    ("price", "used", "ended", "recognised", "expected"),
    [
        # 1,000 credits for 100.00, now at 120.00: 400 used earn 8.00 more.
        (12_000, 400, 0, 4_000, (800, 0)),
        # The other 600 had ended: all that is left of the new price is breakage.
        (12_000, 400, 600, 10_000, (800, 1_200)),
        (8_000, 400, 600, 10_000, (-800, -1_200)),
        # 100 had ended and 500 are open: those keep what they will earn, 60.00 at 0.12.
        (12_000, 400, 100, 5_000, (800, 200)),
        (8_000, 0, 0, 0, (0, 0)),
    ],
)
def test_credits_that_get_another_price_are_caught_up(
    price: int, used: int, ended: int, recognised: int, expected: tuple[int, int]
) -> None:
    before, after = CostBasis(10_000, Decimal(1_000)), CostBasis(price, Decimal(1_000))

    assert repriced(before, after, Decimal(used), Decimal(ended), recognised) == expected


def _sold(shop: Shop, is_paid: bool = True) -> tuple[Customer, InvoiceLine, InvoiceLine]:
    """Sell a plan for 31.00 a month and, on the first day, 1,000 credits for 100.00."""
    customer = shop.subscriber("2026-01-01", fee=3_100)
    fee = InvoiceLine.objects.get(invoice__customer=customer)
    pack = shop.pack(customer, "1000", 10_000, "2026-01-01")
    if is_paid:
        shop.pay(pack, "2026-01-01")
    return customer, fee, pack.lines.get()


def _join(
    shop: Shop, customer: Customer, *parts: tuple[InvoiceLine, str], approved: bool = True
) -> ContractAllocation:
    made = propose_allocation(
        customer=customer, parts=[Alone(line, Decimal(ssp)) for line, ssp in parts],
        evidence="one order form", proposal=WORDS, by=shop.maker, at=LONG_AGO,
    )  # fmt: skip
    if approved:
        approve(change=made.policy_change, by=shop.approver, reason="agreed", at=LONG_AGO)
    return made


def _prices() -> list[int]:
    return list(PerformanceObligation.objects.order_by("pk").values_list("price_minor", flat=True))


@pytest.mark.usefixtures("books_hold")
def test_a_fee_and_a_pack_share_their_price_and_what_was_earned_is_caught_up(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    shop.use(customer, "100", "2026-01-05T09")
    recognise(customer, "2026-01-11")  # Ten days at 1.00; 100 credits at 0.10.
    assert balances(customer) == {
        "1000": 10_000, "1100": 3_100, "2100": -9_000, "2120": -2_100, "4000": -1_000,
        "4010": -1_000,
    }  # fmt: skip

    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))
    recognise(customer, "2026-01-11")

    # 131.00 are 62.00 and 69.00: ten days at 2.00, 100 credits at 0.069.
    assert _prices() == [6_200, 6_900]
    assert balances(customer) == {
        "1000": 10_000, "1100": 3_100, "2100": -6_210, "2120": -4_200, "4000": -2_000,
        "4010": -690,
    }  # fmt: skip
    [moved] = entries(customer, "price_allocated")
    assert signed(moved) == {"2100": 3_100, "2120": -3_100}
    assert recognise(customer, "2026-01-11") == 0
    shop.use(customer, "900", "2026-01-20T09")
    recognise(customer, "2026-02-01")
    assert balances(customer)["4000"] == -6_200
    assert balances(customer)["4010"] == -6_900


@pytest.mark.usefixtures("books_hold")
def test_credits_that_are_granted_after_it_earn_at_their_share(shop: Shop) -> None:
    customer, fee, pack = _sold(shop, is_paid=False)
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))
    recognise(customer, "2026-01-02")
    shop.pay(pack.invoice, "2026-01-03")
    shop.use(customer, "500", "2026-01-04T09")

    recognise(customer, "2026-01-04")

    assert balances(customer)["4010"] == -3_450


@pytest.mark.usefixtures("books_hold")
def test_a_concession_on_a_fee_leaves_its_contract(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))
    recognise(customer, "2026-01-11")

    shop.credit(fee.invoice, 620, "goodwill", "2026-01-11")
    recognise(customer, "2026-01-11")

    # 55.80 over 31 days: ten of them are 18.00, so 2.00 come off revenue.
    assert _prices() == [5_580, 6_900]
    assert balances(customer)["4900"] == 200


@pytest.mark.usefixtures("books_hold")
@pytest.mark.parametrize("ssp", [("62.00", "69.00"), ("15.50", "115.50")])
def test_a_line_that_is_taken_off_whole_ends_its_contract_first(
    shop: Shop, ssp: tuple[str, str]
) -> None:
    customer, fee, pack = _sold(shop)
    _join(shop, customer, (fee, ssp[0]), (pack, ssp[1]))
    shop.use(customer, "500", "2026-01-05T09")
    recognise(customer, "2026-01-11")

    shop.credit(fee.invoice, 3_100, "billing_error", "2026-01-11")
    recognise(customer, "2026-01-11")

    assert _prices() == [0, 10_000]
    assert balances(customer) == {"1000": 10_000, "2100": -5_000, "4000": -1_000, "4010": -5_000,
                                  "4900": 1_000}  # fmt: skip


@pytest.mark.usefixtures("books_hold")
def test_a_void_takes_back_every_line_as_it_was_claimed(shop: Shop) -> None:
    customer, fee, pack = _sold(shop, is_paid=False)
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))
    recognise(customer, "2026-01-05")
    for line in (pack, fee):
        void_invoice(invoice=line.invoice, reason="mistake", by=shop.maker, at=on("2026-01-06"))

    recognise(customer, "2026-01-07")

    assert _prices() == [0, 0]
    assert {account: total for account, total in balances(customer).items()
            if account < "4"} == {}  # fmt: skip


@pytest.mark.usefixtures("books_hold")
def test_the_rest_of_a_contract_that_ended_is_allocated_anew(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    third = shop.pack(customer, "500", 5_000, "2026-01-01")
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"), (third.lines.get(), "60.00"))
    recognise(customer, "2026-01-05")
    void_invoice(invoice=third, reason="mistake", by=shop.maker, at=on("2026-01-06"))
    recognise(customer, "2026-01-06T01")

    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))
    recognise(customer, "2026-01-06T02")

    assert _prices() == [6_200, 6_900, 0]


@pytest.mark.usefixtures("books_hold")
def test_what_was_credited_before_finance_approved_is_left_as_it_is(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    made = _join(shop, customer, (fee, "62.00"), (pack, "69.00"), approved=False)
    shop.credit(fee.invoice, 100, "goodwill", "2026-01-02")
    recognise(customer, "2026-01-03")
    approve(change=made.policy_change, by=shop.approver, reason="late", at=LONG_AGO)

    recognise(customer, "2026-01-04")

    assert _prices() == [3_000, 10_000]
    assert entries(customer, "price_allocated") == []
    note = CreditNote.objects.get()
    void_credit_note(credit_note=note, reason="mistake", by=shop.maker, at=on("2026-01-05"))
    recognise(customer, "2026-01-05T01")
    assert _prices() == [3_100, 10_000]


def test_only_whole_lines_of_one_customer_that_nothing_holds_are_a_contract(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    other = InvoiceLine.objects.get(invoice__customer=shop.subscriber("2026-01-01", fee=100))

    for parts in (
        [(fee, "1")], [(fee, "1"), (fee, "1")], [(fee, "1"), (other, "1")],
        [(fee, "0"), (pack, "1")], [(fee, "NaN"), (pack, "1")],
        [(fee, "31"), (pack, "100")],  # As it is claimed.
    ):  # fmt: skip
        with pytest.raises(Invalid):
            _join(shop, customer, *parts)
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"), approved=False)
    with pytest.raises(Conflict, match="waits for approval"):
        _join(shop, customer, (fee, "62.00"), (pack, "69.00"))


def test_a_pack_in_a_contract_that_waits_shares_its_price_with_no_bonus(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    _join(shop, customer, (fee, "99.00"), (pack, "1.00"), approved=False)

    # Both would take more of its price than there is, and its books would stand still.
    with pytest.raises(Conflict, match="waits for approval"):
        propose_bonus(
            grant=shop.grant(customer, "1000", "2026-01-02"),
            purchase=CreditGrant.objects.get(source_key=f"invoice_line:{pack.pk}:pack"),
            alone=Worth(Decimal(1)), purchase_alone=Worth(Decimal(1)), evidence="x",
            proposal=WORDS, by=shop.maker, at=LONG_AGO,
        )  # fmt: skip


def test_a_share_that_is_not_in_the_books_or_not_as_approved_is_found(shop: Shop) -> None:
    customer, fee, pack = _sold(shop)
    _join(shop, customer, (fee, "62.00"), (pack, "69.00"))

    def found() -> bool:
        return "revrec.contracts_tie" in {one.name for one in run_checks() if one.findings}

    assert found()
    recognise(customer, "2026-01-03")
    assert not found()
    assert JournalEntry.objects.filter(customer=customer, kind="price_allocated").exists()


def test_finance_proposes_a_contract_in_the_back_office(shop: Shop) -> None:
    _customer, fee, pack = _sold(shop)
    client = client_of(person("finance_maker"))
    url = reverse("admin:revrec_contractallocation_propose")
    row = f"{fee.invoice.number}/{fee.position} 62.00"

    wrong = [send(client, url, shares=text, evidence="x") for text in
             ("INV-0/1 5", f"{row} 1", row.replace("62.00", "x"), row)]  # fmt: skip
    send(
        client, url, evidence="one order form",
        shares=f"{row}\n{pack.invoice.number}/{pack.position} 69.00",
    )  # fmt: skip

    assert {answer.status_code for answer in wrong} <= {200, 422}
    shares = ContractAllocation.objects.get().shares.values_list("allocated_minor", flat=True)
    assert list(shares) == [6_200, 6_900]
