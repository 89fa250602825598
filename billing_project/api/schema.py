"""OpenAPI 3.1 of everything under /v1: the key, the scope and the problems of each operation."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import OpenApiParameter

from billing_project.kernel.rest.auth import ADMIN
from billing_project.kernel.rest.errors import PROBLEM_TYPE
from billing_project.kernel.rest.views import ApiView

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; `code` is stable, `detail` is for people.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {
            "type": "string",
            "description": "With a 5xx: finds it in the server's log.",
        },
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "code", "detail"],
                "properties": {
                    "path": {"type": "string", "description": "JSON path of the field."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_PROBLEM_ANSWER = {
    "description": "Any failure.",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_BLANK = {"type": "string", "maxLength": 0}
_PAGE_PARAMETERS = (
    {"in": "query", "name": "cursor", "schema": {"type": "string"}},
    {
        "in": "query",
        "name": "limit",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
    },
)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer abk_...`."""

    target_class = "billing_project.kernel.rest.auth.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Describe the key as a bearer token."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "abk_<id>_<secret>"}


class ApiSchema(AutoSchema):
    """One operation: what ApiView does for every one of them is written down here once."""

    def get_override_parameters(self) -> list[Any]:
        """Add the Idempotency-Key of writes."""
        if not isinstance(self.view, ApiView) or self.method not in {"POST", "PATCH"}:
            return []
        if not self.view.takes_idempotency_key:
            return []
        return [
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                required=self.view.requires_idempotency_key,
                description="Same key and body: the stored answer. Other body: 409.",
            )
        ]

    def get_summary(self) -> str:
        """Name the operation by the first sentence of its description."""
        first, _, _ = self.get_description().partition("\n\n")
        sentence, _, _ = " ".join(first.split()).partition(". ")
        return sentence.removesuffix(".")

    def get_extensions(self) -> dict[str, str]:
        """Name the scope that the key needs."""
        scopes: dict[str, str] = getattr(self.view, "scopes", {})
        return {"x-required-scope": scopes.get(self.method, ADMIN)}


def allow_blank_once(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """Let a blank e-mail address or country fit: drf-spectacular says one of, where two do."""
    _let_any_fit(result)
    return result


def _let_any_fit(node: object) -> None:
    if isinstance(node, list):
        for part in node:
            _let_any_fit(part)
    elif isinstance(node, dict):
        if _BLANK in node.get("oneOf", ()):
            node["anyOf"] = node.pop("oneOf")
        for part in node.values():
            _let_any_fit(part)


def add_problems(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """Let operations answer problems, and lists pages (drf-spectacular's postprocessing hook)."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    for operations in result["paths"].values():
        for operation in operations.values():
            _page(operation)
            operation["responses"]["default"] = _PROBLEM_ANSWER
    return result


def _page(operation: dict[str, Any]) -> None:
    """Write a list as what it is on the wire: a page, with the parameters that turn it."""
    answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    if answer.get("schema", {}).get("type") != "array":
        return
    answer["schema"] = {
        "type": "object",
        "required": ["data", "next_cursor"],
        "properties": {"data": answer["schema"], "next_cursor": {"type": ["string", "null"]}},
    }
    known = operation.setdefault("parameters", [])
    names = {parameter["name"] for parameter in known}
    known += [parameter for parameter in _PAGE_PARAMETERS if parameter["name"] not in names]


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """Answer the document; it is the same for everybody."""
    return HttpResponse(_document(), content_type="application/json")


@cache
def _document() -> bytes:
    content = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    document: bytes = OpenApiJsonRenderer2().render(content, renderer_context={})
    return document
