"""The back office's pages of usage: owned by engineering."""

from metering.admin import (
    archive,
    customers,
    events,
    imports,
    lag,
    late,
    meters,
    quarantine,
    quarantine_groups,
    repairs,
    windows,
)

__all__ = [
    "archive",
    "customers",
    "events",
    "imports",
    "lag",
    "late",
    "meters",
    "quarantine",
    "quarantine_groups",
    "repairs",
    "windows",
]
