"""/v1/checkpoints: what the controls did week by week, and who put their name under it."""

from datetime import date
from typing import Any, ClassVar

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.models import ControlCheckpoint

_WEEK = OpenApiParameter("start_on", OpenApiTypes.DATE, OpenApiParameter.PATH)


class CheckpointSerializer(serializers.Serializer[ControlCheckpoint]):
    """A week as it was prepared, and who signed it; null until somebody did."""

    start_on = serializers.DateField()
    end_on = serializers.DateField()
    document_sha256 = serializers.CharField()
    prepared_by = serializers.CharField(source="prepared_by.username")
    prepared_at = UtcDateTimeField()
    signed_by = serializers.CharField(source="signed_by.username", allow_null=True, default=None)
    signed_at = UtcDateTimeField(allow_null=True)
    note = serializers.CharField()


class WholeCheckpointSerializer(CheckpointSerializer):
    """A week with what its signer sees: the document that the hash is of."""

    document = serializers.DictField()


class CheckpointsQuery(serializers.Serializer[Any]):
    """Which weeks."""

    is_signed = serializers.BooleanField(required=False, allow_null=True, default=None)


class CheckpointsView(ApiView):
    """Weekly checkpoints."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[CheckpointsQuery], responses=CheckpointSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List weeks, the newest first."""
        is_signed = self.valid_query(CheckpointsQuery)["is_signed"]
        rows = _CHECKPOINTS.order_by("-pk")
        if is_signed is not None:
            rows = rows.filter(signed_at__isnull=not is_signed)
        return self.page(request, rows, CheckpointSerializer)


class CheckpointView(ApiView):
    """One week."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[_WEEK], responses=WholeCheckpointSerializer)
    def get(self, request: Request, start_on: str) -> Response:
        """Answer what was prepared, and who signed it: a person, in the back office."""
        return Response(WholeCheckpointSerializer(_checkpoint(start_on)).data)


_CHECKPOINTS = ControlCheckpoint.objects.select_related("prepared_by", "signed_by")


def _checkpoint(start_on: str) -> ControlCheckpoint:
    try:
        day = date.fromisoformat(start_on)
    except ValueError as error:
        raise Invalid("a week is named by its Monday, as 2026-11-02", field="start_on") from error
    found = _CHECKPOINTS.filter(start_on=day).first()
    if found is None:
        raise NotFound(f"no checkpoint was prepared of the week from {day}")
    return found


urlpatterns = [
    path("checkpoints", CheckpointsView.as_view()),
    path("checkpoints/<str:start_on>", CheckpointView.as_view()),
]
