"""What the books say: trial balance, deferred roll-forward, revenue totals; per currency.

Everything is summed from postings by effective day. Debits are positive; amounts are minor units.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from revrec.models import AccountingPeriod, PeriodStatus, Posting
from revrec.posting import DEFERRED, REVENUE, Account, EntryKind

# What is sold, before these books began among it.
_SOLD = (EntryKind.INVOICE_FINALIZED, EntryKind.CREDITS_SOLD, EntryKind.OPENING_BALANCE)
# What takes claims back after they were made: a void is a note over everything.
_TAKES_BACK = (
    EntryKind.CONCESSION_PROMISED,
    EntryKind.CREDIT_NOTE_ISSUED,
    EntryKind.CREDIT_NOTE_VOIDED,
    EntryKind.DISPUTE_LOST,
    EntryKind.INVOICE_VOIDED,
    EntryKind.WRITTEN_OFF,
    EntryKind.RECOVERED,
)


@dataclass(frozen=True)
class TrialBalanceRow:
    """One account in one currency: opening + debits - credits == closing."""

    account: str
    name: str
    currency: str
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int


@dataclass(frozen=True)
class DeferredRollforward:
    """What customers paid or owe for service still to come, as a positive liability.

    opening + billings - fees - usage - breakage - credit notes + other == closing.
    `closing_minor` is read from the trial balance (2100 and 2120), not computed from the movements;
    `other_minor` is what no kind of entry explains, and must be zero.
    Source: IFRS 15.118; ASC 606-10-50-10.
    """

    currency: str
    opening_minor: int
    billings_minor: int
    fees_minor: int
    usage_minor: int
    breakage_minor: int
    credit_notes_minor: int
    other_minor: int
    closing_minor: int


@dataclass(frozen=True)
class RevenueTotals:
    """Where revenue stands at the end of a day."""

    currency: str
    recognised_minor: int
    deferred_minor: int
    unbilled_minor: int


def trial_balance(
    start_on: date | None = None, end_on: date | None = None
) -> list[TrialBalanceRow]:
    """List every account with postings, by code and currency.

    Args:
        start_on: What came before is the opening; None: everything is a movement.
        end_on: Exclusive; None: up to the last entry.
    """
    before = _before(start_on)
    rows = (
        _until(end_on)
        .values("account_id", "account__name", "currency")
        .annotate(
            opening=_sum(before),
            debit=_sum(~before & Q(amount_minor__gt=0)),
            credit=_sum(~before & Q(amount_minor__lt=0)),
        )
        .order_by("account_id", "currency")
    )
    return [_balance_row(row, row["currency"]) for row in rows]


def _balance_row(row: Mapping[str, Any], currency: str) -> TrialBalanceRow:
    return TrialBalanceRow(
        account=row["account_id"],
        name=row["account__name"],
        currency=currency,
        opening_minor=row["opening"],
        debit_minor=row["debit"],
        credit_minor=-row["credit"],
        closing_minor=row["opening"] + row["debit"] + row["credit"],
    )


@dataclass(frozen=True)
class WorthRow:
    """What one account's postings in one foreign currency are worth in the books' own."""

    account: str
    name: str
    currency: str  # Of the books.
    of_currency: str  # Of the postings.
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int


def functional_balance(start_on: date, end_on: date) -> list[TrialBalanceRow]:
    """List every account with postings, by code, in the currency of the books."""
    before, worth = _before(start_on), Coalesce("functional_minor", "amount_minor")
    rows = (
        _until(end_on)
        .annotate(books=Coalesce("functional_currency", "currency"), worth=worth)
        .values("account_id", "account__name", "books")
        .annotate(
            opening=_worth(before),
            debit=_worth(~before & Q(worth__gt=0)),
            credit=_worth(~before & Q(worth__lt=0)),
        )
        .order_by("books", "account_id")
    )
    return [_balance_row(row, row["books"]) for row in rows]


def in_books_of(currency: str, account: str) -> QuerySet[Posting]:
    """Return an account's postings in the books that are kept in a currency."""
    kept = Q(functional_currency=currency) | Q(functional_currency=None, currency=currency)
    return Posting.objects.filter(kept, account=account)


def translated_balance(start_on: date, end_on: date) -> list[WorthRow]:
    """List what accounts hold of foreign currencies, in the currency of the books."""
    before = _before(start_on)
    rows = (
        _until(end_on)
        .filter(functional_currency__isnull=False)
        .values("account_id", "account__name", "functional_currency", "currency")
        .annotate(
            opening=_worth(before, "functional_minor"),
            debit=_worth(~before & Q(functional_minor__gt=0), "functional_minor"),
            credit=_worth(~before & Q(functional_minor__lt=0), "functional_minor"),
        )
        .order_by("functional_currency", "account_id", "currency")
    )
    return [
        WorthRow(
            row["account_id"], row["account__name"], str(row["functional_currency"]),
            row["currency"], row["opening"], row["debit"], -row["credit"],
            row["opening"] + row["debit"] + row["credit"],
        )
        for row in rows
    ]  # fmt: skip


