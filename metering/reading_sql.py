"""Meters as SQL text: the one definition of which event counts in which usage window.

Pure: texts and parameters in, texts and parameters out. A *source* is a relation `e` with the
columns of `used_meter_event` and, where rows are added up, `sign` (1 adds, -1 takes away, 0 only
touches the window). Nothing that a sender or an admin wrote becomes part of a text.

A rule is one version of a meter and reads the events of its own span; the texts of all versions
stand beside each other, and their parameters carry the version in their names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.canonical import canonical_json
from metering.aggregation import MeterRule, Operator

Param = int | str | Decimal | datetime | list[int] | list[str] | list[datetime] | None
Params = dict[str, Param]

HOUR_START = "date_bin('1 hour', e.\"timestamp\", TIMESTAMPTZ '2000-01-01 00:00+00')"
# Only what the aggregator took counts: a waiting batch is added whole, later.
IS_AGGREGATED = "e.batch_id NOT IN (SELECT id FROM event_batch WHERE aggregated_at IS NULL)"

# OFFSET 0 keeps the planner from reading the value twice: to test it, and to add it up.
_ROWS = """
SELECT * FROM (
    SELECT {meter}::bigint AS meter_id, e.customer_id, e.workspace_id, {hour} AS start_at,
           {dimensions} AS dimensions, {value} AS value, e.sign, e."timestamp", e.identifier
    FROM {source} e WHERE {condition} OFFSET 0
) r WHERE value IS NOT NULL
"""
_TOTALS = {
    "sum": "sum(value)",
    "count": "sum(value)",
    "max": "max(value)",
    "min": "min(value)",
    "last": '(array_agg(value ORDER BY "timestamp" DESC, identifier COLLATE "C" DESC))[1]',
    "unique": "count(DISTINCT value)",
}


@dataclass(frozen=True)
class Query:
    """A text with named parameters."""

    text: str
    params: Params


def total_of(rule: MeterRule) -> str:
    """Return the aggregate over `value`, `timestamp` and `identifier` that the meter asks for."""
    return _TOTALS[rule.aggregation]


def select_rows(rule: MeterRule, source: str) -> Query:
    """Read one row (window key, value, sign) from every event of the source that counts.

    An event that sets a level has its row in the hour in which it sets it.
    """
    condition = asks(rule)
    names, name_params = dimension_params(rule)
    text = _ROWS.format(
        meter=_name(rule, "id"),
        hour=HOUR_START,
        dimensions=dimensions_text(rule, names),
        value=value_of(rule),
        source=source,
        condition=condition.text,
    )
    return Query(text, {**condition.params, **name_params})


def select_all_rows(rules: Iterable[MeterRule], source: str) -> Query:
    """Read the rows of several rules; no event has two in one meter."""
    queries = [select_rows(rule, source) for rule in rules]
    params = {name: value for query in queries for name, value in query.params.items()}
    return Query(" UNION ALL ".join(query.text for query in queries), params)


def asks(rule: MeterRule) -> Query:
    """Return the condition under which the meter looks for its value in event `e`."""
    span = governs(rule, 'e."timestamp"')
    params: Params = {
        f"{rule.key}_id": rule.id,
        f"{rule.key}_event": rule.event_name,
        f"{rule.key}_first": rule.first_event_id,
        f"{rule.key}_value": rule.value_property,
        f"{rule.key}_decimals": rule.rounding.decimals,
        f"{rule.key}_mode": str(rule.rounding.mode),
        **span.params,
    }
    if rule.constant is not None:
        params[f"{rule.key}_constant"] = rule.constant
    parts = [
        f"e.event_name = {_name(rule, 'event')}",
        f"e.id >= {_name(rule, 'first')}",
    ]
    if span.params:
        parts.append(span.text)
    for i, one in enumerate(rule.filters):
        params[f"{rule.key}_f{i}"], params[f"{rule.key}_v{i}"] = one.property, list(one.values)
        parts.append(_passes(rule, i, one.operator))
    return Query(" AND ".join(parts), params)


def reads(rule: MeterRule) -> Query:
    """Return the value that the meter reads from event `e`, NULL if the event does not count."""
    condition = asks(rule)
    return Query(f"CASE WHEN {condition.text} THEN {value_of(rule)} END", condition.params)


def counts(rule: MeterRule) -> Query:
    """Return the condition under which event `e` counts for the meter."""
    condition = asks(rule)
    return Query(f"{condition.text} AND {value_of(rule)} IS NOT NULL", condition.params)


def falls_into(rule: MeterRule) -> Query:
    """Return the condition under which event `e` counts for the meter in the key of window `w`.

    The hour is left to the caller, who may look at one window or at a period.
    """
    condition = counts(rule)
    params = dict(condition.params)
    parts = [
        condition.text,
        "e.customer_id = w.customer_id",
        "e.workspace_id IS NOT DISTINCT FROM w.workspace_id",
        IS_AGGREGATED,
    ]
    for i, name in enumerate(rule.dimensions):
        params[f"{rule.key}_n{i}"] = name
        key = _name(rule, f"n{i}")
        parts.append(f"(e.properties ->> {key}) IS NOT DISTINCT FROM (w.dimensions ->> {key})")
    return Query(" AND ".join(parts), params)


def governs(rule: MeterRule, instant: str) -> Query:
    """Return the condition under which an instant (a column) lies in the rule's span."""
    parts, params = ["true"], dict[str, Param]()
    if rule.start_at is not None:
        params[f"{rule.key}_start"] = rule.start_at
        parts.append(f"{instant} >= {_name(rule, 'start')}")
    if rule.end_at is not None:
        params[f"{rule.key}_end"] = rule.end_at
        parts.append(f"{instant} < {_name(rule, 'end')}")
    return Query(" AND ".join(parts[1:] or parts), params)


