"""How a meter reads one event's properties: which events count, and under which dimensions.

The same rules as text for PostgreSQL, which reads millions of them, are in `reading_sql`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from metering.rounding import EXACT, Rounding

Value = str | int | Decimal | bool
Properties = Mapping[str, Value]
LEVEL = "time_weighted_sum"
# Hours of these add up to their period; of the rest a period has one quantity, not a sum.
ADDITIVE = frozenset({"sum", "count", LEVEL})
_ADDED_BY_EVENT = frozenset({"sum", "count"})
_OF_QUANTITIES = frozenset({"sum", "max", "min", "last", LEVEL})


class Operator(StrEnum):
    """How a filter compares a property's text."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    EXISTS = "exists"
    ABSENT = "absent"

    @property
    def takes_value(self) -> bool:
        """Tell whether the property's text is compared with something."""
        return self not in {Operator.EXISTS, Operator.ABSENT}


@dataclass(frozen=True)
class Filter:
    """One condition on one property; an event without the property is only `ne` and `absent`."""

    property: str
    operator: Operator
    values: tuple[str, ...] = ()  # One for eq and ne, none for exists and absent.

    def admits(self, properties: Properties) -> bool:
        """Tell whether an event with these properties passes."""
        value = properties.get(self.property)
        if not self.operator.takes_value:
            return (value is None) == (self.operator == Operator.ABSENT)
        is_among = value is not None and text_of(value) in self.values
        return is_among is not (self.operator == Operator.NE)


@dataclass(frozen=True)
class MeterRule:
    """One version of a meter as a plain value: what it needs to read events.

    A meter has one rule per version. Each reads the events of its own span, so that every event
    and every window of a meter has exactly one.
    """

    id: int
    code: str
    event_name: str
    aggregation: str
    value_property: str  # Empty for count, and where every event has the same value.
    filters: tuple[Filter, ...]
    dimensions: tuple[str, ...]  # Ascending.
    first_event_id: int
    version: int = 1
    start_at: datetime | None = None  # Whole UTC hours, half-open; None: unbounded.
    end_at: datetime | None = None
    constant: Decimal | None = None  # What each event counts, in place of a property.
    rounding: Rounding = EXACT

    @property
    def key(self) -> str:
        """A short name that no other version of any meter has; letters and digits."""
        return f"m{self.id}v{self.version}"

    @property
    def is_additive(self) -> bool:
        """Events of sums and counts add up; max, min, last and unique are read anew."""
        return self.aggregation in _ADDED_BY_EVENT

    @property
    def is_level(self) -> bool:
        """A time-weighted sum: events set a level, which goes on until the next one."""
        return self.aggregation == LEVEL

    @property
    def needs_quantity(self) -> bool:
        """Unique takes any value, count takes none."""
        return self.aggregation in _OF_QUANTITIES

    def governs(self, at: datetime) -> bool:
        """Tell whether events of that instant are read by this version."""
        begins = self.start_at is None or self.start_at <= at
        return begins and (self.end_at is None or at < self.end_at)

    def admits(self, properties: Properties) -> bool:
        """Tell whether all filters pass."""
        return all(rule.admits(properties) for rule in self.filters)

    def quantity_of(self, properties: Properties) -> Decimal | None:
        """Read the quantity of an event that is admitted, rounded as declared.

        Not for unique, which reads text. A level is rounded by its window, not here.
        """
        if self.aggregation == "count":
            return Decimal(1)
        value = self.constant
        if value is None:
            try:
                value = parse_quantity(properties.get(self.value_property))
            except NotAQuantity:
                return None
        return value if self.is_level else self.rounding.apply(value)


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
