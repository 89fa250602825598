"""Bodies and events as bytes: what is read, what is refused, and with which words."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.errors import Invalid
from metering.events import (
    BadItem,
    EventInput,
    MalformedBody,
    decode_body,
    decode_event,
)

_FIELDS = {"event_name": "llm_request", "identifier": "e1", "customer": "acme"}


def _raw(**changes: Any) -> bytes:
    return json.dumps({**_FIELDS, **changes}).encode()


def _with_value(literal: str) -> bytes:
    return _raw(properties={"tokens": 0}).replace(b'"tokens": 0', b'"tokens": ' + literal.encode())


def _decoded(raw: bytes) -> EventInput:
    event = decode_event(raw)
    assert isinstance(event, EventInput), event
    return event


def _refused(raw: bytes) -> BadItem:
    item = decode_event(raw)
    assert isinstance(item, BadItem), item
    return item


def test_an_event_is_read_with_its_instant_in_utc() -> None:
    event = _decoded(
        _raw(workspace="prod", timestamp="2026-11-20T11:15:30.5+01:00", properties={"n": 1})
    )

    assert event.timestamp == datetime(2026, 11, 20, 10, 15, 30, 500_000, UTC)
    assert (event.workspace, event.properties) == ("prod", {"n": 1})


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("1.50", Decimal("1.50")),
        ("12345678901234567.123456789", Decimal("12345678901234567.123456789")),
        ("0.1", Decimal("0.1")),
        ("-0", 0),
        ("-0.0", 0),
        ("-5", -5),  # A property may be negative; a meter's value may not (judging).
        ("1e3", Decimal("1000")),
        ("999999999999999999999999", 10**24 - 1),
        ('"\uff11\uff12"', "\uff11\uff12"),
        ("true", True),
    ],
)
def test_values_are_kept_exactly(literal: str, value: object) -> None:
    kept = _decoded(_with_value(literal)).properties["tokens"]

    assert (kept, str(kept)) in [(value, str(value)), (value, str(kept))]
    assert not isinstance(kept, float)


@pytest.mark.parametrize(
    "literal",
    [
        "1e400", "-1e400", "1e24", "1" * 60, "0." + "1" * 60, "1" * 5000, "1e-60",
        "1e-999999999999999999999", "null", "[1]", '{"a": 1}', '"' + "x" * 1001 + '"',
        r'"\u0000"', r'"\ud800"', r'"\udc00x"', "NaN",
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(literal: str) -> None:
    assert _refused(_with_value(literal)).code == "invalid_value"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"identifier": ""}, "$.identifier"),
        ({"identifier": "x" * 129}, "$.identifier"),
        ({"identifier": "with space"}, "$.identifier"),
        ({"identifier": "e1\n"}, "$.identifier"),
        ({"identifier": 7}, "$.identifier"),
        ({"customer": "Ünal"}, "$.customer"),
        ({"event_name": ""}, "$.event_name"),
        ({"workspace": "a b"}, "$.workspace"),
        ({"timestamp": "2026-11-20T10:15:30"}, "$.timestamp"),
        ({"timestamp": "2026-11-20T10:15:60Z"}, "$.timestamp"),
        ({"timestamp": "yesterday"}, "$.timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "$.timestamp"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "$.timestamp"),
        ({"timestamp": 1795424000}, "$.timestamp"),
        ({"properties": {"": 1}}, "$.properties"),
        ({"properties": {"k" * 101: 1}}, "$.properties"),
        ({"properties": {"a\x00b": 1}}, "$.properties"),
        ({"properties": {str(i): i for i in range(65)}}, "$.properties"),
        ({"properties": []}, "$.properties"),
        ({"quantity": 1}, "$"),
    ],
)
def test_fields_out_of_bounds_are_named_by_their_path(changes: dict[str, Any], path: str) -> None:
    assert _refused(_raw(**changes)).path == path


@pytest.mark.parametrize("name", ["event_name", "identifier", "customer", "workspace"])
def test_what_a_name_may_hold_is_said_in_words(name: str) -> None:
    detail = _refused(_raw(**{name: "é"})).detail

    assert detail.startswith("is ")
    assert "regex" not in detail


def test_an_empty_body_is_called_empty() -> None:
    with pytest.raises(MalformedBody, match="the body is empty"):
        decode_body(b"")


def test_a_bad_item_keeps_its_identifier_for_its_sender() -> None:
    assert _refused(_raw(customer=5)).identifier == "e1"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"event_name":"x","identifier":"e1","identifier":"e2","customer":"acme"}',
        b'{"event_name":"x","identifier":"e1","customer":"acme","properties":{"a":1,"a":2}}',
        b'{"event_name":"x","identifier":"e1","customer":"acme","properties":{"a":1,"a":"\\u003a"}}',
        b'{"event_name" :"x","identifier":"e1","customer":"acme","properties":{"a":1,"a" :2}}',
    ],
)
def test_a_key_that_comes_twice_is_refused(raw: bytes) -> None:
    assert _refused(raw).detail == "a key comes twice"


_PLAIN = b'{"event_name":"x","identifier":"e%d","customer":"acme"}'


@pytest.mark.parametrize(
    "twice",
    [
        b'{"customer":"acme","customer":"globex","event_name":"x","identifier":"e","properties":{"a":"1"}}',
        b'{"customer":"acme","event_name":"x","identifier":"e","properties":{"a":"1","a":"2"}}',
        b'{"customer":"acme","event_name":"x","event_name":"y","identifier":"e"}',
    ],
)
@pytest.mark.parametrize("others", range(1, 6))
def test_events_without_properties_hide_no_key_that_comes_twice(twice: bytes, others: int) -> None:
    plain = [_PLAIN % number for number in range(others)]

    items = decode_body(b'{"events":[%s]}' % b",".join([twice, *plain])).items

    assert [isinstance(item, BadItem) for item in items] == [True, *[False] * others]


@pytest.mark.parametrize("hidden", [1, 2])
def test_events_without_properties_hide_no_second_list_of_events(hidden: int) -> None:
    first = b",".join(_PLAIN % number for number in range(100, 100 + hidden))
    for others in range(1, 40):
        second = b",".join(_PLAIN % number for number in range(others))
        with pytest.raises(MalformedBody, match="events comes twice"):
            decode_body(b'{"events":[%s],"events":[%s]}' % (first, second))


_WHOLE = st.fixed_dictionaries(
    {
        "event_name": st.just("x"),
        "identifier": st.from_regex(r"[a-z]{1,4}", fullmatch=True),
        "customer": st.just("acme"),
    },
    optional={
        "workspace": st.just("w"),
        "timestamp": st.just("2026-11-20T10:15:30Z"),
        "properties": st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"])),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_WHOLE, min_size=1, max_size=12), st.data())
def test_no_batch_hides_a_key_that_comes_twice(events: list[dict[str, Any]], data: Any) -> None:
    place = data.draw(st.integers(0, len(events) - 1))
    key = data.draw(st.sampled_from(sorted(events[place])))
    texts = [json.dumps(event) for event in events]
    texts[place] = f"{{{json.dumps(key)}: {json.dumps(events[place][key])}, {texts[place][1:]}"

    items = decode_body(f'{{"events": [{", ".join(texts)}]}}'.encode()).items

    assert [isinstance(item, BadItem) for item in items] == [n == place for n in range(len(items))]


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
            min_size=1,
            max_size=100,
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=99)
        | st.integers(-(10**20), 10**20)
        | st.booleans(),
        max_size=5,
    ),
    st.booleans(),
)
def test_no_event_with_different_keys_is_refused(
    properties: dict[str, Any], is_ascii: bool
) -> None:
    raw = json.dumps({**_FIELDS, "properties": properties}, ensure_ascii=is_ascii).encode()

    assert _decoded(raw).properties == properties


def test_a_single_event_and_a_batch_are_told_apart() -> None:
    assert not decode_body(_raw()).is_batch
    assert decode_body(b'{"events":[' + _raw() + b"]}").is_batch


def test_one_bad_item_costs_only_itself() -> None:
    surrogate = _with_value(r'"\ud800"')
    body = b",".join([_raw(), b"7", _raw(identifier="e 2"), surrogate, _raw()])

    items = decode_body(b'{"events":[' + body + b"]}").items

    assert [isinstance(item, EventInput) for item in items] == [True, False, False, False, True]


@pytest.mark.parametrize("name", ["event_name", "identifier", "customer", "workspace"])
@pytest.mark.parametrize("text", ["e1\ne2", "e1\n", "\n", "é", "x" * 129, "a\x00b"])
def test_a_bad_name_in_a_batch_of_usual_events_costs_only_its_item(name: str, text: str) -> None:
    usual = {"timestamp": "2026-11-20T10:15:30Z", "properties": {"model": "small"}}
    raws = [_raw(**usual), _raw(**{**usual, name: text}), _raw(**usual)]

    items = decode_body(b'{"events":[' + b",".join(raws) + b"]}").items

    assert items == tuple(decode_event(raw) for raw in raws)
    assert [isinstance(item, EventInput) for item in items] == [True, False, True]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_is_no_json_costs_only_its_item(constant: str) -> None:
    bad = _with_value(constant)
    exact = _with_value("0.10000000000000000001")

    items = decode_body(b'{"events":[' + bad + b"," + exact + b"]}").items

    assert isinstance(items[0], BadItem)
    assert isinstance(items[1], EventInput)
    assert items[1].properties["tokens"] == Decimal("0.10000000000000000001")


@pytest.mark.parametrize("literal", ["1e99999999999999999999", "9" * 5000])
def test_an_impossible_number_beside_such_a_constant_costs_only_its_item(literal: str) -> None:
    bad = [_with_value("NaN"), _with_value(literal)]

    items = decode_body(b'{"events":[' + b",".join([*bad, _raw()]) + b"]}").items

    assert [isinstance(item, EventInput) for item in items] == [False, False, True]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b"null", b'{"events":[1,]}', b"\xff\xfe", b'"\xed\xa0\x80"',
        b'{"events":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", b"[" * 200_000,
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_whole(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode_body(body)


def test_a_deep_property_is_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000

    with pytest.raises(MalformedBody):
        decode_body(_raw(properties={"a": 0}).replace(b'"a": 0', b'"a": ' + deep))


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_its_bounds(count: int) -> None:
    with pytest.raises(Invalid):
        decode_body(b'{"events":[' + b",".join([_raw()] * count) + b"]}")


def test_events_that_are_no_array_are_refused() -> None:
    with pytest.raises(Invalid):
        decode_body(b'{"events": 5}')


def test_what_is_rescued_keeps_its_identifier() -> None:
    items = decode_body(b'{"events":[' + _with_value(r'"cut \ud83d"') + b"]}").items

    assert [item.identifier for item in items] == ["e1"]