def value_of(rule: MeterRule) -> str:
    """Return the value that the meter reads from event `e`, NULL if there is none."""
    if rule.aggregation == "count":
        return "1::numeric"
    if rule.constant is not None:
        value = f"{_name(rule, 'constant')}::numeric"
    else:
        text = f"(e.properties ->> {_name(rule, 'value')})"
        if not rule.needs_quantity:
            return text
        value = f"meter_quantity{text}"
    if rule.is_level or rule.rounding.keeps_all:
        return value
    return f"meter_round({value}, 1, {_name(rule, 'decimals')}, {_name(rule, 'mode')})"


def labels_of(rule: MeterRule) -> Query:
    """Return the dimensions of event `e` as jsonb: those that the rule splits by, as text."""
    parts, params = [], dict[str, Param]()
    for i, name in enumerate(rule.dimensions):
        params[f"{rule.key}_n{i}"] = name
        key = _name(rule, f"n{i}")
        parts.append(f"{key}::text, e.properties ->> {key}")
    return Query(f"jsonb_build_object({', '.join(parts)})", params)


def _passes(rule: MeterRule, number: int, operator: Operator) -> str:
    text = f"e.properties ->> {_name(rule, f'f{number}')}"
    if not operator.takes_value:
        return f"({text}) IS {'NULL' if operator == Operator.ABSENT else 'NOT NULL'}"
    among = f"coalesce({text} = ANY ({_name(rule, f'v{number}')}::text[]), false)"
    return f"NOT {among}" if operator == Operator.NE else among


def dimension_params(rule: MeterRule) -> tuple[list[str], Params]:
    """Return the texts that read the dimensions of event `e`, and the parameters that name them."""
    params: Params = {}
    for i, name in enumerate(rule.dimensions):
        params[f"{rule.key}_n{i}"] = name
        params[f"{rule.key}_k{i}"] = f"{',' if i else '{'}{canonical_json(name)}:"
    texts = [f"e.properties ->> {_name(rule, f'n{i}')}" for i in range(len(rule.dimensions))]
    return texts, params


def dimensions_text(rule: MeterRule, values: Sequence[str]) -> str:
    """Build the canonical JSON of the dimensions, the text that `dimensions_key` hashes.

    Args:
        values: What each dimension is read from.
    """
    parts = [
        f"{_name(rule, f'k{i}')} || coalesce(to_json({value})::text, 'null')"
        for i, value in enumerate(values)
    ]
    return " || ".join([*parts, "'}'"]) if parts else "'{}'"


def _name(rule: MeterRule, part: str) -> str:
    return f"%({rule.key}_{part})s"
