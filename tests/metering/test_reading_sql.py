"""Meters as SQL agree with the same rules in Python."""

from decimal import Decimal

import pytest
from django.db import connection

from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.aggregation import text_of

pytestmark = pytest.mark.django_db

_TEXTS = [
    "0", "-0", "-0.0", "1", "1200", "0.5", "1.50", "0.000000000001", "0.0000000000010",
    "0.0000000000001", "999999999999999999999999.999999999999", "1000000000000000000000000",
    "-1", "-0.1", "+1", "01", "00", ".5", "5.", "1e3", "1E3", " 1", "1 ", "1\n", "", "-", "NaN",
    "Infinity", "0x1", "1_000", "1,5", "\uff11", "\u0661", "abc", "1" * 60, "9" * 24,
    "9" * 18, "9" * 19, "0" * 18, "1" * 17 + "\u0661", "10", "0123456789", "1" * 17 + ".",
]  # fmt: skip


@pytest.mark.parametrize("text", _TEXTS)
def test_postgresql_reads_a_quantity_as_python_does(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT meter_quantity(%s)", [text])
        found = cursor.fetchone()[0]

    try:
        expected: Decimal | None = parse_quantity(text)
    except NotAQuantity:
        expected = None
    assert found == expected


@pytest.mark.parametrize(
    "number", ["0", "-5", "1.50", "0.1", "1E+3", "1.0E+2", "1E-7", "12345678901234567.123456789"]
)
def test_postgresql_writes_a_number_as_python_does(number: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb ->> 'n'", [f'{{"n": {number}}}'])

        assert cursor.fetchone()[0] == text_of(Decimal(number))
