"""Each kind says its own effect; a kind that nobody registered has none."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing_project.kernel import effects
from billing_project.kernel.effects import Effect, EffectRow, effect_of, simulate
from billing_project.kernel.models import PolicyChange


def test_a_row_says_how_much_more_the_proposed_version_makes() -> None:
    row = EffectRow("Overage", 7, Decimal("10.5"), Decimal("8"), "credit")

    assert row.difference == Decimal("-2.5")


def test_the_registered_function_of_the_kind_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_effects", {})
    seen = []

    @effect_of("plan")
    def of_plan(change: PolicyChange) -> Effect:
        seen.append(change.effective_at)
        return Effect("Today's subscriptions", (), customers=3, grants=0)

    at = datetime(2026, 3, 1, tzinfo=UTC)

    assert simulate(PolicyChange(kind="rate_card", effective_at=at)) is None
    effect = simulate(PolicyChange(kind="plan", effective_at=at))
    assert effect is not None
    assert (effect.customers, seen) == (3, [at])
