"""How a meter reads one event's properties: which events count, and under which dimensions.

The same rules as text for PostgreSQL, which reads millions of them, are in `reading_sql`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.canonical import canonical_json, sha256_hex

Value = str | int | Decimal | bool
Properties = Mapping[str, Value]
ADDITIVE = frozenset({"sum", "count"})  # What adds up; the rest is one quantity of its period.


class Operator(StrEnum):
    """How a filter compares a property's text."""

    EQ = "eq"
    NE = "ne"
    IN = "in"


@dataclass(frozen=True)
class Filter:
    """One condition on one property; an event without the property is only `ne`."""

    property: str
    operator: Operator
    values: tuple[str, ...]  # One for eq and ne.

    def admits(self, properties: Properties) -> bool:
        """Tell whether an event with these properties passes."""
        value = properties.get(self.property)
        is_among = value is not None and text_of(value) in self.values
        return is_among is not (self.operator == Operator.NE)


@dataclass(frozen=True)
class MeterRule:
    """A meter as a plain value: what it needs to read events."""

    id: int
    code: str
    event_name: str
    aggregation: str
    value_property: str  # Empty for count only.
    filters: tuple[Filter, ...]
    dimensions: tuple[str, ...]  # Ascending.
    first_event_id: int

    @property
    def is_additive(self) -> bool:
        """Sums and counts add up; max, last and unique are read anew from the events."""
        return self.aggregation in ADDITIVE

    @property
    def needs_quantity(self) -> bool:
        """Unique takes any value, count takes none."""
        return self.aggregation in {"sum", "max", "last"}

    def admits(self, properties: Properties) -> bool:
        """Tell whether all filters pass."""
        return all(rule.admits(properties) for rule in self.filters)


def text_of(value: Value) -> str:
    """Write a property's value as PostgreSQL's `->>` does: true, 1200, 0.50."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def dimensions_of(names: Sequence[str], properties: Properties) -> dict[str, str | None]:
    """Return the named properties as text; one that was not sent is None."""
    return {
        name: None if properties.get(name) is None else text_of(properties[name]) for name in names
    }


def dimensions_key(dimensions: Mapping[str, str | None]) -> str:
    """Return the sha256 of the canonical dimensions, in hex."""
    return sha256_hex(canonical_json(dict(dimensions)))
