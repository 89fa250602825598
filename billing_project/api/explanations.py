"""Why is this not billed? Over HTTP, for any identifier, stored or not."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.console.explaining import explain, explain_all
from billing_project.kernel import clock
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.selectors.explaining import Explanation, Progress, Step

_TEXT = {"type": "string"}
_STEP_TEXTS = ("step", "progress", "text", "owner")
STEP: dict[str, Any] = {
    "type": "object",
    "required": [*_STEP_TEXTS, "at"],
    "properties": {
        **dict.fromkeys(_STEP_TEXTS, _TEXT),
        "progress": {"type": "string", "enum": [str(one) for one in Progress]},
        "owner": {**_TEXT, "description": "The role or person that answers for the step."},
        "at": {"type": ["string", "null"], "format": "date-time"},
    },
}
_EXPLANATION_TEXTS = ("customer", "identifier", "state", "summary")
_EXPLANATIONS: dict[str, Any] = {
    "type": "object",
    "required": ["data", "next_cursor"],
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [*_EXPLANATION_TEXTS, "explanation"],
                "properties": {
                    **dict.fromkeys(_EXPLANATION_TEXTS, _TEXT),
                    "explanation": {"type": "array", "items": STEP},
                },
            },
        },
        "next_cursor": {"type": ["string", "null"]},
    },
}


class ExplanationQuery(serializers.Serializer[Any]):
    """Which event; of every customer who sent one under this identifier if none is named."""

    identifier = serializers.RegexField(r"^[A-Za-z0-9._:/-]{1,128}\Z")
    customer = ExternalIdField(required=False)


class EventExplanationsView(ApiView):
    """What became of an event, in words: also of one that was quarantined or refused."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(
        operation_id="event_explanations",
        parameters=[ExplanationQuery],
        responses={200: _EXPLANATIONS},
        tags=["lineage"],
    )
    def get(self, request: Request) -> Response:
        """Answer each step with who answers for it, and one sentence that sums them up."""
        query = self.valid_query(ExplanationQuery)
        identifier, at = query["identifier"], clock.now()
        if "customer" in query:
            found = [explain(query["customer"], identifier, at)]
        else:
            found = explain_all(identifier, at)
        return Response({"data": [explanation_of(one) for one in found], "next_cursor": None})


def explanation_of(told: Explanation) -> dict[str, Any]:
    """Write an explanation as JSON."""
    return {
        "customer": told.customer,
        "identifier": told.identifier,
        "state": told.state,
        "summary": told.summary,
        "explanation": [_step(step) for step in told.steps],
    }


def _step(step: Step) -> dict[str, str | None]:
    return {
        "step": step.name,
        "progress": step.progress,
        "text": step.text,
        "owner": step.owner,
        "at": UtcDateTimeField().to_representation(step.at) if step.at else None,
    }
