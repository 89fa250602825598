"""What differs between two versions of a rule, line by line; no database, no clock.

Two contents (parsed JSON) go in, rows of (path, before, after) come out, in the order of the newer
version, then what was dropped. Items of a list are matched by what they are called, not by where
they stand, so that a reordered list of rates shows no difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_STEP = " / "  # How paths read on the page.


@dataclass(frozen=True)
class Difference:
    """One value of a rule, before and after; None where it did not exist."""

    path: str
    before: str | None
    after: str | None

    @property
    def is_changed(self) -> bool:
        """Whether the two versions differ here."""
        return self.before != self.after

    @property
    def change_percent(self) -> str:
        """How much a number grew, in per cent with one decimal ("+25.0"); empty for words."""
        before, after = _number(self.before), _number(self.after)
        if not before or after is None or before == after:
            return ""
        return f"{(after - before) / abs(before) * 100:+.1f}"


def differences(before: object, after: object) -> list[Difference]:
    """Compare two contents value by value.

    Args:
        before: The version that governs, or None if there is none.
        after: The proposed version.

    Returns:
        Every value of the newer version, then those that it drops.
    """
    old = dict(_flat(before, "")) if before is not None else {}
    new = dict(_flat(after, ""))
    rows = [Difference(path, old.get(path), value) for path, value in new.items()]
    return rows + [Difference(path, old[path], None) for path in old if path not in new]


def _flat(content: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path}{_STEP}{key}" if path else str(key))
    elif isinstance(content, list) and any(isinstance(item, dict) for item in content):
        yield from _items(content, path)
    elif isinstance(content, list):
        yield path, ", ".join(str(item) for item in content) or "none"
    else:
        yield path, "none" if content in (None, "") else str(content)


def _items(content: list[object], path: str) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for item in content:
        name = " ".join(_words(item)) or "item"
        seen[name] = seen.get(name, 0) + 1
        label = name if seen[name] == 1 else f"{name} #{seen[name]}"
        values = dict(_numbers(item))
        for key, value in values.items() or [("", "present")]:
            yield _STEP.join(part for part in (path, label, key) if part), str(value)


def _words(item: object) -> Iterator[str]:
    """Yield what an item is called: its texts that are no numbers."""
    if isinstance(item, dict):
        for key in sorted(item):
            yield from _words(item[key])
    elif isinstance(item, list):
        for part in item:
            yield from _words(part)
    elif isinstance(item, str) and item and _number(item) is None:
        yield item


def _numbers(item: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of an item that are numbers or flags, with their paths."""
    if isinstance(item, dict):
        for key, value in item.items():
            yield from _numbers(value, f"{path}{_STEP}{key}" if path else str(key))
    elif isinstance(item, list):
        for index, part in enumerate(item):
            yield from _numbers(part, f"{path}{_STEP}{index + 1}" if path else str(index + 1))
    elif item is not None and (not isinstance(item, str) or _number(item) is not None):
        yield path, str(item)


def _number(text: str | None) -> Decimal | None:
    try:
        return Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
