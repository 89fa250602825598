"""Reports that show the ledger's accounts as they stand."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from revrec.models import AccountingPeriod, Presentation
from revrec.posting import DEFERRED, REVENUE, Account, EntryKind
from revrec.reporting import Drill, Figure, Row, Table
from revrec.selectors.hidden import hidden_pairs
from revrec.selectors.recognition import presentation_of
from revrec.selectors.reports import (
    deferred_rollforward,
    functional_balance,
    in_books_of,
    trial_balance,
)

REVENUE_CODES = [account.value for account in REVENUE]
_HIDDEN = {
    Presentation.DUE: "not due yet, of what can be cancelled",
    Presentation.PAID: "not paid yet, of what is not delivered",
}
_DEFERRED = [account.value for account in DEFERRED]
_BALANCES = (
    ("Receivables, billed", (Account.RECEIVABLE,), 1),
    ("Receivables, unbilled", (Account.UNBILLED,), 1),
    ("Contract assets", (Account.CONTRACT_ASSET,), 1),
    ("Contract liabilities", DEFERRED, -1),
    ("Refund liabilities", (Account.REFUND_LIABILITY, Account.CUSTOMER_BALANCE), -1),
)


def within(period: AccountingPeriod) -> dict[str, object]:
    """Return the lookups of postings that are dated in a month."""
    return {
        "entry__effective_on__gte": period.start_on,
        "entry__effective_on__lt": period.end_on,
    }


def before(day: date) -> dict[str, object]:
    """Return the lookups of postings that are dated before a day."""
    return {"entry__effective_on__lt": day}


def on_accounts(accounts: Iterable[str], currency: str) -> dict[str, object]:
    """Return the lookups of postings on accounts in one currency."""
    return {"account_id__in": sorted(accounts), "currency": currency}


def trial_balance_table(period: AccountingPeriod) -> Table:
    """List every account with postings."""
    rows = []
    for row in trial_balance(period.start_on, period.end_on):
        on = on_accounts([row.account], row.currency)
        moved = {**on, **within(period)}
        figures = {
            "opening": Figure(row.opening_minor, Drill({**on, **before(period.start_on)})),
            "debits": Figure(row.debit_minor, Drill({**moved, "amount_minor__gt": 0})),
            "credits": Figure(row.credit_minor, Drill({**moved, "amount_minor__lt": 0}, -1)),
            "closing": Figure(row.closing_minor, Drill({**on, **before(period.end_on)})),
        }
        rows.append(Row({"account": row.account, "name": row.name}, row.currency, figures))
    return Table(("account", "name"), ("opening", "debits", "credits", "closing"), rows)


def functional_balance_table(period: AccountingPeriod) -> Table:
    """List every account with postings, in the currency of the books that it is in."""
    rows = []
    for row in functional_balance(period.start_on, period.end_on):
        on = {
            "pk__in": in_books_of(row.currency, row.account).values("pk"),
        }
        moved = {**on, **within(period)}
        figures = {
            "opening": Figure(row.opening_minor, Drill({**on, **before(period.start_on)}, 1, True)),
            "movement": Figure(row.debit_minor - row.credit_minor, Drill(moved, 1, True)),
            "closing": Figure(row.closing_minor, Drill({**on, **before(period.end_on)}, 1, True)),
        }
        rows.append(Row({"account": row.account, "name": row.name}, row.currency, figures))
    return Table(("account", "name"), ("opening", "movement", "closing"), rows)


# What each movement of the roll-forward is made of; the sign is the row's.
_MOVES: Mapping[str, tuple[EntryKind, ...]] = {
    "billings": (
        EntryKind.INVOICE_FINALIZED,
        EntryKind.CREDITS_SOLD,
        EntryKind.OPENING_BALANCE,  # Sold before these books.
    ),
    "fees": (EntryKind.FEES_EARNED,),
    "usage": (EntryKind.CREDITS_USED,),
    "breakage": (
        EntryKind.CREDITS_EXPIRED,
        EntryKind.BREAKAGE_TRUED_UP,
        EntryKind.SHORTFALL_EARNED,
    ),
    "credit_notes": (
        EntryKind.CONCESSION_PROMISED,
        EntryKind.CREDIT_NOTE_ISSUED,
        EntryKind.CREDIT_NOTE_VOIDED,
        EntryKind.DISPUTE_LOST,
        EntryKind.INVOICE_VOIDED,
        EntryKind.WRITTEN_OFF,
        EntryKind.RECOVERED,
    ),
}


def rollforward_table(period: AccountingPeriod) -> Table:
    """Explain the contract liabilities, one row a currency; what lowers them is negative."""
    names = ("opening", *_MOVES, "other", "closing")
    rows = []
    for row in deferred_rollforward(period):
        on = on_accounts(_DEFERRED, row.currency)
        amounts = {
            "billings": row.billings_minor,
            "fees": -row.fees_minor,
            "usage": -row.usage_minor,
            "breakage": -row.breakage_minor,
            "credit_notes": -row.credit_notes_minor,
        }
        moved = {
            name: Figure(
                amounts[name],
                Drill({**on, **within(period), "entry__kind__in": [k.value for k in kinds]}, -1),
            )
            for name, kinds in _MOVES.items()
        }
        figures = {
            "opening": Figure(row.opening_minor, Drill({**on, **before(period.start_on)}, -1)),
            **moved,
            "other": Figure(row.other_minor),
            "closing": Figure(row.closing_minor, Drill({**on, **before(period.end_on)}, -1)),
        }
        rows.append(Row({}, row.currency, figures))
    return Table((), names, rows)


def contract_balances(period: AccountingPeriod) -> Table:
    """List what customers owe and are owed, opening and closing."""
    balances = trial_balance(period.start_on, period.end_on)
    rows = []
    for currency in sorted({row.currency for row in balances}):
        for name, accounts, sign in _BALANCES:
            codes = [account.value for account in accounts]
            found = [b for b in balances if b.currency == currency and b.account in codes]
            on = on_accounts(codes, currency)
            figures = {
                "opening": Figure(
                    sign * sum(b.opening_minor for b in found),
                    Drill({**on, **before(period.start_on)}, sign),
                ),
                "closing": Figure(
                    sign * sum(b.closing_minor for b in found),
                    Drill({**on, **before(period.end_on)}, sign),
                ),
            }
            rows.append(Row({"balance": name}, currency, figures))
    rows += _hidden_pairs(period)
    return Table(("balance",), ("opening", "closing"), rows)


def _hidden_pairs(period: AccountingPeriod) -> Iterator[Row]:
    """Take off what statements do not show yet: claims and liabilities of equal size (PRES-1)."""
    presentation = presentation_of(period)
    opening = hidden_pairs(period.start_on, presentation)
    closing = hidden_pairs(period.end_on, presentation)
    for currency in sorted({*opening, *closing}):
        figures = {
            "opening": Figure(-opening.get(currency, 0)),
            "closing": Figure(-closing.get(currency, 0)),
        }
        for balance in ("Receivables", "Contract liabilities"):
            yield Row({"balance": f"{balance} {_HIDDEN[presentation]}"}, currency, figures)
