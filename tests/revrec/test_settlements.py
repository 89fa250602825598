"""What is owed back to customers: each step has its entry, and 2200 is what is owed, always."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Insufficient
from billing_project.kernel.period import Period
from invoicing.crediting import Settlement
from invoicing.lines import Kind, Line
from invoicing.models import CreditNote, CustomerBalance, Invoice, Payment, Refund
from invoicing.selectors import owed_back, refund_left
from invoicing.services import balances as paying
from invoicing.services.balances import pay_from_balance
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.invoices import finalize_invoice
from metering.models import Customer
from revrec.models import EntrySource
from revrec.posting import Settled
from revrec.sources import SourceType
from tests.revrec.builders import Shop, balances, entries, on, recognise, signed

pytestmark = pytest.mark.django_db
DAY = "2026-01-02"


@pytest.mark.usefixtures("books_hold")
def test_each_step_of_what_is_owed_back_has_its_entry(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    shop.pay(invoice, "2026-01-01")
    note = shop.credit(invoice, 4_500, "cancel_future", DAY, Settlement(3_000, 1_000, 500))
    refund = shop.refund(note, 2_000, "2026-01-03")
    shop.refund(note, 700, "2026-01-04")
    shop.fail(refund, "2026-01-05")
    shop.pack(customer, "10", 3_500, "2026-01-06")

    recognise(customer, "2026-01-07")

    [issued] = entries(customer, "credit_note_issued")
    assert signed(issued) == {"2120": 4_500, "2200": -4_000, "1000": -500}  # 5.00 are back.
    assert [signed(entry) for entry in entries(customer, "refund_recorded")] == [
        {"2200": 2_000, "1000": -2_000},
        {"2200": 700, "1000": -700},
    ]
    [failed] = entries(customer, "refund_failed")
    assert (signed(failed), str(failed.effective_on)) == (
        {"1000": 2_000, "2200": -2_000}, "2026-01-05",
    )  # fmt: skip
    [applied] = entries(customer, "balance_applied")
    assert signed(applied) == {"2200": 3_000, "1100": -3_000}  # 10.00 and the failed 20.00.
    # Of 45.00 are back 5.00 and 7.00, 30.00 paid for the pack, and 3.00 are still to be refunded.
    assert balances(customer)["2200"] == -300
    assert balances(customer)["1100"] == 500
    assert recognise(customer, "2026-01-07") == 0


def test_a_step_that_is_not_in_the_books_is_found(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=9_000, days=90)
    invoice = Invoice.objects.get(customer=customer)
    shop.pay(invoice, "2026-01-01")
    note = shop.credit(invoice, 4_500, "cancel_future", DAY, Settlement(3_000, 1_500))
    shop.fail(shop.refund(note, 1_000, DAY), DAY)
    shop.pack(customer, "10", 3_500, DAY)
    hidden = (SourceType.BALANCE_APPLICATION, SourceType.REFUND, SourceType.REFUND_FAILURE)
    roles = ("applied", "refunded", "returned")
    with connection.cursor() as cursor:
        for kind, role in zip(hidden, roles, strict=True):
            cursor.execute(
                "INSERT INTO entry_source (source_type, source_id, role)"
                f" SELECT '{kind.value}', id, '{role}' FROM {kind.value}"
            )
    recognise(customer, DAY)

    assert EntrySource.objects.filter(entry=None).count() == 3
    found = {result.name: len(result.findings) for result in run_checks() if result.findings}
    assert found["revrec.silent_facts_move_nothing"] == 3
    assert found["revrec.customer_balances_tie"] == 1


@dataclass
class Claim:
    """An invoice as plain arithmetic has it."""

    row: Invoice
    total: int
    paid: int = 0
    applied: int = 0
    credited: int = 0
    returned: int = 0
    off_open: int = 0

    @property
    def open(self) -> int:
        return self.total - self.paid - self.applied - self.off_open


@dataclass
class Model:
    """What a customer owes and is owed, without the product's code."""

    shop: Shop
    customer: Customer
    claims: list[Claim] = field(default_factory=list)
    notes: dict[CreditNote, int] = field(default_factory=dict)  # What is left to refund.
    refunds: dict[Refund, bool] = field(default_factory=dict)  # Whether it failed.
    balance: int = 0

    def issue(self, size: int, _: int, __: int) -> None:
        total = 1 + size * 7
        key, period = f"test:{len(self.claims)}", Period(on("2026-01-01"), on("2026-01-31"))
        draft = create_draft(Draft(self.customer, None, "USD", period, on(DAY), key), on(DAY))
        write_lines(
            draft, [Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(total), total, "fee")]
        )
        row = finalize_invoice(invoice=draft, by=self.shop.maker, at=on(DAY))
        claim = Claim(row, total, applied=min(self.balance, total))
        self.balance -= claim.applied
        self.claims.append(claim)

    def pay(self, which: int, share: int, _: int) -> None:
        claim = self._claim(which)
        amount = -(-claim.open * share // 99)
        if amount:
            self.shop.pay(claim.row, DAY, amount)
            claim.paid += amount

    def apply(self, which: int, _: int, __: int) -> None:
        claim = self._claim(which)
        amount = min(self.balance, claim.open)
        if amount:
            pay_from_balance(invoice=claim.row, by=self.shop.maker, at=on(DAY))
            claim.applied += amount
            self.balance -= amount

    def credit(self, which: int, share: int, split: int) -> None:
        claim = self._claim(which)
        amount = (claim.total - claim.credited) * share // 99
        if not amount:
            return
        off_open = min(amount, claim.open)
        back = amount - off_open
        refund = back * (split % 11) // 10
        outside = (back - refund) * (split % 5) // 4
        wanted = Settlement(refund, back - refund - outside, outside)
        if refund + outside > claim.paid - claim.returned:
            with pytest.raises(Insufficient, match="left to return as money"):
                self.shop.credit(claim.row, amount, "goodwill", DAY, wanted)
            return
        note = self.shop.credit(claim.row, amount, "goodwill", DAY, wanted)
        claim.off_open += off_open
        claim.credited += amount
        claim.returned += refund + outside
        self.balance += wanted.balance_minor
        self.notes[note] = refund

    def refund(self, which: int, share: int, _: int) -> None:
        note = [*self.notes][which % len(self.notes)] if self.notes else None
        if note is None or not (amount := 1 + self.notes[note] * share // 90):
            return
        if amount > self.notes[note]:
            with pytest.raises(Insufficient, match="left to refund"):
                self.shop.refund(note, amount, DAY)
            return
        self.refunds[self.shop.refund(note, amount, DAY)] = False
        self.notes[note] -= amount

    def fail(self, which: int, _: int, __: int) -> None:
        made = [refund for refund, has_failed in self.refunds.items() if not has_failed]
        if made:
            refund = made[which % len(made)]
            self.shop.fail(refund, DAY)
            self.refunds[refund] = True
            self.balance += refund.amount_minor

    def repay(self, _: int, share: int, __: int) -> None:
        row = CustomerBalance.objects.filter(customer=self.customer).first()
        if row is None or not (amount := self.balance * share // 90):
            return
        if amount > self.balance:
            with pytest.raises(Insufficient, match="left to refund"):
                self.shop.repay(row, amount, DAY)
            return
        self.refunds[self.shop.repay(row, amount, DAY)] = False
        self.balance -= amount

    def compare(self) -> None:
        """Ask the product for the same figures."""
        for claim in self.claims:
            row = Invoice.objects.get(pk=claim.row.pk)
            assert (row.paid_minor, row.applied_minor, row.open_minor, row.returned_minor) == (
                claim.paid, claim.applied, claim.open, claim.returned,
            )  # fmt: skip
            assert (row.status == "paid") == (claim.open == 0)
        assert {note: refund_left(note) for note in self.notes} == self.notes
        due = sum(self.notes.values())
        owed = [(each.balance.amount_minor, each.refunds_due.amount_minor)
                for each in owed_back(self.customer)]  # fmt: skip
        assert owed == ([(self.balance, due)] if self.balance or due else [])

    def close(self) -> None:
        """Bring the books up to date: 2200 is what is owed, and nobody got more than they paid."""
        recognise(self.customer, DAY)
        ledger = balances(self.customer)
        assert -ledger.get("2200", 0) == self.balance + sum(self.notes.values())
        assert ledger.get("1100", 0) == sum(claim.open for claim in self.claims)
        came = sum(Payment.objects.values_list("amount_minor", flat=True))
        assert 0 <= ledger.get("1000", 0) <= came
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        apps = ("invoicing.", "revrec.")
        assert [f for r in run_checks() if r.name.startswith(apps) for f in r.findings] == []

    def _claim(self, which: int) -> Claim:
        return self.claims[which % len(self.claims)]


_STEPS: dict[str, Callable[[Model, int, int, int], None]] = {
    "issue": Model.issue, "pay": Model.pay, "apply": Model.apply, "credit": Model.credit,
    "refund": Model.refund, "repay": Model.repay, "fail": Model.fail,
}  # fmt: skip
_NUMBERS = st.integers(0, 99)
_STORIES = st.lists(
    st.tuples(st.sampled_from(sorted(_STEPS)), _NUMBERS, _NUMBERS, _NUMBERS), max_size=14
)
_WHOLE_STORY = [
    ("pay", 0, 99, 0), ("credit", 0, 60, 4), ("issue", 3, 0, 0), ("refund", 0, 40, 0),
    ("fail", 0, 0, 0), ("repay", 0, 20, 0), ("fail", 1, 0, 0), ("repay", 0, 30, 0),
    ("repay", 0, 99, 0), ("credit", 0, 99, 10), ("apply", 1, 0, 0), ("issue", 30, 0, 0),
    ("credit", 2, 99, 10), ("pay", 2, 50, 0), ("credit", 2, 80, 3), ("refund", 2, 99, 0),
]  # fmt: skip


def _live(shop: Shop, steps: list[tuple[str, int, int, int]]) -> None:
    """Live through a story and leave no trace."""
    with transaction.atomic():
        model = Model(shop, shop.customer())
        model.issue(99, 0, 0)
        for name, *numbers in steps:
            _STEPS[name](model, *numbers)
            model.compare()
        model.close()
        transaction.set_rollback(True)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_STORIES)
@example(_WHOLE_STORY)
def test_whatever_happens_2200_is_what_is_owed(
    shop: Shop, steps: list[tuple[str, int, int, int]]
) -> None:
    _live(shop, steps)


@pytest.mark.parametrize(
    ("target", "name", "broken"),
    [
        (paying, "pays", lambda balance, still_open: min(balance, still_open) // 2),
        ("revrec.services.settlements", "unaccounted_failures", lambda customer_id: []),
        ("revrec.services.notes", "Settled", lambda off, owed, given: Settled(off, given, owed)),
    ],
)
def test_a_broken_product_is_found_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, target: object, name: str, broken: object
) -> None:
    if isinstance(target, str):
        monkeypatch.setattr(f"{target}.{name}", broken)
    else:
        monkeypatch.setattr(target, name, broken)

    with pytest.raises(AssertionError):
        _live(shop, _WHOLE_STORY)
