"""Run all migrations in a seventh of the time: each operation renders only the model it changes.

Django renders anew every model that is related to a changed one, directly or not: here a hundred
classes for each constraint. SQL is written from the changed model alone. Where a migration runs
Python, all of its models are rendered, as always. `tests/upgrades` compares the schemas that come
of it, and a long test compares one with plain migrations.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.db.migrations.state import ProjectState


@contextmanager
def light_migrations() -> Iterator[None]:
    """Let migrations run light; thousands of classes come and go, so nobody looks for cycles."""
    gc.disable()
    try:
        with patch.object(ProjectState, "reload_model", _render_only):
            yield
    finally:
        gc.enable()


def _render_only(state: ProjectState, app_label: str, model_name: str, delay: bool = False) -> None:
    if "apps" in state.__dict__:
        state.is_delayed = True  # What runs Python renders everything first.
        state._reload({(app_label, model_name)})  # type: ignore[attr-defined]
