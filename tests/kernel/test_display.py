"""Money, quantities and links as people read them."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    days_text,
    document,
    link,
    moment_html,
    moment_text,
    money,
    money_text,
    number,
    number_text,
    pairs,
    unrounded_text,
)
from billing_project.kernel.backoffice.moments import viewed_from
from billing_project.kernel.models import User


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("90", "USD", "90.00 USD"),
        ("-0.0125", "USD", "-0.0125 USD"),
        ("1234.5", "USD", "1,234.50 USD"),
        ("90", "JPY", "90 JPY"),
        ("0.5", "JPY", "0.5 JPY"),
    ],
)
def test_an_unrounded_amount_has_at_least_the_currency_s_decimals(
    amount: str, currency: str, text: str
) -> None:
    assert unrounded_text(Decimal(amount), currency) == text


def row(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**values)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123456, "USD", "1,234.56 USD"),
        (-5, "USD", "-0.05 USD"),
        (1234567, "JPY", "1,234,567 JPY"),  # No decimals.
        (1234, "KWD", "1.234 KWD"),  # Three.
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_money_has_its_currency_and_all_its_decimals(minor: int, currency: str, text: str) -> None:
    assert money_text(minor, currency) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1234567.890000000000", "1,234,567.89"),
        ("-0.000045", "-0.000045"),
        ("1200", "1,200"),
        ("0", "0"),
        ("-0.000", "0"),
        (
            "99999999999999999999999999.999999999999",
            "99,999,999,999,999,999,999,999,999.999999999999",
        ),
    ],
)
def test_numbers_are_exact_with_separators(value: str, text: str) -> None:
    assert number_text(Decimal(value)) == text


@settings(max_examples=80, deadline=None)
@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=12, min_value=-(10**26), max_value=10**26
    )
)
def test_a_written_number_reads_back_as_itself(value: Decimal) -> None:
    assert Decimal(number_text(value).replace(",", "")) == value


def test_moments_are_shown_where_the_viewer_is_with_utc_on_hover() -> None:
    at = datetime(2026, 11, 19, 23, 30, tzinfo=UTC)

    with viewed_from("Europe/Berlin"):
        assert moment_text(at) == "2026-11-20 00:30:00 CET"
        assert moment_html(at) == (
            '<time class="bo-figure" datetime="2026-11-19T23:30:00+00:00"'
            ' title="2026-11-19 23:30:00 UTC">2026-11-20 00:30:00</time>'
        )
        assert moment_text(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01 00:53:28 LMT"
    with viewed_from("America/New_York"):
        assert moment_text(datetime(1, 1, 1, tzinfo=UTC)).startswith("0001-01-01 00:00:00")
    assert moment_html(at).endswith(">2026-11-19 23:30:00</time>")
    assert moment_html(None) == EMPTY


def test_moments_are_in_utc() -> None:
    at = datetime(2026, 11, 20, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert moment_text(at) == "2026-11-19 23:30:00"
    assert moment_text(None) == EMPTY


def test_columns_name_and_sort_themselves() -> None:
    show = money("total_minor", "total", currency="invoice.currency")

    text = show(row(total_minor=4900, invoice=row(currency="USD")))

    assert "49.00 USD" in text
    assert show.short_description == "total"  # type: ignore[attr-defined]
    assert show.admin_order_field == "total_minor"  # type: ignore[attr-defined]


def test_a_number_carries_its_unit_and_nothing_is_a_dash() -> None:
    show = number("quantity", unit="meter.unit")

    assert "1,200 token" in show(row(quantity=Decimal(1200), meter=row(unit="token")))
    assert show(row(quantity=None)) == EMPTY


def test_values_of_others_are_escaped() -> None:
    hostile = "<script>"

    assert hostile not in badge("status", {})(row(status=hostile))
    assert hostile not in document("facts")(row(facts={"name": hostile}))
    assert hostile not in link("by")(row(by=User(pk=1, username=hostile)))
    # Plain text; the page escapes it.
    assert pairs("dimensions")(row(dimensions={"model": "gpt"})) == "model gpt"


def test_a_link_over_a_missing_step_is_a_dash() -> None:
    assert link("line.invoice")(row(line=None)) == EMPTY
    assert link("by")(row(by=None)) == EMPTY


def test_documents_show_exact_numbers() -> None:
    text = document("properties")(
        row(properties={"tokens": Decimal(1200), "share": Decimal("0.1")})
    )

    assert "&quot;tokens&quot;: 1200" in text
    assert "&quot;share&quot;: &quot;0.1&quot;" in text


def test_a_date_of_the_far_past_is_written_too() -> None:
    assert moment_text(datetime(1, 1, 1, tzinfo=UTC)).endswith("00:00:00")


def test_a_period_is_told_by_the_days_of_the_customer_s_calendar() -> None:
    start, end = datetime(2026, 9, 30, 15, tzinfo=UTC), datetime(2026, 10, 31, 15, tzinfo=UTC)

    assert days_text(start, end, "Asia/Tokyo") == "2026-10-01 to 2026-11-01"
    assert days_text(start, end, "UTC") == "2026-09-30 to 2026-10-31"
