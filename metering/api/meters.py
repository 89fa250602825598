"""Meters."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.aggregation import Operator
from metering.models import Aggregation, Meter
from metering.services.meters import create_meter


class FilterSerializer(serializers.Serializer[Any]):
    """A condition on one property."""

    property = serializers.CharField(max_length=100)
    operator = serializers.ChoiceField([(str(one), str(one)) for one in Operator])
    value = serializers.JSONField(help_text="Text, whole number or boolean; a list of them for in.")


class MeterSerializer(serializers.Serializer[Any]):
    """How one quantity is read from the events of one name."""

    code = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=200, required=False)
    event_name = serializers.CharField(max_length=100)
    aggregation = serializers.ChoiceField(Aggregation.choices)
    value_property = serializers.CharField(max_length=100, default="", allow_blank=True)
    filters = FilterSerializer(many=True, default=list)
    dimensions = serializers.ListField(
        child=serializers.CharField(max_length=100), default=list, max_length=10
    )
    unit = serializers.CharField(max_length=40)
    created_at = UtcDateTimeField(read_only=True)


class MetersView(ApiView):
    """All meters."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=MeterSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List meters."""
        return self.page(request, Meter.objects.all(), MeterSerializer)

    @extend_schema(request=MeterSerializer, responses={201: MeterSerializer})
    def post(self, request: Request) -> Response:
        """Make a meter; it counts the events that are stored from now on."""
        values = {**self.valid(MeterSerializer, request.data)}
        values.setdefault("name", values["code"])
        meter = create_meter(**values, by=cast(User, request.user), at=clock.now())
        return Response(MeterSerializer(meter).data, status=201)
