"""What the API takes and gives as text."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError
from rest_framework.serializers import Field

from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import (
    CurrencyField,
    ExternalIdField,
    IntegerField,
    MoneyField,
    QuantityField,
    TimeZoneField,
    UtcDateTimeField,
)

AnyField = Field[Any, Any, Any, Any]


@pytest.mark.parametrize(
    ("field", "sent", "read"),
    [
        (QuantityField(), "1200", Decimal(1200)),
        (QuantityField(), 5, Decimal(5)),
        (QuantityField(), "0", Decimal(0)),
        (QuantityField(), Decimal("0.000000000001"), Decimal("0.000000000001")),
        (CurrencyField(), "JPY", "JPY"),
        (TimeZoneField(), "Europe/Berlin", "Europe/Berlin"),
        (ExternalIdField(), "acme.prod:eu@x+1", "acme.prod:eu@x+1"),
        # 90.00 dollars are 9,000 cents; yen have no decimals, dinars three.
        (MoneyField(), {"amount": "90.00", "currency": "USD"}, Money(9000, "USD")),
        (MoneyField(), {"amount": "90", "currency": "JPY"}, Money(90, "JPY")),
        (MoneyField(), {"amount": "0.001", "currency": "KWD"}, Money(1, "KWD")),
    ],
)
def test_good_values_are_read_exactly(field: AnyField, sent: object, read: object) -> None:
    assert field.run_validation(sent) == read


@pytest.mark.parametrize(
    ("field", "sent", "code"),
    [
        (QuantityField(), "1e3", "invalid_quantity"),
        (QuantityField(), "NaN", "invalid_quantity"),
        (QuantityField(), Decimal("NaN"), "invalid_quantity"),
        (QuantityField(), "-1", "invalid_quantity"),
        (QuantityField(), "9" * 60, "invalid_quantity"),
        (QuantityField(), "١٢", "invalid_quantity"),
        (QuantityField(), True, "invalid_quantity"),
        (QuantityField(), ["1"], "invalid_quantity"),
        (QuantityField(), None, "null"),
        (QuantityField(positive=True), "0", "not_positive"),
        (UtcDateTimeField(), "2026-11-20T10:15:30", "invalid"),
        (UtcDateTimeField(), "2026-11-20", "invalid"),
        (UtcDateTimeField(), "2026-02-30T10:15:30Z", "invalid"),
        (UtcDateTimeField(), "0001-01-01T00:00:00+14:00", "invalid"),
        (UtcDateTimeField(), "2026-11-20T10:15:30+99:99", "invalid"),
        (UtcDateTimeField(), 1700000000, "invalid"),
        (CurrencyField(), "usd", "unknown_currency"),
        (CurrencyField(), "XYZ", "unknown_currency"),
        (CurrencyField(), ["USD"], "invalid"),
        (TimeZoneField(), "Mars/Olympus", "unknown_time_zone"),
        (TimeZoneField(), "../../etc/passwd", "unknown_time_zone"),
        (ExternalIdField(), "a b", "invalid_id"),
        (ExternalIdField(), "a/b", "invalid_id"),
        (ExternalIdField(), "аcme", "invalid_id"),  # A Cyrillic a.  # noqa: RUF001
        (ExternalIdField(), "x" * 129, "invalid_id"),
        (ExternalIdField(), "x\n", "invalid_id"),
        (ExternalIdField(), 7, "invalid_id"),
        (MoneyField(), "90.00", "invalid"),
        (MoneyField(), {"amount": "90.00"}, "invalid"),
        (MoneyField(), {"amount": "0.001", "currency": "USD"}, "too_fine"),
        (MoneyField(), {"amount": "1" + "0" * 20, "currency": "USD"}, "too_large"),
        (MoneyField(), {"amount": "-1", "currency": "USD"}, "invalid_quantity"),
    ],
)
def test_bad_values_are_refused_with_their_code(field: AnyField, sent: object, code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        field.run_validation(sent)

    assert refused.value.get_codes() == [code]


def test_instants_are_read_into_utc_and_written_with_a_z() -> None:
    field = UtcDateTimeField()

    instant = field.run_validation("2026-11-20T10:15:30.123+02:00")

    assert instant == datetime(2026, 11, 20, 8, 15, 30, 123000, tzinfo=UTC)
    assert field.to_representation(instant) == "2026-11-20T08:15:30.123000Z"


def test_money_and_quantities_leave_as_text() -> None:
    assert QuantityField().to_representation(Decimal("-1200.500")) == "-1200.5"
    assert MoneyField().to_representation(Money(9000, "USD")) == {
        "amount": "90.00",
        "currency": "USD",
    }


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**15 - 1), st.sampled_from(["USD", "JPY", "KWD"]))
def test_money_survives_the_round_trip(minor: int, currency: str) -> None:
    money, field = Money(minor, currency), MoneyField()

    assert field.run_validation(field.to_representation(money)) == money


@pytest.mark.parametrize(("sent", "read"), [(5, 5), ("5", 5), ("-3", -3), (0, 0), (2**62, 2**62)])
def test_whole_numbers_are_read(sent: object, read: int) -> None:
    assert IntegerField().run_validation(sent) == read


@pytest.mark.parametrize(
    "sent",
    ["٣", "५", "1.0", "+5", " 5", "5 ", "05", "1_0", "", "-", "1e3", 1.0, Decimal(5), True, False,
     None, [], {}, "9" * 30],
)  # fmt: skip
def test_what_is_no_whole_number_is_refused(sent: object) -> None:
    with pytest.raises(ValidationError):
        IntegerField().run_validation(sent)


def test_a_whole_number_has_its_bounds() -> None:
    with pytest.raises(ValidationError):
        IntegerField(min_value=1).run_validation(0)
    with pytest.raises(ValidationError):
        IntegerField(max_value=100).run_validation(101)
