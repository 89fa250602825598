"""The triggers and functions that the migrations' own text says should stand.

Read from the migrations in the order in which they run, so that no second list has to be kept:
what was defined last counts. Triggers that functions make, for partitions, are not among them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION (\w+)\s*\(.*?RETURNS .*? AS \$\$(.*?)\$\$", re.DOTALL
)
_STEP = re.compile(
    r"CREATE (?:CONSTRAINT )?TRIGGER (?P<name>\w+)\s+(?P<moment>BEFORE|AFTER)\s+(?P<events>.*?)"
    r"\s+ON\s+(?P<table>\w+)\b(?P<rest>.*?)EXECUTE FUNCTION\s+(?P<function>\w+)\s*\((?P<args>.*?)\)"
    r"|DROP TRIGGER (?:IF EXISTS )?(?P<gone>\w+)\s+ON\s+(?P<gone_of>\w+)"
    r"|DROP FUNCTION (?:IF EXISTS )?(?P<functions>\w+(?:\s*,\s*\w+)*)",
    re.DOTALL,
)
_CONSTRAINT = re.compile(
    r"ALTER TABLE (?P<table>\w+)|ADD CONSTRAINT (?P<name>\w+)\s+CHECK\s*(?=\()"
    r"|DROP CONSTRAINT (?:IF EXISTS )?(?P<gone>\w+)"
)
_WHEN = re.compile(r"\bWHEN\s*(\(.*\))", re.DOTALL)
_EVENT = re.compile(r"INSERT|UPDATE|DELETE|TRUNCATE")
# Tables that a body names; "IS DISTINCT FROM NEW" is none, nor are rows that a trigger gets, nor
# the instant of "extract(epoch FROM moment)".
_TABLES = re.compile(
    r"(?<!extract\(epoch )\b(?:FROM|JOIN|UPDATE|INSERT INTO) (?!new_rows|changed_rows)[a-z]"
)
_RUN_TEXT = "EXECUTE format"


@dataclass(frozen=True)
class Trigger:
    """What a trigger does and when, as far as anybody could weaken it.

    Attributes:
        calls: The function with its arguments: "kernel_refuse_other_changes(name,email)".
        fires: Moment, events and level: "BEFORE DELETE UPDATE ROW".
        when: Its condition without spaces and brackets; "" if it always fires.
    """

    calls: str
    fires: str
    when: str


@dataclass(frozen=True)
class Function:
    """A function's text."""

    body: str

    @property
    def names_tables(self) -> bool:
        """Tell whether it looks for tables."""
        return _RUN_TEXT in self.body or _TABLES.search(self.body) is not None


@dataclass
class Guards:
    """What should stand: triggers and conditions by table and name, functions by name.

    Conditions are those of CHECK constraints that migrations wrote as SQL, not those of models.
    """

    triggers: dict[tuple[str, str], Trigger] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    conditions: dict[tuple[str, str], str] = field(default_factory=dict)

    def needs_own_path(self) -> set[str]:
        """Return the functions that have to say themselves where their tables are.

        Not guards only: what stores an event for its caller may not be shown other tables either.
        """
        return {name for name, function in self.functions.items() if function.names_tables}


def expected_guards() -> Guards:
    """Read all migrations, oldest first."""
    guards = Guards()
    for operation in _operations():
        for text in _texts(operation):
            _read(text, guards)
    return guards


def bare(condition: str) -> str:
    """Write a trigger's condition so that it can be compared: PostgreSQL sets its own brackets."""
    return re.sub(r"[\s()]", "", condition).lower()


def _read(text: str, guards: Guards) -> None:
    for name, body in _FUNCTION.findall(text):
        guards.functions[name] = Function(body)
    outside = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    _read_constraints(outside, guards)
    for step in _STEP.finditer(outside):
        if step["name"]:
            guards.triggers[step["table"], step["name"]] = _trigger(step)
        elif step["gone"]:
            guards.triggers.pop((step["gone_of"], step["gone"]), None)
        else:
            for name in re.findall(r"\w+", step["functions"]):
                guards.functions.pop(name, None)


def _read_constraints(text: str, guards: Guards) -> None:
    table = ""
    for step in _CONSTRAINT.finditer(text):
        table = step["table"] or table
        if step["name"]:
            guards.conditions[table, step["name"]] = _in_brackets(text[step.end() :])
        elif step["gone"]:
            guards.conditions.pop((table, step["gone"]), None)


def _in_brackets(text: str) -> str:
    """Return what stands up to the bracket that closes the first one."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return text[: place + 1]
    return text


def _trigger(step: re.Match[str]) -> Trigger:
    arguments = ",".join(re.findall(r"'([^']*)'", step["args"]))
    events = " ".join(sorted(_EVENT.findall(step["events"])))
    level = "ROW" if "FOR EACH ROW" in step["rest"] else "STATEMENT"
    when = _WHEN.search(step["rest"])
    return Trigger(
        f"{step['function']}({arguments})",
        f"{step['moment']} {events} {level}",
        bare(when[1]) if when else "",
    )


def _operations() -> Iterator[Operation]:
    graph = MigrationLoader(None).graph
    done: set[tuple[str, str]] = set()
    for leaf in sorted(graph.leaf_nodes()):
        for key in graph.forwards_plan(leaf):
            if key not in done:
                done.add(key)
                yield from graph.nodes[key].operations


def _texts(operation: Operation) -> Iterator[str]:
    for part in getattr(operation, "database_operations", [operation]):
        if isinstance(part, RunSQL):
            for text in part.sql if isinstance(part.sql, list | tuple) else [part.sql]:
                yield text if isinstance(text, str) else str(text[0])
