"""Meters as plain rules."""

from collections.abc import Iterable

from metering.aggregation import Filter, MeterRule, Operator
from metering.models import Meter


def meter_rules(event_names: Iterable[str] | None = None) -> list[MeterRule]:
    """Return all meters, or those that read the given event names, by id."""
    meters = Meter.objects.order_by("id")
    if event_names is not None:
        meters = meters.filter(event_name__in=set(event_names))
    return [rule_of(meter) for meter in meters]


def rules_by_event_name(event_names: Iterable[str]) -> dict[str, list[MeterRule]]:
    """Return the meters of each event name that has any, in one query."""
    rules: dict[str, list[MeterRule]] = {}
    for rule in meter_rules(event_names):
        rules.setdefault(rule.event_name, []).append(rule)
    return rules


def rule_of(meter: Meter) -> MeterRule:
    """Return a meter as a plain value."""
    return MeterRule(
        id=meter.pk,
        code=meter.code,
        event_name=meter.event_name,
        aggregation=meter.aggregation,
        value_property=meter.value_property,
        filters=tuple(_filter_of(one) for one in meter.filters),
        dimensions=tuple(sorted(meter.dimensions)),
        first_event_id=meter.first_event_id,
    )


def _filter_of(content: dict[str, str | list[str]]) -> Filter:
    value = content["value"]
    values = [value] if isinstance(value, str) else value
    return Filter(str(content["property"]), Operator(str(content["operator"])), tuple(values))
