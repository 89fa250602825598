"""Hostile instants, numbers and texts: refused with a code or kept exactly, never a failure."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.models import Customer, Meter, MeterEvent, UsageWindow
from tests.faults.rig import aggregate_all, an_event

NOW = datetime.now(UTC).replace(microsecond=0)


def _raw(client: Client, body: bytes, **headers: str) -> Any:
    return client.post("/v1/events", body, content_type="application/json", headers=headers)


def _post(client: Client, content: object) -> Any:
    return _raw(client, json.dumps(content).encode())


@pytest.mark.parametrize(
    ("timestamp", "code"),
    [
        (timedelta(days=-34), ""),
        (timedelta(days=-35, minutes=-10), "timestamp_too_far_in_past"),
        (timedelta(minutes=4), ""),
        (timedelta(minutes=6), "timestamp_in_future"),
        ("0001-01-01T00:00:00Z", "timestamp_too_far_in_past"),
        ("9999-12-31T23:59:59Z", "timestamp_in_future"),
        ("0001-01-01T00:00:00+14:00", "invalid_value"),  # Before the first instant there is.
        ("9999-12-31T23:59:59-12:00", "invalid_value"),
        ("2026-11-20T10:15:30", "invalid_value"),  # No offset: nobody knows when that was.
        ("2016-12-31T23:59:60Z", "invalid_value"),  # A leap second.
        ("2026-02-30T00:00:00Z", "invalid_value"),
        ("2026-11-20", "invalid_value"),
        ("", "invalid_value"),
        (1732000000, "invalid_value"),
        ("10000-01-01T00:00:00Z", "invalid_value"),
        ("2026-11-20T10:15:30+99:99", "invalid_value"),
    ],
)
def test_i7_a_skewed_or_senseless_clock_is_answered_with_a_code(
    client: Client, timestamp: object, code: str
) -> None:
    if isinstance(timestamp, timedelta):
        timestamp = (datetime.now(UTC) + timestamp).isoformat()
    answer = _post(client, an_event("i7", timestamp=timestamp))

    assert answer.status_code == (422 if code else 200), answer.content
    assert answer.json().get("code", "") == code
    stored = list(MeterEvent.objects.values_list("timestamp", "received_at"))
    assert len(stored) == (0 if code else 1)
    for used_at, received_at in stored:
        assert used_at == datetime.fromisoformat(str(timestamp))
        assert received_at >= NOW  # The server's own clock is kept beside the sender's.


_ONE = json.dumps(an_event("bomb")).encode()
_BOMBS = {
    "two hundred thousand arrays": b"[" * 200_000,
    "as many objects": b'{"a":' * 200_000,
    "closed again": b"[" * 100_000 + b"]" * 100_000,
    "deep in a property": _ONE.replace(b'"100"', b"[" * 100_000 + b"]" * 100_000),
    "deep in a batch": b'{"events":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    "a million keys": json.dumps({f"k{n}": 1 for n in range(200_000)}).encode(),
    "a million properties": _ONE.replace(
        b'"100"', b'"1",' + b",".join(b'"k%d":1' % n for n in range(100_000))
    ),
    "one long number": _ONE.replace(b'"100"', b"9" * 1_000_000),
    "a long fraction": _ONE.replace(b'"100"', b"0." + b"3" * 1_000_000),
    "an exponent": _ONE.replace(b'"100"', b"1e999999999999"),
    "a key twice": _ONE.replace(b'"tokens"', b'"tokens":"1","tokens"'),
    "a million items": b'{"events":[' + b"0," * 1_000_000 + b"0]}",
    "no end": _ONE[:-1],
    "two documents": _ONE + _ONE,
    "nothing": b"",
    "not UTF-8": b'{"event_name":"\xff\xfe"}',
    "UTF-16": _ONE.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + _ONE,
}


@pytest.mark.parametrize("name", _BOMBS)
def test_i12_json_bombs_are_refused_and_store_nothing(client: Client, name: str) -> None:
    answer = _raw(client, _BOMBS[name])

    is_item_of_batch = answer.status_code == 200 and answer.json().get("rejected", 0) > 0
    assert is_item_of_batch or answer.status_code in {400, 413, 422}, answer.content
    assert not MeterEvent.objects.exists()


_NUMBERS = [
    ("1e400", None),
    ("1E+23", "100000000000000000000000"),
    ("1e24", None),
    ("12345678901234567.123456789", "12345678901234567.123456789"),
    ("123456789012345678901234.123456789012", "123456789012345678901234.123456789012"),
    ("0.1", "0.1"),
    ("0.000000000001", "0.000000000001"),
    ("0.0000000000001", None),
    ("-0", "0"),
    ("-0.0", "0"),
    ("-1", None),
    ("1.10", "1.1"),
    ("9007199254740993", "9007199254740993"),
    ('"9007199254740993"', "9007199254740993"),
    ('"1e3"', None),
    ('"١٢"', None),
    ('"\uff11\uff12"', None),  # Full-width digits.
    ('" 12"', None),
    ('"012"', None),
    ('"1_000"', None),
    ('"NaN"', None),
    ("NaN", None),
    ("Infinity", None),
    ("-Infinity", None),
    ("9" * 5000, None),
    ('"0x10"', None),
    ("true", None),
]


@pytest.mark.parametrize(("literal", "quantity"), _NUMBERS)
def test_i13_a_number_is_counted_exactly_or_refused(
    client: Client, literal: str, quantity: str | None
) -> None:
    answer = _raw(client, json.dumps(an_event("i13")).replace('"100"', literal).encode())

    assert answer.status_code == (200 if quantity else 422), answer.content
    aggregate_all()
    sums = UsageWindow.objects.filter(meter__code="tokens_sum").values_list("quantity", flat=True)
    assert list(sums) == ([Decimal(quantity)] if quantity else [])


_quantities = st.decimals(0, 10**20, allow_nan=False, allow_infinity=False, places=6)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(quantity=_quantities, is_text=st.booleans())
def test_i13_what_is_sent_is_stored_and_read_back_as_it_was(
    client: Client, quantity: Decimal, is_text: bool
) -> None:
    literal = f'"{quantity:f}"' if is_text else f"{quantity:f}"
    serial = f"r-{MeterEvent.objects.count()}"
    body = json.dumps(an_event(serial)).replace('"100"', literal)
    assert _raw(client, body.encode()).status_code == 200

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT properties ->> 'tokens' FROM meter_event WHERE identifier = %s", [serial]
        )
        (stored,) = cursor.fetchone()
    listed = json.loads(
        client.get("/v1/events?customer=acme&limit=1").content, parse_float=Decimal
    )["data"][0]["properties"]["tokens"]

    if is_text:
        assert stored == listed == f"{quantity:f}"
    assert Decimal(stored) == Decimal(str(listed)) == quantity


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "-Infinity", "1e38", "1e50", "-1"])
def test_i14_the_database_itself_refuses_what_is_no_quantity(client: Client, quantity: str) -> None:
    """NaN is more than everything to PostgreSQL: only the upper bound keeps it out."""
    values: list[Any] = [
        Meter.objects.all()[0].pk,
        Customer.objects.get().pk,
        NOW.replace(minute=0, second=0),
    ]

    with (
        pytest.raises(DatabaseError, match=r"violates check|overflow|NaN|infinity"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO usage_window (meter_id, customer_id, start_at, dimensions,"
            " dimensions_key, quantity, event_count, revision, updated_at)"
            " VALUES (%s, %s, %s, '{}', 'key', %s::numeric, 1, 1, now())",
            [*values, quantity],
        )


@pytest.mark.parametrize("tokens", ["-1", "-0.000001", str(10**24), "1" + "0" * 30])
def test_i14_negative_and_huge_quantities_are_refused_at_the_door(
    client: Client, tokens: str
) -> None:
    answer = _post(client, an_event("i14", properties={"model": "haiku", "tokens": tokens}))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")


_TEXTS = ["\x00", "a\x00b", "\ud800", "\udfff\ud800"]


@pytest.mark.parametrize("text", _TEXTS)
@pytest.mark.parametrize("field", ["identifier", "customer", "workspace", "event_name", "model"])
def test_i15_nul_and_lone_surrogates_are_refused_wherever_they_stand(
    client: Client, field: str, text: str
) -> None:
    is_property = field == "model"
    changes: dict[str, Any] = (
        {"properties": {"model": text, "tokens": "1"}} if is_property else {field: text}
    )
    answer = _post(client, {**an_event("i15"), **changes})

    assert answer.status_code in {400, 413, 422}, answer.content
    assert not MeterEvent.objects.exists()


@pytest.mark.parametrize(
    "identifier",
    ["a\u202eb", "e\u0301" * 10, "\u0301" * 10_000, "K\u212a", "a b", "a\n", "x" * 129, "", "a'b"],
)
def test_i15_identifiers_are_plain_ascii(client: Client, identifier: str) -> None:
    answer = _post(client, an_event(identifier))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")


def test_i15_odd_but_storable_text_comes_back_as_it_was(client: Client) -> None:
    for n, text in enumerate(
        ["\u202eabc", "e\u0301", "\u00e9", "\U0001f600", "a" + "\u0301" * 999]
    ):
        _post(client, an_event(f"t{n}", properties={"model": text, "tokens": "1"}))
        assert MeterEvent.objects.get(identifier=f"t{n}").properties["model"] == text
    aggregate_all()
    assert UsageWindow.objects.filter(meter__code="tokens_sum").count() == 5


@pytest.mark.parametrize(
    "address",
    [
        "/v1/events?customer=%00",
        "/v1/events?customer=acme&event_name=%00",
        "/v1/events/acme/%00",
        "/v1/usage?customer=a%00b",
        "/v1/customers/%00",
        "/v1/events?customer=acme&cursor=%00",
        "/v1/events?customer=%ff%fe",
        "/v1/quarantine?reason=%00",
    ],
)
def test_i15_addresses_with_nul_are_never_a_failure(client: Client, address: str) -> None:
    assert 400 <= client.get(address).status_code < 500


@pytest.mark.parametrize(
    "page", ["customer", "meter", "meterevent", "quarantinedevent", "usagewindow", "eventrejection"]
)
@pytest.mark.parametrize("query", ["q=%00", "q=a%00b", "e=%00", "q=%ed%a0%80", "p=%00", "o=%00"])
def test_i15_the_admin_s_search_survives_nul(db: None, page: str, query: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(get_user_model().objects.create_superuser("root", password=None))

    answer = client.get(f"/admin/metering/{page}/?{query}", follow=True)

    assert answer.status_code < 500


def test_i11_a_gzip_of_another_gzip_is_undone_once(client: Client) -> None:
    inner = _gzip(json.dumps(an_event("gz")).encode())

    assert _raw(client, inner, **{"content-encoding": "gzip"}).status_code == 200
    assert _raw(client, _gzip(inner), **{"content-encoding": "gzip"}).status_code == 400
    assert _raw(client, inner, **{"content-encoding": "gzip, gzip"}).status_code == 415


def _gzip(plain: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(plain) + packer.flush()
