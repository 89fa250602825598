"""Judging: the pure rules of what is stored, kept or refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.aggregation import (
    Filter,
    MeterRule,
    Operator,
    dimensions_key,
    dimensions_of,
    text_of,
)
from metering.events import EventInput
from metering.judging import Screen, TimeWindow, are_plain, is_plain, judge, judge_time
from tests.metering.builders import an_event

_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
_WINDOW = TimeWindow.around(_AT, 35, 5)
_TOKENS = MeterRule(1, "tokens", "llm_request", "sum", "tokens", (), (), 0)
_USERS = MeterRule(2, "users", "llm_request", "unique", "user", (), (), 0)


@pytest.mark.parametrize(
    ("changes", "is_known", "rules", "code"),
    [
        ({}, True, [_TOKENS], None),
        ({}, False, [_TOKENS], "unknown_customer"),
        ({}, True, [], "unknown_event_name"),
        ({}, False, [], "unknown_customer"),
        ({}, True, [_TOKENS, _USERS], "missing_value"),
        ({"properties": {"tokens": "x"}}, True, [_USERS, _TOKENS], "invalid_value"),
        ({"properties": {"tokens": "x"}}, False, [_TOKENS], "invalid_value"),
        ({"properties": {"tokens": "1", "user": "any text"}}, True, [_TOKENS, _USERS], None),
        ({"timestamp": _AT - timedelta(days=36)}, False, [], "timestamp_too_far_in_past"),
        ({"timestamp": _AT + timedelta(hours=1)}, True, [_TOKENS], "timestamp_in_future"),
    ],
)
def test_rejection_goes_before_quarantine(
    changes: dict[str, object], is_known: bool, rules: list[MeterRule], code: str | None
) -> None:
    verdict = judge(
        an_event(**changes),  # type: ignore[arg-type]
        used_at=_AT,
        is_customer_known=is_known,
        screens={"llm_request": Screen.of(rules)} if rules else {},
        window=_WINDOW,
    )

    assert (verdict.code if verdict else None) == code


@settings(max_examples=100, deadline=None)
@given(
    st.from_regex(r"[-+]?[0-9]{0,26}(\.[0-9]{0,14})?(e[0-9])?", fullmatch=True)
    | st.text(max_size=5)
)
def test_the_short_cut_for_integers_agrees_with_the_rule(text: str) -> None:
    event = an_event(properties={"tokens": text})

    screens = {"llm_request": Screen.of([_TOKENS])}
    verdict = judge(event, used_at=_AT, is_customer_known=True, screens=screens, window=None)

    try:
        parse_quantity(text)
    except NotAQuantity:
        assert verdict is not None
    else:
        assert verdict is None


@settings(max_examples=100, deadline=None)
@given(st.datetimes(timezones=st.timezones()))
def test_every_instant_is_before_inside_or_after(moment: datetime) -> None:
    verdict = judge_time(moment, _WINDOW)

    assert (verdict is None) == (_AT - timedelta(days=35) <= moment <= _AT + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("operator", "value", "admitted"),
    [
        (Operator.EQ, "a", True), (Operator.EQ, "b", False), (Operator.EQ, None, False),
        (Operator.NE, "a", False), (Operator.NE, "b", True), (Operator.NE, None, True),
        (Operator.IN, "a", True), (Operator.IN, "b", False), (Operator.IN, None, False),
        (Operator.EXISTS, "b", True), (Operator.EXISTS, None, False),
        (Operator.ABSENT, "b", False), (Operator.ABSENT, None, True),
    ],
)  # fmt: skip
def test_filters(operator: Operator, value: str | None, admitted: bool) -> None:
    properties = {} if value is None else {"p": value}

    assert Filter("p", operator, ("a",)).admits(properties) is admitted


def test_dimensions_are_text_in_one_order() -> None:
    dimensions = dimensions_of(("b", "a", "c"), {"a": True, "b": 2})

    assert dimensions == {"b": "2", "a": "true", "c": None}
    assert dimensions_key(dimensions) == dimensions_key({"a": "true", "b": "2", "c": None})
    assert text_of("x") == "x"


_RULES = st.builds(
    MeterRule,
    st.integers(1, 9),
    st.just("meter"),
    st.just("llm_request"),
    st.sampled_from(["sum", "count", "max", "min", "last", "unique", "time_weighted_sum"]),
    st.sampled_from(["", "tokens", "images"]),
    st.sampled_from([(), (Filter("model", Operator.EXISTS),)]),
    st.just(()),
    st.just(0),
    start_at=st.sampled_from([None, _AT - timedelta(days=2), _AT]),
    end_at=st.sampled_from([None, _AT - timedelta(days=1), _AT + timedelta(minutes=2)]),
)
_VALUES = st.one_of(
    st.sampled_from(["0", "7", "07", "", "1.5", "-1", "\u0663", "\u00b2", "9" * 24, "9" * 25]),
    st.text("0123456789.-e \u0661", max_size=26),
    st.integers(-5, 10**25),
    st.booleans(),
)
_EVENTS = st.builds(
    an_event,
    event_name=st.sampled_from(["llm_request", "image"]),
    timestamp=st.none() | st.integers(-40 * 24, 3).map(lambda hours: _AT + timedelta(hours=hours)),
    properties=st.dictionaries(st.sampled_from(["tokens", "images", "model"]), _VALUES),
)


@settings(max_examples=1000, deadline=None)
@given(event=_EVENTS, rules=st.lists(_RULES, max_size=3), window=st.sampled_from([None, _WINDOW]))
def test_nothing_speaks_against_a_plain_event(
    event: EventInput, rules: list[MeterRule], window: TimeWindow | None
) -> None:
    used_at = event.timestamp or _AT
    screens = {"llm_request": Screen.of(rules)} if rules else {}

    if is_plain(event, used_at, screens, window):
        assert (
            judge(event, used_at=used_at, is_customer_known=True, screens=screens, window=window)
            is None
        )


def test_the_usual_event_is_plain() -> None:
    assert is_plain(an_event(), _AT, {"llm_request": Screen.of([_TOKENS])}, _WINDOW)


@settings(max_examples=500, deadline=None)
@given(
    events=st.lists(_EVENTS, min_size=1, max_size=4),
    rules=st.lists(_RULES, max_size=3),
    other=st.lists(_RULES, max_size=1),
)
def test_a_batch_is_plain_if_each_of_its_events_is(
    events: list[EventInput], rules: list[MeterRule], other: list[MeterRule]
) -> None:
    moments = [event.timestamp or _AT for event in events]
    screens = {"llm_request": Screen.of(rules), "image": Screen.of(other)}

    assert are_plain(events, moments, screens, _WINDOW) == all(
        is_plain(event, moment, screens, _WINDOW)
        for event, moment in zip(events, moments, strict=True)
    )


@pytest.mark.parametrize("texts", [["1\n2", "3"], ["1", "", "2"], ["1\n"], ["\n1"]])
def test_no_text_passes_as_two_numbers(texts: list[str]) -> None:
    events = [an_event(f"e{n}", properties={"tokens": text}) for n, text in enumerate(texts)]
    screens = {"llm_request": Screen.of([_TOKENS])}

    assert not are_plain(events, [_AT] * len(events), screens, _WINDOW)


def test_the_usual_batch_is_plain() -> None:
    screens = {"llm_request": Screen.of([_TOKENS])}

    assert are_plain([an_event("e1"), an_event("e2")], [_AT, _AT], screens, _WINDOW)
