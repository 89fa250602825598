"""A kind says who approves it; one that says nothing is a rule of finance's."""

import pytest

from billing_project.kernel import kinds
from billing_project.kernel.kinds import Kind, acts, kind_of, register_kind
from billing_project.kernel.models import ApprovalFunction


def test_a_kind_that_says_nothing_is_a_rule_that_finance_approves() -> None:
    kind = kind_of("number_plates")

    assert (kind.label, kind.is_rule) == ("Number plates", True)
    assert kind.needs == (ApprovalFunction.FINANCE,)


def test_acts_are_told_from_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_kinds", {})
    register_kind(Kind("refund", "Refund", is_rule=False, consequence="It is paid back."))
    register_kind(Kind("limit", "Limit"))

    assert acts() == {"refund"}
    assert kind_of("refund").consequence == "It is paid back."
