"""The hash of an event's content: stable, and the same for one event and for a batch."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.content import content_hashes, content_sha256
from metering.events import EventInput, TextEvent, decode_body, decode_event
from metering.exact import to_json

_FIELDS = {"event_name": "llm_request", "identifier": "e1", "customer": "acme"}


def _raw(**changes: Any) -> bytes:
    return json.dumps({**_FIELDS, **changes}).encode()


def _with_value(literal: str) -> bytes:
    return _raw(properties={"tokens": 0}).replace(b'"tokens": 0', b'"tokens": ' + literal.encode())


def _decoded(raw: bytes) -> EventInput:
    event = decode_event(raw)
    assert isinstance(event, EventInput), event
    return event


def test_the_content_hash_is_stable_over_releases() -> None:
    event = _decoded(
        _raw(timestamp="2026-11-20T10:15:30Z", properties={"b": "1", "a": 2, "c": True})
    )

    # sha256 of ["llm_request","","2026-11-20T10:15:30Z",{"a":2,"b":"1","c":true}]
    assert content_sha256(event).hex() == (
        "d69a383ac22d2a04f9f2b6d1651692951a2b6d658cba67ada5f7290473c0277a"
    )


def test_the_content_is_neither_the_customer_nor_the_order_of_keys() -> None:
    one = _decoded(_raw(properties={"a": 1, "b": 2}))
    other = _decoded(_raw(customer="acme-eu", properties={"b": 2, "a": 1}))

    assert content_sha256(one) == content_sha256(other)


@settings(max_examples=100, deadline=None)
@given(st.decimals(-(10**15), 10**15, places=12), st.integers(0, 6))
def test_equal_numbers_hash_equally_and_others_do_not(number: Decimal, zeros: int) -> None:
    def hashed(text: str) -> bytes:
        return content_sha256(_decoded(_with_value(text)))

    text = f"{number:f}"

    assert hashed(text) == hashed(text + "0" * zeros)
    assert hashed(text) != hashed(f"{number + Decimal('1e-12'):f}")


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9)
_NUMBERS = st.integers(-9, 9) | st.booleans() | st.decimals(0, 9, places=2).map(str)


def _bodies(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    event = st.fixed_dictionaries(
        {"event_name": st.sampled_from(["llm_request", "a,b]"]), "identifier": st.just("e1"),
         "customer": st.just("acme"), "properties": st.dictionaries(_TEXTS.filter(len), values)},
        optional={
            "workspace": st.sampled_from(["prod", "test"]),
            "timestamp": st.sampled_from(["2026-11-20T10:15:30Z", "2026-11-20T10:15:30.000001Z"]),
        },
    )  # fmt: skip
    return st.lists(event, min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(_bodies(_TEXTS) | _bodies(_TEXTS | _NUMBERS))
def test_a_batch_is_hashed_as_its_events_are(sent: Sequence[dict[str, Any]]) -> None:
    items = decode_body(json.dumps({"events": sent}).encode()).items
    events = [item for item in items if isinstance(item, EventInput)]
    assert len(events) == len(sent)

    hashes = content_hashes(events, [to_json(event.properties) for event in events])

    # From the other form of the same events, and without what was written before.
    alone = [_decoded(json.dumps(one).encode()) for one in sent]
    assert hashes == [content_sha256(event) for event in alone]


def test_the_usual_batch_takes_the_quick_way() -> None:
    (event,) = decode_body(b'{"events":[%b]}' % _raw(properties={"tokens": "5"})).items

    assert type(event) is TextEvent
