"""Every answer that a test gets under /v1 is held against what the OpenAPI document says of it."""

import json
import re
from functools import cache, wraps
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]


def hold_answers_against_the_document(patch: pytest.MonkeyPatch) -> None:
    """Let the tests' client refuse an answer that a generated client could not read."""
    ask = Client.request

    @wraps(ask)
    def request(client: Client, **asked: Any) -> Any:
        response = ask(client, **asked)
        match = response.resolver_match if response.status_code < 400 else None
        if match is not None and match.route.startswith("v1/"):
            faults = _faults(asked["REQUEST_METHOD"].lower(), match.route, response)
            assert not faults, f"/{match.route} answers {response.status_code} otherwise: {faults}"
        return response

    patch.setattr(Client, "request", request)


def _faults(method: str, route: str, response: Any) -> list[str]:
    """List where an answer in JSON is none that its operation describes; problems are left out."""
    if response.get("Content-Type") != "application/json":
        return []
    path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
    validator = _validator(method, path, f"{response.status_code}")
    return [] if validator is None else [_told(f) for f in validator.iter_errors(response.json())]


def _told(fault: Any) -> str:
    return f"{'/'.join(map(str, fault.absolute_path))}: {fault.message[:200]}"


@cache
def _validator(method: str, path: str, status: str) -> Draft202012Validator | None:
    """Return what holds an answer against its schema; None for routes of a test's own."""
    document = _document()
    operation = document["paths"].get(path, {}).get(method)
    if operation is None:
        return None
    described = operation["responses"].get(status)
    assert described is not None, f"{method} {path} answers {status}, which nobody described"
    content = described.get("content", {}).get("application/json")
    assert content is not None, f"{method} {path} answers {status} with JSON, undescribed"
    return Draft202012Validator({**content["schema"], "components": document["components"]})


@cache
def _document() -> dict[str, Any]:
    """Make the document of the project's routes, whatever routes the test at hand has."""
    generator = SchemaGenerator(urlconf="billing_project.urls")  # type: ignore[no-untyped-call]
    content = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    made: dict[str, Any] = json.loads(OpenApiJsonRenderer2().render(content, renderer_context={}))
    return made
