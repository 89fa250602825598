"""The OpenAPI document is valid 3.1 and leaves out no route."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.api.endpoints import endpoints


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Client().get("/v1/openapi.json").content)
    return content


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate_schema(document)  # type: ignore[no-untyped-call]


def test_every_endpoint_is_described_with_its_scope_and_its_problems(
    document: dict[str, Any],
) -> None:
    for endpoint in endpoints():
        path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.route)
        operation = document["paths"][path][endpoint.method.lower()]
        assert operation["x-required-scope"] == endpoint.view.scopes[endpoint.method]
        assert operation["security"] == [{"ApiKey": []}]
        assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_writes_say_whether_they_need_an_idempotency_key(document: dict[str, Any]) -> None:
    for endpoint in endpoints():
        path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.route)
        operation = document["paths"][path][endpoint.method.lower()]
        named = {p["name"]: p.get("required", False) for p in operation.get("parameters", [])}
        takes = endpoint.method in {"POST", "PATCH"} and endpoint.view.takes_idempotency_key
        assert ("Idempotency-Key" in named) == takes, str(endpoint)
        if takes:
            assert named["Idempotency-Key"] == endpoint.view.requires_idempotency_key


def test_the_generator_has_nothing_to_warn_about() -> None:
    GENERATOR_STATS.reset()

    SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]

    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]

    assert len(ids) == len(set(ids))


def test_the_docs_load_nothing_from_outside() -> None:
    page = Client().get("/v1/docs").content.decode()

    assert "/static/drf_spectacular_sidecar/" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_lists_are_written_as_pages(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/customers"]["get"]

    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["data", "next_cursor"]
    assert {"cursor", "limit"} <= {parameter["name"] for parameter in operation["parameters"]}


def test_each_operation_has_its_first_sentence_as_summary(document: dict[str, Any]) -> None:
    replay = document["paths"]["/v1/quarantine/replay"]["post"]

    assert replay["summary"] == "Store what has become billable"
    assert replay["description"].startswith("Store what has become billable.")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
