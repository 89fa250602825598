"""What events add to usage windows, as SQL text: one pass over a source for many meters.

Pure, as `reading_sql`, whose definition of what a meter reads this only arranges. Meters of one
event name with equal dimensions have their windows cut alike: their values stand beside each other
in one row an event and are summed by customer, workspace, hour and the dimensions' raw texts; only
the few sums are told apart by meter and given their canonical dimensions.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from metering.aggregation import MeterRule
from metering.reading_sql import HOUR_START, Query, dimension_params, dimensions_text, reads

_ABREAST = 100  # Meters together: each is three columns, and PostgreSQL has 1,600.

# OFFSET 0 keeps the planner from reading a value once for each time that it is used.
_TOGETHER = """
SELECT p.meter_id, g.customer_id, g.workspace_id, g.start_at, {dimensions} AS dimensions,
       p.quantity, p.event_count
FROM (
    SELECT customer_id, workspace_id, start_at, {names}{sums}
    FROM (
        SELECT e.customer_id, e.workspace_id, {hour} AS start_at, e.sign, {texts}{values}
        FROM {source} e WHERE e.event_name = %({key}_event)s OFFSET 0
    ) r GROUP BY customer_id, workspace_id, {names}start_at
) g CROSS JOIN LATERAL (VALUES {meters}) p (meter_id, quantity, event_count, readings)
WHERE p.readings > 0
"""


def select_additions(rules: Iterable[MeterRule], source: str) -> Query:
    """Read what to add to each window; windows that are read anew get nothing but the touch."""
    alike: dict[tuple[str, tuple[str, ...]], list[MeterRule]] = defaultdict(list)
    for rule in rules:
        alike[rule.event_name, rule.dimensions].append(rule)
    queries = [
        _added_together(group[start : start + _ABREAST], source)
        for group in alike.values()
        for start in range(0, len(group), _ABREAST)
    ]
    params = {name: value for query in queries for name, value in query.params.items()}
    return Query(" UNION ALL ".join(query.text for query in queries), params)


def _added_together(rules: Sequence[MeterRule], source: str) -> Query:
    first = rules[0]
    texts, params = dimension_params(first)
    columns = [f"d{i}" for i in range(len(texts))]
    values = []
    for i, rule in enumerate(rules):
        value = reads(rule)
        params.update(value.params)
        values.append(f"{value.text} AS v{i}")
    text = _TOGETHER.format(
        key=first.key,
        source=source,
        hour=HOUR_START,
        names="".join(f"{column}, " for column in columns),
        texts="".join(f"{text} AS {column}, " for text, column in zip(texts, columns, strict=True)),
        dimensions=dimensions_text(first, columns),
        values=", ".join(values),
        sums=", ".join(_sums(i, rule) for i, rule in enumerate(rules)),
        meters=", ".join(_meter(i, rule) for i, rule in enumerate(rules)),
    )
    return Query(text, params)


def _sums(i: int, rule: MeterRule) -> str:
    readings = f"count(v{i}) AS n{i}"
    if not rule.is_additive:
        return readings
    return (
        f"sum(sign * v{i}) AS q{i}, sum(sign) FILTER (WHERE v{i} IS NOT NULL) AS c{i}, {readings}"
    )


def _meter(i: int, rule: MeterRule) -> str:
    added = f"q{i}, c{i}" if rule.is_additive else "0.0, 0"
    return f"(%({rule.key}_id)s::bigint, {added}, n{i})"
