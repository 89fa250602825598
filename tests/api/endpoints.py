"""Every endpoint under /v1, read off the URLconf, so that a new one is tested at once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver

from billing_project.kernel.rest.views import ApiView

_SAMPLES = {"int": "999999999", "str": "nothing", "path": "nothing", "slug": "nothing"}
_PARAMETER = re.compile(r"<(?:(\w+):)?\w+>")


@dataclass(frozen=True)
class Endpoint:
    """One method of one route."""

    method: str
    route: str  # "v1/customers/<str:external_id>"
    view: type[ApiView]

    @property
    def url(self) -> str:
        """An address of the route that names nothing that exists."""
        path = _PARAMETER.sub(lambda match: _SAMPLES.get(match[1] or "str", "nothing"), self.route)
        return f"/{path}"

    def __str__(self) -> str:
        return f"{self.method} /{self.route}"


def endpoints() -> list[Endpoint]:
    """List every method of every ApiView, by route."""
    found = {
        Endpoint(method.upper(), route, view)
        for route, view in _views(get_resolver().url_patterns, "")
        for method in ("get", "post", "patch", "delete")
        if hasattr(view, method)
    }
    return sorted(found, key=lambda endpoint: (endpoint.route, endpoint.method))


def _views(
    patterns: list[URLPattern | URLResolver], prefix: str
) -> Iterator[tuple[str, type[ApiView]]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if route in {"", "v1/"}:
                yield from _views(pattern.url_patterns, route)
            continue
        view = getattr(pattern.callback, "view_class", getattr(pattern.callback, "cls", None))
        if view is not None and issubclass(view, ApiView):
            yield route, view
