"""Exports of metering, streamed: what came in and was not billed."""

from dataclasses import replace
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from billing_project.kernel.errors import Invalid
from billing_project.kernel.exporting import FORMATS, pieces
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.api.quarantine import ChoiceSerializer, chosen_by
from metering.models.event import QuarantineState
from metering.selectors.unmatched import COLUMNS, unmatched_rows


class UnmatchedQuery(ChoiceSerializer):
    """Which reports: those received in [start, end), in any state unless one is named."""

    start = UtcDateTimeField()
    end = UtcDateTimeField()
    state = serializers.ChoiceField(QuarantineState.choices, required=False)
    format = serializers.ChoiceField([(name, name) for name in FORMATS], default="csv")


class UnmatchedExportView(ApiView):
    """The unmatched-event report."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(
        operation_id="exports_unmatched",
        parameters=[UnmatchedQuery],
        responses={(200, kind): OpenApiTypes.BINARY for kind in FORMATS.values()},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream every report that was kept in quarantine, and what became of it."""
        query: dict[str, Any] = self.valid_query(UnmatchedQuery)
        start, end, kind = query["start"], query["end"], query["format"]
        if end <= start:
            raise Invalid("start comes before end")
        chosen = replace(chosen_by(query), received_from=start, received_until=end)
        rows = chosen.rows()
        if "state" in query:
            rows = rows.filter(state=query["state"])
        body = pieces(kind, COLUMNS, unmatched_rows(rows))
        response = StreamingHttpResponse(body, content_type=FORMATS[kind])
        response["Content-Disposition"] = f'attachment; filename="unmatched.{kind}"'
        return response
