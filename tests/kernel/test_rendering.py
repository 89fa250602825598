"""Answers keep every digit and say what the framework's own renderer says."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ErrorDetail
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import Serializer
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from billing_project.kernel.rest.rendering import ExactJSONRenderer
from metering.judging import Status


@pytest.mark.parametrize("digits", ["12030951836.090365", "0.1", "1.50", "123456789012345678.12"])
def test_a_number_keeps_its_digits(digits: str) -> None:
    assert ExactJSONRenderer().render({"n": Decimal(digits)}) == f'{{"n":{digits}}}'.encode()


@pytest.mark.parametrize(
    "content",
    [
        None,
        {"text": "Zürich \U0001f600", "none": None, "yes": True, "list": [1, "2", []]},
        {"lazy": gettext_lazy("Yes"), "safe": mark_safe("<b>"), "code": ErrorDetail("x", "y")},
        {"status": Status.ACCEPTED, "at": datetime(2026, 11, 20, 12, 0, tzinfo=UTC)},
        ReturnDict({"a": ReturnList([{"b": 1}], serializer=Serializer())}, serializer=Serializer()),
    ],
)
def test_everything_else_reads_as_before(content: object) -> None:
    ours, theirs = ExactJSONRenderer().render(content), JSONRenderer().render(content)

    assert ours == theirs == b"" or json.loads(ours) == json.loads(theirs)
