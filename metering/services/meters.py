"""Make meters. A meter never changes what it counts: another rule is another meter."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from metering.aggregation import Operator, text_of
from metering.models import Aggregation, Meter

_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_EVENT_NAME = re.compile(r"[ -~]{1,100}", re.ASCII)
_MAX_DIMENSIONS, _MAX_FILTERS, _MAX_AMONG = 10, 10, 100


@transaction.atomic
def create_meter(
    *,
    code: str,
    name: str,
    event_name: str,
    aggregation: str,
    unit: str,
    by: User,
    at: datetime,
    value_property: str = "",
    filters: Sequence[Mapping[str, Any]] = (),
    dimensions: Sequence[str] = (),
) -> Meter:
    """Make a meter; it counts every event of its name that is stored from then on.

    Events stored before stay uncounted by it (the order of event ids decides, not a clock); what
    waits in quarantine is stored by its replay and so is counted.

    Args:
        filters: {"property", "operator": eq|ne|in, "value"}; all must pass.
        dimensions: Properties that split the quantity; their text makes the window.

    Raises:
        Invalid: a rule that no event could be read by.
        Conflict: the code has another rule. The same rule again returns the same row.
    """
    rule: dict[str, Any] = {
        "name": name,
        "event_name": event_name,
        "aggregation": aggregation,
        "value_property": value_property,
        "filters": [_checked_filter(one) for one in filters],
        "dimensions": sorted(set(dimensions)),
        "unit": unit,
    }
    _check(code, rule)
    _lock_code(code)
    existing = Meter.objects.filter(code=code).first()
    if existing is not None:
        if {field: getattr(existing, field) for field in rule} == rule:
            return existing
        raise Conflict(f"meter {code} exists with another rule")
    meter = Meter.objects.create(code=code, first_event_id=_next_event_id(), created_at=at, **rule)
    audit.record(by=by, at=at, action="create_meter", subject=meter, code=code)
    return meter


def _check(code: str, rule: Mapping[str, Any]) -> None:
    if not _CODE.fullmatch(code):
        raise Invalid("code is 1 to 64 of a-z 0-9 _ . - and starts with a letter or digit")
    if not _EVENT_NAME.fullmatch(rule["event_name"]):
        raise Invalid("event_name is 1 to 100 printable ASCII characters")
    if rule["aggregation"] not in Aggregation.values:
        raise Invalid(f"aggregation is one of {', '.join(Aggregation.values)}")
    is_count = rule["aggregation"] == Aggregation.COUNT
    if is_count == bool(rule["value_property"]):
        raise Invalid("value_property is what sum, max, last and unique read, and count does not")
    if len(rule["dimensions"]) > _MAX_DIMENSIONS or len(rule["filters"]) > _MAX_FILTERS:
        raise Invalid(f"at most {_MAX_DIMENSIONS} dimensions and {_MAX_FILTERS} filters")
    _check_text("name", rule["name"], 200)
    _check_text("unit", rule["unit"], 40)
    for name in (*rule["dimensions"], *filter(None, [rule["value_property"]])):
        _check_text("a property's name", name, 100)


def _checked_filter(one: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a filter to the form that is stored: values as text."""
    if set(one) != {"property", "operator", "value"} or one["operator"] not in set(Operator):
        raise Invalid("a filter is {property, operator: eq, ne or in, value}")
    _check_text("a filter's property", one["property"], 100)
    is_list = one["operator"] == Operator.IN
    values = one["value"] if is_list else [one["value"]]
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= _MAX_AMONG:
        raise Invalid(f"a filter's operator in takes a list of 1 to {_MAX_AMONG} values")
    texts = [_value_text(value) for value in values]
    return {**one, "operator": str(one["operator"]), "value": texts if is_list else texts[0]}


def _value_text(value: object) -> str:
    if not isinstance(value, str | int | bool):
        raise Invalid("a filter's value is text, a whole number or a boolean")
    text = text_of(value)
    if len(text) > 1000 or "\x00" in text:
        raise Invalid("a filter's value has at most 1,000 characters")
    return text


def _check_text(field: str, text: object, limit: int) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > limit or "\x00" in text:
        raise Invalid(f"{field} has 1 to {limit} characters")


def _lock_code(code: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('meter:' || %s, 0))", [code])


def _next_event_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('meter_event_id_seq')")
        event_id: int = cursor.fetchone()[0]
    return event_id
