"""Kinds of policy changes: what they are called, who must approve, what an approval does.

An app registers its kinds beside their contents. A kind that says nothing about itself is a rule
that finance approves.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from billing_project.kernel.models import ApprovalFunction, PolicyChange

_FINANCE = (ApprovalFunction.FINANCE,)
_RULE = (
    "From its effective date on, this version governs. It cannot be edited; a later version"
    " replaces it."
)


@dataclass(frozen=True)
class Kind:
    """One kind of change.

    Attributes:
        code: Its stored name ("rate_card").
        label: Its name for people ("Rate card").
        needs: Functions that approve, each by another person.
        is_rule: Whether versions govern over time; otherwise it is one act ("credit_note").
        parts: What of the content lists whom a version is about ("customers"): one about others
            takes nobody's place. "": each version is about all.
        about: What of the content says what a version is about: one that says otherwise takes no
            place of it.
        consequence: What its approval does, as sentences for the approver.
        obstacle: Says what keeps every version from being approved any more; "" where nothing does.
    """

    code: str
    label: str
    needs: tuple[ApprovalFunction, ...] = _FINANCE
    is_rule: bool = True
    parts: str = ""
    about: tuple[str, ...] = ()
    consequence: str = _RULE
    obstacle: Callable[[], str] | None = None


_kinds: dict[str, Kind] = {}


def register_kind(kind: Kind) -> Kind:
    """Say what a kind is; said again, the last word stands."""
    _kinds[kind.code] = kind
    return kind


def kind_of(code: str) -> Kind:
    """Return a kind by its stored name."""
    return _kinds.get(code) or Kind(code, code.replace("_", " ").capitalize())


def is_about_the_same(change: PolicyChange, other: PolicyChange) -> bool:
    """Tell whether two versions of one rule are about the same, or about anybody in common."""
    kind = kind_of(change.kind)
    if not kind.parts and not kind.about:
        return True
    one, another = json.loads(change.content), json.loads(other.content)
    if any(one.get(name) != another.get(name) for name in kind.about):
        return False
    return not kind.parts or not set(one.get(kind.parts, [])).isdisjoint(
        another.get(kind.parts, [])
    )


def acts() -> frozenset[str]:
    """Return the kinds that are no rules: one approval, one act."""
    return frozenset(code for code, kind in _kinds.items() if not kind.is_rule)
