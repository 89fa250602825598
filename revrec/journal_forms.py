"""The journal as other ledgers import it: one row a line, in each program's own columns.

Lines come in their order, each with the account that the other ledger knows; rows of text leave.
Every journal balances. Sources: the import templates of QuickBooks Online (Import journal entries),
Xero (Manual journals) and NetSuite (CSV import of journal entries).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum
from itertools import groupby

from billing_project.kernel.money import Money


class Form(StrEnum):
    """Who reads the file."""

    CSV = "csv"  # Everything that a posting says.
    QUICKBOOKS = "quickbooks"
    XERO = "xero"
    NETSUITE = "netsuite"


class Layout(IntEnum):
    """Which columns a file has; one that was handed out keeps its own."""

    AMOUNTS = 1  # In the file's currency alone.
    WORTH = 2  # And what each line is worth in the currency of the books.
    MODEL = 3  # And which model's use was earned.


class Detail(StrEnum):
    """What one journal of the file is."""

    ENTRY = "entry"  # One of our entries.
    DAY = "day"  # All of a day, summed by account; by customer, too, where they owe.


@dataclass(frozen=True)
class Mapped:
    """An account as the other ledger knows it."""

    code: str
    name: str
    tax_rate: str


@dataclass(frozen=True)
class JournalLine:
    """One posting of an export, or the sum of several; debit positive.

    A difference of exchange moves only what it is worth in the books.
    """

    number: str  # Of the journal it is a line of: "JE-12", "2026-11-03".
    on: date
    memo: str
    account: str  # Our code.
    mapped: Mapped
    amount_minor: int
    currency: str
    customer: str = ""
    description: str = ""
    evidence: Sequence[str] = ()  # Further columns of the full form.
    worth_minor: int | None = None  # None: the books say nothing of it in their own currency.
    worth_currency: str = ""
    model: str = ""


_PER_CUSTOMER = {"1100"}  # QuickBooks asks whose a receivable is.
_EVIDENCE = ("entry", "kind", "source_key", "service_start_on", "service_end_on", "entry_sha256")
HEADERS: dict[Form, tuple[str, ...]] = {
    Form.CSV: (
        "journal", "date", "account", "account_name", "our_account", "debit", "credit", "currency",
        "customer", "description", *_EVIDENCE,
    ),
    Form.QUICKBOOKS: (
        "JournalNo", "JournalDate", "AccountName", "Debits", "Credits", "Description", "Name",
        "Currency",
    ),
    Form.XERO: (
        "*Narration", "*Date", "Description", "*AccountCode", "*TaxRate", "*Amount",
    ),
    Form.NETSUITE: (
        "External ID", "Date", "Currency", "Memo", "Account", "Debit", "Credit", "Line Memo",
        "Name",
    ),
}  # fmt: skip


_WORTH: dict[Form, tuple[str, ...]] = {
    Form.CSV: ("books_debit", "books_credit", "books_currency"),
    Form.QUICKBOOKS: ("Books Debits", "Books Credits", "Books Currency"),
    Form.XERO: ("Books Amount", "Books Currency"),
    Form.NETSUITE: ("Books Debit", "Books Credit", "Books Currency"),
}


def layout_of(form: Form, *, is_foreign: bool) -> Layout:
    """Return which columns a new file has.

    What a program reads is left as its template has it where lines are worth their amounts.

    Args:
        is_foreign: The file's currency is not that of the books.
    """
    if form is Form.CSV:
        return Layout.MODEL
    return Layout.WORTH if is_foreign else Layout.AMOUNTS


def header(form: Form, layout: Layout) -> tuple[str, ...]:
    """Return the columns of a form."""
    worth = _WORTH[form] if layout >= Layout.WORTH else ()
    return HEADERS[form] + worth + (("model",) if layout is Layout.MODEL else ())


def by_day(lines: Iterable[JournalLine]) -> Iterator[JournalLine]:
    """Sum an export's lines to one journal a day.

    Args:
        lines: Ascending by date. Every journal of them balances, so every day does.
    """
    for on, of_day in groupby(lines, key=lambda line: line.on):
        sums: dict[tuple[str, str, str, str], list[int]] = {}
        known: dict[str, Mapped] = {}
        for line in of_day:
            customer = line.customer if line.account in _PER_CUSTOMER else ""
            key = (line.account, customer, line.currency, line.worth_currency)
            total = sums.setdefault(key, [0, 0])
            total[0] += line.amount_minor
            total[1] += line.worth_minor or 0
            known[line.account] = line.mapped
        for (account, customer, currency, books), (amount, worth) in sorted(sums.items()):
            if amount or worth:
                yield JournalLine(
                    f"{on}", on, f"Billing of {on}", account, known[account], amount, currency,
                    customer, f"Billing of {on}", (), worth if books else None, books,
                )  # fmt: skip


def rows(
    form: Form, lines: Iterable[JournalLine], prefix: str, layout: Layout = Layout.AMOUNTS
) -> Iterator[list[str]]:
    """Write lines as the rows of a form, in its columns (`header`).

    Args:
        prefix: Before each journal's number, so that no other file's journal has the same.
    """
    write = _WRITERS[form]
    for line in lines:
        row = write(line, f"{prefix}{line.number}")
        if layout >= Layout.WORTH:
            row += _worth(form, line)
        yield [*row, line.model] if layout is Layout.MODEL else row


def _worth(form: Form, line: JournalLine) -> list[str]:
    """Write what a line is worth in the books, in as many columns as the form has sides."""
    if line.worth_minor is None:
        return [""] * len(_WORTH[form])
    if form is Form.XERO:
        return [_text(line.worth_minor, line.worth_currency), line.worth_currency]
    text = _text(abs(line.worth_minor), line.worth_currency)
    sides = [text, ""] if line.worth_minor >= 0 else ["", text]
    return [*sides, line.worth_currency]


def _full(line: JournalLine, number: str) -> list[str]:
    debit, credit = _sides(line)
    evidence = [*line.evidence, *[""] * (len(_EVIDENCE) - len(line.evidence))]
    return [
        number, f"{line.on}", line.mapped.code, line.mapped.name, line.account, debit, credit,
        line.currency, line.customer, line.description, *evidence,
    ]  # fmt: skip


def _quickbooks(line: JournalLine, number: str) -> list[str]:
    debit, credit = _sides(line)
    return [
        number, f"{line.on:%m/%d/%Y}", line.mapped.name, debit, credit, line.description,
        line.customer, line.currency,
    ]  # fmt: skip


def _xero(line: JournalLine, number: str) -> list[str]:
    return [
        f"{number} {line.memo}", f"{line.on:%d/%m/%Y}", line.description, line.mapped.code,
        line.mapped.tax_rate, _text(line.amount_minor, line.currency),
    ]  # fmt: skip


def _netsuite(line: JournalLine, number: str) -> list[str]:
    debit, credit = _sides(line)
    return [
        number, f"{line.on:%m/%d/%Y}", line.currency, line.memo, line.mapped.code, debit, credit,
        line.description, line.customer,
    ]  # fmt: skip


_WRITERS: dict[Form, Callable[[JournalLine, str], list[str]]] = {
    Form.CSV: _full,
    Form.QUICKBOOKS: _quickbooks,
    Form.XERO: _xero,
    Form.NETSUITE: _netsuite,
}


def _sides(line: JournalLine) -> tuple[str, str]:
    text = _text(abs(line.amount_minor), line.currency)
    return (text, "") if (line.amount_minor or line.worth_minor or 0) > 0 else ("", text)


def _text(amount_minor: int, currency: str) -> str:
    return f"{Money(amount_minor, currency).decimal:f}"
