"""The journal in other programs' columns: balanced, in their dates and codes, nothing lost."""

from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revrec.journal_forms import (
    HEADERS,
    Form,
    JournalLine,
    Layout,
    Mapped,
    by_day,
    header,
    layout_of,
    rows,
)

DAY = date(2026, 11, 3)
CODES = {
    "1100": Mapped("120", "Debtors", "Tax Exempt"),
    "2120": Mapped("820", "Deferred income", "Tax Exempt"),
    "4000": Mapped("200", "Sales: fees", "Tax Exempt"),
}


def _line(
    account: str, amount: int, entry: int = 1, on: date = DAY, customer: str = "acme"
) -> JournalLine:
    return JournalLine(
        f"JE-{entry}", on, f"Invoice {entry}", account, CODES[account], amount, "USD", customer,
        f"Invoice {entry}",
    )  # fmt: skip


def test_each_program_reads_its_own_columns() -> None:
    line = _line("1100", 4_900)

    written = {form: next(rows(form, [line], "7-")) for form in Form}

    assert written[Form.QUICKBOOKS] == [
        "7-JE-1", "11/03/2026", "Debtors", "49.00", "", "Invoice 1", "acme", "USD",
    ]  # fmt: skip
    assert written[Form.XERO] == [
        "7-JE-1 Invoice 1", "03/11/2026", "Invoice 1", "120", "Tax Exempt", "49.00",
    ]  # fmt: skip
    assert written[Form.NETSUITE] == [
        "7-JE-1", "11/03/2026", "USD", "Invoice 1", "120", "49.00", "", "Invoice 1", "acme",
    ]  # fmt: skip
    assert written[Form.CSV][:9] == [
        "7-JE-1", "2026-11-03", "120", "Debtors", "1100", "49.00", "", "USD", "acme",
    ]  # fmt: skip
    for form, row in written.items():
        assert len(row) == len(HEADERS[form])


def test_credits_stand_on_their_side_or_below_zero() -> None:
    line = _line("4000", -150)

    assert next(rows(Form.QUICKBOOKS, [line], ""))[3:5] == ["", "1.50"]
    assert next(rows(Form.XERO, [line], ""))[5] == "-1.50"


def test_what_a_line_is_worth_in_the_books_stands_after_what_each_program_reads() -> None:
    line = replace(_line("4000", -150), worth_minor=-165, worth_currency="EUR")
    written = {form: next(rows(form, [line], "", Layout.WORTH)) for form in Form}

    assert written[Form.CSV][-3:] == ["", "1.65", "EUR"]
    assert written[Form.QUICKBOOKS][-3:] == ["", "1.65", "EUR"]
    assert written[Form.NETSUITE][-3:] == ["", "1.65", "EUR"]
    assert written[Form.XERO][-2:] == ["-1.65", "EUR"]
    for form, row in written.items():
        assert len(row) == len(header(form, Layout.WORTH))
        assert row[: len(HEADERS[form])] == next(rows(form, [line], ""))


def test_a_program_s_template_is_kept_where_lines_are_worth_their_amounts() -> None:
    assert layout_of(Form.XERO, is_foreign=False) is Layout.AMOUNTS
    assert {layout_of(form, is_foreign=True) for form in Form} == {Layout.WORTH, Layout.MODEL}
    assert layout_of(Form.CSV, is_foreign=False) is Layout.MODEL


def test_a_difference_of_exchange_moves_nothing_but_its_worth() -> None:
    line = replace(_line("4000", 0), worth_minor=-7, worth_currency="EUR")

    assert next(rows(Form.QUICKBOOKS, [line], "", Layout.WORTH))[3:5] == ["", "0.00"]
    assert [one.worth_minor for one in by_day([line])] == [-7]
    assert list(by_day([line, replace(line, worth_minor=7)])) == []


def test_a_day_is_one_journal_and_receivables_keep_their_customer() -> None:
    lines = [
        _line("1100", 4_900, 1), _line("2120", -4_900, 1),
        _line("1100", 2_000, 2, customer="beta"), _line("2120", -2_000, 2, customer="beta"),
        _line("2120", 6_900, 3, date(2026, 11, 4)), _line("4000", -6_900, 3, date(2026, 11, 4)),
    ]  # fmt: skip

    summed = [(x.number, x.account, x.customer, x.amount_minor) for x in by_day(lines)]

    assert summed == [
        ("2026-11-03", "1100", "acme", 4_900),
        ("2026-11-03", "1100", "beta", 2_000),
        ("2026-11-03", "2120", "", -6_900),
        ("2026-11-04", "2120", "", 6_900),
        ("2026-11-04", "4000", "", -6_900),
    ]


def test_what_evens_out_within_a_day_is_no_line() -> None:
    assert list(by_day([_line("1100", 5), _line("1100", -5, 2)])) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(sorted(CODES)), st.sampled_from(sorted(CODES)),
            st.integers(1, 10**9),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_every_journal_of_every_form_balances(entries: list[tuple[int, str, str, int]]) -> None:
    lines = [
        line
        for number, (day, debit, credit, amount) in enumerate(sorted(entries))
        for line in (
            _line(debit, amount, number, date(2026, 11, 1 + day)),
            _line(credit, -amount, number, date(2026, 11, 1 + day)),
        )
    ]

    for source in (lines, list(by_day(lines))):
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows(Form.QUICKBOOKS, source, ""):
            sums[row[0]] += Decimal(row[3] or 0) - Decimal(row[4] or 0)
        assert set(sums.values()) <= {Decimal(0)}


@pytest.mark.parametrize("form", list(Form))
def test_nothing_to_write_is_no_row(form: Form) -> None:
    assert list(rows(form, [], "1-")) == []