def account_totals() -> dict[tuple[str, str], int]:
    """Return what every account stands at, by code and currency; debits are positive.

    Of months that are closed the newest one's stored trial balance is taken: only postings of the
    months after it are summed. `check_books` holds that balance against the postings.
    """
    closed = AccountingPeriod.objects.filter(status=PeriodStatus.CLOSED)
    kept = closed.order_by("-start_on").values_list("end_on", "trial_balance").first()
    end_on, rows = kept or (None, [])
    totals: dict[tuple[str, str], int] = {
        (row["account"], row["currency"]): row["closing_minor"]
        for row in rows
        if "of_currency" not in row
    }
    later = Posting.objects.all()
    if end_on is not None:
        later = later.filter(entry__period__start_on__gte=end_on)
    moved = later.order_by().values_list("account_id", "currency")
    for account, currency, minor in moved.annotate(total=Sum("amount_minor")):
        totals[account, currency] = totals.get((account, currency), 0) + minor
    return totals


def signed_balance(period: AccountingPeriod) -> list[dict[str, object]]:
    """Return a month's trial balance as it is stored and hashed when the month is closed.

    Accounts stand by their code: a new name for one changes no month that was closed.
    """
    rows = [asdict(row) for row in trial_balance(period.start_on, period.end_on)]
    own: list[dict[str, object]] = [
        {key: value for key, value in row.items() if key != "name"} for row in rows
    ]
    worth = [asdict(row) for row in translated_balance(period.start_on, period.end_on)]
    translated = [{key: value for key, value in row.items() if key != "name"} for row in worth]
    return [*own, *translated]


def deferred_rollforward(period: AccountingPeriod) -> list[DeferredRollforward]:
    """Explain how the contract liabilities of a month came from opening to closing."""
    moved = _deferred_movements(period)
    balances = [
        row
        for row in trial_balance(period.start_on, period.end_on)
        if row.account in {account.value for account in DEFERRED}
    ]
    return [
        _rollforward(
            currency,
            -sum(row.opening_minor for row in balances if row.currency == currency),
            -sum(row.closing_minor for row in balances if row.currency == currency),
            {kind: minor for (kind, code), minor in moved.items() if code == currency},
        )
        for currency in sorted({row.currency for row in balances})
    ]


def revenue_totals(as_of: date | None = None) -> list[RevenueTotals]:
    """Sum up revenue recognised, deferred and unbilled through a day; None: all there is."""
    postings = Posting.objects.all()
    if as_of is not None:
        postings = postings.filter(entry__effective_on__lte=as_of)
    rows = postings.values("currency").annotate(
        recognised=_sum(_on(REVENUE)),
        deferred=_sum(_on(DEFERRED)),
        unbilled=_sum(_on((Account.UNBILLED,))),
    )
    return [
        RevenueTotals(row["currency"], -row["recognised"], -row["deferred"], row["unbilled"])
        for row in rows.order_by("currency")
    ]


def _rollforward(
    currency: str, opening_minor: int, closing_minor: int, moved: dict[str, int]
) -> DeferredRollforward:
    """Put movements in their places; what lowers the liability is shown as a positive amount."""
    billings = sum(moved.get(kind, 0) for kind in _SOLD)
    fees = -moved.get(EntryKind.FEES_EARNED, 0)
    usage = -moved.get(EntryKind.CREDITS_USED, 0)
    breakage = -moved.get(EntryKind.CREDITS_EXPIRED, 0)
    breakage -= moved.get(EntryKind.BREAKAGE_TRUED_UP, 0)
    breakage -= moved.get(EntryKind.SHORTFALL_EARNED, 0)  # Of commitments that were paid ahead.
    credit_notes = -sum(moved.get(kind, 0) for kind in _TAKES_BACK)
    return DeferredRollforward(
        currency=currency,
        opening_minor=opening_minor,
        billings_minor=billings,
        fees_minor=fees,
        usage_minor=usage,
        breakage_minor=breakage,
        credit_notes_minor=credit_notes,
        other_minor=sum(moved.values()) - (billings - fees - usage - breakage - credit_notes),
        closing_minor=closing_minor,
    )


def _deferred_movements(period: AccountingPeriod) -> dict[tuple[str, str], int]:
    """Return by entry kind and currency what was added to the liabilities within a month."""
    rows = (
        _until(period.end_on)
        .filter(_on(DEFERRED), entry__effective_on__gte=period.start_on)
        .values("entry__kind", "currency")
        .annotate(total=Sum("amount_minor"))
        .order_by()
    )
    return {(row["entry__kind"], row["currency"]): -row["total"] for row in rows}


def _until(end_on: date | None) -> QuerySet[Posting]:
    postings = Posting.objects.all()
    return postings if end_on is None else postings.filter(entry__effective_on__lt=end_on)


def _before(start_on: date | None) -> Q:
    return Q(pk__in=[]) if start_on is None else Q(entry__effective_on__lt=start_on)


def _on(accounts: Iterable[Account]) -> Q:
    return Q(account__in=[account.value for account in accounts])


def _worth(condition: Q, of: str = "worth") -> Coalesce:
    return Coalesce(Sum(of, filter=condition), 0)


def _sum(condition: Q) -> Coalesce:
    return Coalesce(Sum("amount_minor", filter=condition), 0)
