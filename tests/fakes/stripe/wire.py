"""Forms and queries as Stripe's SDK writes them: `a[b][0]=c`, brackets literal or escaped."""

import re
from typing import Any
from urllib.parse import parse_qsl

_PARTS = re.compile(r"\[([^\]]*)\]")

Tree = dict[str, Any]


def parse(text: str) -> Tree:
    """Return the nested form of a body or query; lists by index or by empty brackets."""
    tree: Tree = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, _ = name.partition("[")
        _put(tree, [head, *_PARTS.findall(name)], value)
    return {key: _lists(value) for key, value in tree.items()}


def _put(tree: Tree, path: list[str], value: str) -> None:
    *parents, last = path
    for part in parents:
        tree = tree.setdefault(part, {})
    tree[last or str(len(tree))] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
