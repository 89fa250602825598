"""The ground is tested with contents of its own: what apps make of theirs stays out."""

import pytest

from billing_project.kernel import effects


@pytest.fixture(autouse=True)
def no_effects_of_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out how apps simulate their kinds."""
    monkeypatch.setattr(effects, "_effects", {})
