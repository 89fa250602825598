"""Corrections of single events."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.models.event import AdjustmentType
from metering.selectors.customers import customer_named
from metering.services.adjust import amend_event, cancel_event


class AdjustmentSerializer(serializers.Serializer[Any]):
    """Cancel an event, or let it count with other properties."""

    id = serializers.IntegerField(read_only=True)
    customer = ExternalIdField(source="customer.external_id")
    identifier = serializers.RegexField(r"^[A-Za-z0-9._:/-]{1,128}\Z")
    type = serializers.ChoiceField([AdjustmentType.CANCEL.value, AdjustmentType.AMEND.value])
    properties = serializers.DictField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=500)
    created_at = UtcDateTimeField(read_only=True)


class EventAdjustmentsView(ApiView):
    """Adjustments: append-only, the newest of an event governs."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=AdjustmentSerializer, responses={201: AdjustmentSerializer})
    def post(self, request: Request) -> Response:
        """Correct one event; the same correction again changes nothing."""
        values = self.valid(AdjustmentSerializer, request.data)
        named = {
            "customer": customer_named(values["customer"]["external_id"]),
            "identifier": values["identifier"],
            "reason": values["reason"],
            "by": cast(User, request.user),
            "at": clock.now(),
        }
        properties = values["properties"]
        if (values["type"] == AdjustmentType.AMEND) is (properties is None):
            raise Invalid("properties belong to amend, and only to amend")
        if properties is None:
            adjustment = cancel_event(**named)
        else:
            adjustment = amend_event(**named, properties=properties)
        return Response(AdjustmentSerializer(adjustment).data, status=201)
