"""The posting rules: which accounts an event moves. Pure; each returns balanced lines.

Debits are positive. Numbers of rules are those of accounting.md, section 4; amounts are ex tax, in
minor units. A negative amount turns a rule around (rule 31). Lines of amount zero are left out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from billing_project.kernel.errors import Unbalanced
from revrec.by_model import Part
from revrec.crediting import RefundSplit


class Account(StrEnum):
    """The accounts that the rules use."""

    CASH = "1000"
    RECEIVABLE = "1100"
    LOSS_ALLOWANCE = "1190"
    UNBILLED = "1200"
    CONTRACT_ASSET = "1210"
    DISPUTED = "1230"
    FX_CLEARING = "1990"
    CREDITS_LIABILITY = "2100"
    FEES_LIABILITY = "2120"
    EXPECTED_BREAKAGE = "2190"
    CUSTOMER_BALANCE = "2200"
    REFUND_LIABILITY = "2210"
    TAX_PAYABLE = "2300"
    UNCLAIMED_PROPERTY = "2400"
    OPENING_BALANCES = "3900"
    FEE_REVENUE = "4000"
    USAGE_REVENUE = "4010"
    OVERAGE_REVENUE = "4020"
    BREAKAGE_REVENUE = "4030"
    SHORTFALL_REVENUE = "4040"
    OUTCOME_REVENUE = "4050"
    CREDIT_NOTES = "4900"
    REFUNDS = "4910"
    DISPUTES_LOST = "4920"
    PROCESSOR_FEES = "6100"
    DISPUTE_FEES = "6110"
    IMPAIRMENT = "6200"
    FX_RESULT = "7000"
    ROUNDING = "7900"


REVENUE = (
    Account.FEE_REVENUE,
    Account.USAGE_REVENUE,
    Account.OVERAGE_REVENUE,
    Account.BREAKAGE_REVENUE,
    Account.SHORTFALL_REVENUE,
    Account.OUTCOME_REVENUE,
    Account.CREDIT_NOTES,
    Account.REFUNDS,
    Account.DISPUTES_LOST,
)
DEFERRED = (Account.CREDITS_LIABILITY, Account.FEES_LIABILITY, Account.EXPECTED_BREAKAGE)


class EntryKind(StrEnum):
    """What a journal entry records; the deferred roll-forward groups by it."""

    INVOICE_FINALIZED = "invoice_finalized"
    PAYMENT_RECORDED = "payment_recorded"
    CURRENCY_REVALUED = "currency_revalued"
    BOOKS_TRANSLATED = "books_translated"
    SHORT_PAYMENT_ACCEPTED = "short_payment_accepted"
    CREDIT_NOTE_ISSUED = "credit_note_issued"
    CREDIT_NOTE_VOIDED = "credit_note_voided"
    INVOICE_VOIDED = "invoice_voided"
    WRITTEN_OFF = "written_off"
    RECOVERED = "recovered"
    BALANCE_APPLIED = "balance_applied"
    REFUND_RECORDED = "refund_recorded"
    REFUND_FAILED = "refund_failed"
    OVERPAYMENT_RECORDED = "overpayment_recorded"
    PROCESSOR_FEE = "processor_fee"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    CREDITS_SOLD = "credits_sold"
    OPENING_BALANCE = "opening_balance"
    CONCESSION_PROMISED = "concession_promised"
    PRICE_ALLOCATED = "price_allocated"
    CONTRACT_MODIFIED = "contract_modified"
    CREDITS_USED = "credits_used"
    CREDITS_EXPIRED = "credits_expired"
    OVERAGE_USED = "overage_used"
    FEES_EARNED = "fees_earned"
    BREAKAGE_TRUED_UP = "breakage_trued_up"
    REFUNDS_ESTIMATED = "refunds_estimated"
    LOSSES_EXPECTED = "losses_expected"
    SHORTFALL_EARNED = "shortfall_earned"
    OUTCOME_DECIDED = "outcome_decided"


@dataclass(frozen=True)
class About:
    """What a posting is about: the dimensions that reports are made from."""

    currency: str
    obligation_id: int | None = None
    invoice_line_id: int | None = None
    service_start_on: date | None = None
    service_end_on: date | None = None  # Exclusive.
    model: str | None = None  # Whose use was earned, where it is one's.


@dataclass(frozen=True)
class PostingLine:
    """One signed amount on one account: debit positive."""

    account: Account
    amount_minor: int
    about: About
    functional_minor: int | None = None  # What it is worth in the books' own currency, if told.

    @property
    def currency(self) -> str:
        """The currency in which the line balances with its fellows."""
        return self.about.currency


Lines = tuple[PostingLine, ...]


@dataclass(frozen=True)
class Settled:
    """How a note settles: off the claim; owed back to the customer; given back as money already."""

    open_minor: int
    owed_minor: int = 0
    given_minor: int = 0


@dataclass(frozen=True)
class CreditedPart:
    """What a credit note takes off one promise: earned revenue, and what another account held.

    `liability` is where the promise was still owed; for overage it is the unbilled receivable,
    which an overcharge left below zero. None where everything was earned already.
    """

    liability: Account | None
    contra_minor: int
    liability_minor: int
    about: About
    contra: Account = Account.CREDIT_NOTES


def pack_invoiced(amount_minor: int, about: About) -> Lines:
    """Rule 1: credits sold on invoice are a liability until they are used."""
    return pair(Account.RECEIVABLE, Account.CREDITS_LIABILITY, amount_minor, about)


def pack_sold_for_cash(amount_minor: int, about: About) -> Lines:
    """Rules 1 and 2 in one: credits paid out of band, without an invoice."""
    return pair(Account.CASH, Account.CREDITS_LIABILITY, amount_minor, about)


def opening_credits(amount_minor: int, about: About) -> Lines:
    """Credits that were sold before these books began: their cash is in the books of before."""
    return pair(Account.OPENING_BALANCES, Account.CREDITS_LIABILITY, amount_minor, about)


def payment_received(amount_minor: int, about: About) -> Lines:
    """Rule 2: money settles the receivable."""
    return pair(Account.CASH, Account.RECEIVABLE, amount_minor, about)


def short_payment_accepted(amount_minor: int, about: About) -> Lines:
    """Rule 32: what a payment fell short by, within the tolerance, is rounding."""
    return pair(Account.ROUNDING, Account.RECEIVABLE, amount_minor, about)


def balance_applied(amount_minor: int, about: About) -> Lines:
    """Rule 15: what was owed back settles the receivable."""
    return pair(Account.CUSTOMER_BALANCE, Account.RECEIVABLE, amount_minor, about)


def refunded(amount_minor: int, about: About) -> Lines:
    """Rule 14: what was owed back goes back as money; a refund that fails turns it around."""
    return pair(Account.CUSTOMER_BALANCE, Account.CASH, amount_minor, about)


def concession_promised(amount_minor: int, about: About) -> Lines:
    """Rule 7: credits for something that went wrong lower revenue, and are promised anew.

    The concession is about what was delivered before, so that it is no revenue of this promise.
    """
    return balanced(
        [
            PostingLine(Account.CREDIT_NOTES, amount_minor, About(about.currency)),
            PostingLine(Account.CREDITS_LIABILITY, -amount_minor, about),
        ]
    )


def price_allocated(amount_minor: int, purchase: About, bonus: About) -> Lines:
    """Rule 1: a purchase gives up a share of its price to the bonus that came with it."""
    return balanced(
        [
            PostingLine(Account.CREDITS_LIABILITY, amount_minor, purchase),
            PostingLine(Account.CREDITS_LIABILITY, -amount_minor, bonus),
        ]
    )


def credits_used(amount_minor: int, about: About, by_model: Sequence[Part] = ()) -> Lines:
    """Rules 5, 6 and 31: used credits earn their cost basis; promotional ones have none.

    Args:
        by_model: Which model's use earned how much of it; they sum to the amount.
    """
    return balanced(
        [
            PostingLine(Account.CREDITS_LIABILITY, amount_minor, about),
            *_earned_by(Account.USAGE_REVENUE, amount_minor, about, by_model),
        ]
    )


def credits_expired(amount_minor: int, about: About) -> Lines:
    """Rule 24: what an ended grant still carried is breakage (IFRS 15.B46-B47)."""
    return pair(Account.CREDITS_LIABILITY, Account.BREAKAGE_REVENUE, amount_minor, about)


def overage_used(
    amount_minor: int, about: About, conceded_minor: int = 0, by_model: Sequence[Part] = ()
) -> Lines:
    """Rules 8 and 31: overage is earned as used; the right to it is unconditional.

    Args:
        conceded_minor: What earlier concessions take off it; negative when usage they were
            about is cancelled.
        by_model: Which model's use earned how much of the amount; they sum to it.
    """
    return balanced(
        [
            PostingLine(Account.UNBILLED, amount_minor - conceded_minor, about),
            *_earned_by(Account.OVERAGE_REVENUE, amount_minor, about, by_model),
            PostingLine(Account.CREDIT_NOTES, conceded_minor, about),
        ]
    )


def overage_invoiced(amount_minor: int, about: About) -> Lines:
    """Rule 10: what was accrued is now billed; revenue moves with usage alone."""
    return pair(Account.RECEIVABLE, Account.UNBILLED, amount_minor, about)


def outcome_earned(amount_minor: int, about: About) -> Lines:
    """Rule 8: an accepted outcome is earned at once; one that is disputed again turns it around."""
    return pair(Account.UNBILLED, Account.OUTCOME_REVENUE, amount_minor, about)


def outcome_invoiced(amount_minor: int, about: About) -> Lines:
    """Rule 10: what was earned with the acceptance is now billed."""
    return pair(Account.RECEIVABLE, Account.UNBILLED, amount_minor, about)


def fee_invoiced(amount_minor: int, about: About) -> Lines:
    """Rule 11: a fee in advance is owed to the customer as service."""
    return pair(Account.RECEIVABLE, Account.FEES_LIABILITY, amount_minor, about)


def tax_charged(tax_minor: int, about: About) -> Lines:
    """Rules 1, 10 and 11: tax is claimed with the line, and is never revenue."""
    return pair(Account.RECEIVABLE, Account.TAX_PAYABLE, tax_minor, about)


def credits_refunded(
    refund: RefundSplit, about: About, ended: Account = Account.BREAKAGE_REVENUE
) -> tuple[CreditedPart, CreditedPart]:
    """Rule 16: the price of unused credits goes back; what exceeds it is lost (4910).

    What an end of the credits had earned is taken back first: the rest of it is retained.

    Args:
        ended: Where their end was earned.
    """
    return (
        CreditedPart(Account.CREDITS_LIABILITY, 0, refund.liability_minor, about),
        CreditedPart(
            ended, refund.beyond_minor, refund.breakage_minor, about,
            contra=Account.REFUNDS,
        ),
    )  # fmt: skip


def tax_taken_back(tax_minor: int, about: About) -> CreditedPart:
    """Rules 13 and 22: the tax of what is taken back is not owed any more."""
    return CreditedPart(Account.TAX_PAYABLE, 0, tax_minor, about)


def fee_earned(amount_minor: int, about: About) -> Lines:
    """Rule 12: a service day that has ended is earned."""
    return pair(Account.FEES_LIABILITY, Account.FEE_REVENUE, amount_minor, about)


def arrears_fee_earned(amount_minor: int, about: About) -> Lines:
    """Rules 8 and 12: a service day of a fee in arrears was earned before it was invoiced."""
    return pair(Account.UNBILLED, Account.FEE_REVENUE, amount_minor, about)


def arrears_fee_invoiced(amount_minor: int, about: About) -> Lines:
    """Rule 10: what was earned day by day is now billed."""
    return pair(Account.RECEIVABLE, Account.UNBILLED, amount_minor, about)


def credit_note_issued(parts: Iterable[CreditedPart], settled: Settled, about: About) -> Lines:
    """Rules 13 and 14: a note takes back revenue and promise, and reduces the claim.

    Args:
        parts: What is taken off each promise; all parts sum to what is settled.
        settled: A refund is owed until it is recorded; what went out of band is not.

    Raises:
        Unbalanced: the parts do not sum to what is settled.
    """
    lines = [
        PostingLine(Account.RECEIVABLE, -settled.open_minor, about),
        PostingLine(Account.CUSTOMER_BALANCE, -settled.owed_minor, about),
        PostingLine(Account.CASH, -settled.given_minor, about),
    ]
    for part in parts:
        lines.append(PostingLine(part.contra, part.contra_minor, part.about))
        if part.liability is not None:
            lines.append(PostingLine(part.liability, part.liability_minor, part.about))
    return balanced(lines)


def invoice_voided(parts: Iterable[CreditedPart], amount_minor: int, about: About) -> Lines:
    """Rule 22: a claim that was never owed takes back revenue and promise."""
    return credit_note_issued(parts, Settled(amount_minor), about)


def balanced(lines: Iterable[PostingLine]) -> Lines:
    """Return the lines that move something, in order.

    Raises:
        Unbalanced: they do not sum to zero in each currency.
    """
    moving = tuple(line for line in lines if line.amount_minor or line.functional_minor)
    totals: Counter[str] = Counter()
    for line in moving:
        totals[line.currency] += line.amount_minor
    off = {currency: total for currency, total in totals.items() if total}
    if off:
        raise Unbalanced(f"postings are off by {off}")
    return moving


def joined(groups: Iterable[Sequence[PostingLine]]) -> Lines:
    """Put the lines of several rules into one entry."""
    return balanced(line for group in groups for line in group)


def pair(debit: Account, credit: Account, amount_minor: int, about: About) -> Lines:
    """Move one amount from the credited account to the debited one."""
    return balanced(
        [PostingLine(debit, amount_minor, about), PostingLine(credit, -amount_minor, about)]
    )


def _earned_by(
    account: Account, amount_minor: int, about: About, by_model: Sequence[Part]
) -> list[PostingLine]:
    """Credit revenue by model; without parts, at once."""
    parts = by_model or [(None, amount_minor)]
    return [PostingLine(account, -minor, replace(about, model=model)) for model, minor in parts]
