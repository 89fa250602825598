"""Meters: made once, never changed, refused where no event could be read."""

from datetime import datetime
from typing import Any

import pytest

from billing_project.kernel.errors import Conflict, Invalid
from metering.models import Meter
from tests.metering.builders import a_meter

pytestmark = pytest.mark.django_db


def test_the_same_rule_returns_the_same_meter(at: datetime) -> None:
    assert a_meter(at) == a_meter(at)
    assert Meter.objects.count() == 1


def test_another_rule_is_another_meter(at: datetime) -> None:
    a_meter(at)

    with pytest.raises(Conflict):
        a_meter(at, dimensions=())


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "Bad Code"}, {"code": ""}, {"event_name": "é"}, {"event_name": ""},
        {"aggregation": "median"}, {"value_property": ""}, {"value_property": "x" * 101},
        {"aggregation": "count", "value_property": "x"}, {"unit": ""}, {"name": "\x00"},
        {"dimensions": ("",)}, {"dimensions": tuple(str(i) for i in range(11))},
        {"filters": [{"property": "a", "operator": "like", "value": "x"}]},
        {"filters": [{"property": "a", "operator": "in", "value": "x"}]},
        {"filters": [{"property": "a", "operator": "in", "value": []}]},
        {"filters": [{"property": "a", "operator": "eq", "value": ["x"]}]},
        {"filters": [{"property": "a", "operator": "eq", "value": None}]},
        {"filters": [{"property": "", "operator": "eq", "value": "x"}]},
        {"filters": [{"property": "a", "operator": "eq", "value": "x", "more": 1}]},
    ],
)  # fmt: skip
def test_a_senseless_rule_is_refused(at: datetime, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        a_meter(at, **changes)
