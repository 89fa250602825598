"""What import-linter cannot see: string references, lengths, floats, signals."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.utils.module_loading import import_string

from billing_project.console.tasks import SCHEDULES

ROOT = Path(settings.BASE_DIR)
FLOORS = ["kernel", "metering", "credits", "invoicing", "revrec"]  # Ground first.
PACKAGES = ["billing_project", "metering", "credits", "invoicing", "revrec"]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 50
FRAMEWORK = ("django", "rest_framework", "psycopg", "simple_history", "django_q", "unfold")
# Files that need a clock's seconds or a server's timeouts, never a quantity or an amount.
FLOATS_ALLOWED = {
    "billing_project/console/tasks.py",
    "billing_project/console/serving.py",
    "billing_project/console/processes.py",
    "billing_project/console/demo/story.py",
    "billing_project/console/demo/report.py",
    "billing_project/kernel/backoffice/long_lists.py",
    "billing_project/kernel/embedded/server.py",
    "billing_project/settings.py",
}
# Files that round credits, quantities by their meter's rule, or figures that are only shown.
ROUNDS_NO_AMOUNT = {
    "credits/rollover.py",
    "revrec/pack_verifier/usage.py",
    "billing_project/console/scenarios.py",
    "billing_project/console/home.py",
    "billing_project/console/burn_table_page.py",
}


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in _sources():
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def _own_models() -> list[type[models.Model]]:
    return [m for label in FLOORS for m in apps.get_app_config(label).get_models()]


def test_foreign_keys_point_down_the_house() -> None:
    upward = [
        f"{model._meta.label}.{field.name}"
        for model in _own_models()
        for field in model._meta.concrete_fields
        if (target := field.related_model) is not None
        and target._meta.app_label in FLOORS
        and FLOORS.index(target._meta.app_label) > FLOORS.index(model._meta.app_label)
    ]

    assert upward == []


def test_foreign_keys_protect_what_they_refer_to() -> None:
    unprotected = [
        f"{model._meta.label}.{field.name}"
        for model in _own_models()
        if not model.__name__.startswith("Historical")
        for field in model._meta.concrete_fields
        if field.remote_field is not None and field.remote_field.on_delete is not models.PROTECT
    ]

    assert unprotected == []


def test_every_table_is_named_in_the_singular_without_its_app() -> None:
    named_by_django = [
        model._meta.db_table
        for model in _own_models()
        if model._meta.db_table == f"{model._meta.app_label}_{model._meta.model_name}"
        and model._meta.label != "kernel.User"
    ]

    assert named_by_django == []


def test_scheduled_functions_exist() -> None:
    for _, name, _ in SCHEDULES:
        assert callable(import_string(name))


def test_files_fit_their_room() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in _sources()
        if (count := len(path.read_text().splitlines())) > MAX_FILE_LINES
    ]

    assert long == []


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]

    assert long == []


def test_no_float_comes_near_a_quantity() -> None:
    floats = [
        f"{name}:{node.lineno}"
        for name, tree in _trees()
        if name not in FLOATS_ALLOWED
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
    ]

    assert floats == []


def test_amounts_are_rounded_in_one_place() -> None:
    rounding = {
        name
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "decimal"
        if any(alias.name.startswith("ROUND_") for alias in node.names)
    }

    assert rounding - ROUNDS_NO_AMOUNT == {"billing_project/kernel/money.py"}
    assert rounding >= ROUNDS_NO_AMOUNT


def test_rules_know_neither_framework_nor_clock() -> None:
    impure = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in _rule_modules()
        for module in _imports(ast.parse(path.read_text()))
        if module.split(".")[0] in FRAMEWORK or module.endswith((".models", ".clock"))
    ]

    assert impure == []


def _rule_modules() -> Iterator[Path]:
    """Yield the single files of an app that are neither doors nor Django's own names."""
    doors = {
        "__init__",
        "admin",
        "api",
        "apps",
        "tasks",
        "checks",
        "sold_checks",
        "selectors",
        "documents",
        "urls",
    }
    for app in PACKAGES[1:]:
        for path in sorted((ROOT / app).glob("*.py")):
            if path.stem not in doors:
                yield path
    yield from (
        ROOT / "billing_project/kernel" / f"{n}.py"
        for n in ("money", "quantity", "period", "locales")
    )


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_nothing_flows_through_signals_or_utils() -> None:
    names = [
        str(path.relative_to(ROOT))
        for path in _sources()
        if path.stem in {"utils", "helpers", "signals"}
    ]
    receivers = [
        f"{name} imports {module}"
        for name, tree in _trees()
        for module in _imports(tree)
        if module.startswith(("django.db.models.signals", "django.dispatch"))
    ]

    assert names + receivers == []


def test_only_the_edges_read_the_clock() -> None:
    edges = (
        *("/admin", "/api", "/tasks.py", "checks.py"),
        *("/commands/", "/console/", "/rest/", "clock.py"),
    )
    readers = [
        f"{name}:{node.lineno}"
        for name, tree in _trees()
        if not any(edge in f"/{name}" for edge in edges)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
    ]

    assert readers == []


@pytest.mark.django_db
def test_every_guard_fires_always() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND t.tgenabled <> 'A'"
        )
        sleepy = cursor.fetchall()

    assert sleepy == []


def test_only_the_gateway_imports_stripe() -> None:
    importers = {
        name
        for name, tree in _trees()
        for module in _imports(tree)
        if module.split(".")[0] == "stripe"
    }

    assert importers == {"invoicing/stripe_sync/gateway.py"}
