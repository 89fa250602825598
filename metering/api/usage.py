"""Quantities out, with how far behind they are."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    QuantityField,
    TimeZoneField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from metering.selectors.customers import customer_named
from metering.selectors.lag import aggregation_state
from metering.selectors.meters import meter_called
from metering.selectors.usage import Granularity, usage


class UsageQuerySerializer(serializers.Serializer[Any]):
    """What to add up."""

    customer = ExternalIdField()
    meter = serializers.CharField(max_length=64)
    start = UtcDateTimeField()
    end = UtcDateTimeField()
    granularity = serializers.ChoiceField(
        [(str(one), str(one)) for one in Granularity], default=str(Granularity.DAY)
    )
    time_zone = TimeZoneField(
        required=False, help_text="Whose days and months; the customer's own if not given."
    )
    group_by = serializers.CharField(
        default="", allow_blank=True, help_text="Dimensions and workspace, with commas between."
    )


class UsageRowSerializer(serializers.Serializer[Any]):
    """The quantity of one span and one combination of labels."""

    start_at = UtcDateTimeField()
    group = serializers.DictField(child=serializers.CharField(allow_null=True))
    quantity = QuantityField()


class UsageSerializer(serializers.Serializer[Any]):
    """Quantities of one meter, and what they include."""

    meter = serializers.CharField()
    unit = serializers.CharField()
    granularity = serializers.CharField()
    time_zone = serializers.CharField(help_text="In which days and months begin.")
    data = UsageRowSerializer(many=True)  # type: ignore[assignment]
    as_of = UtcDateTimeField(help_text="Everything stored before is included.")
    lag_seconds = QuantityField()


class UsageView(ApiView):
    """A customer's usage of one meter."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[UsageQuerySerializer], responses=UsageSerializer)
    def get(self, request: Request) -> Response:
        """Return quantities by hour (UTC), or by day or month of the customer's time zone."""
        query = self.valid_query(UsageQuerySerializer)
        meter = meter_called(query["meter"])
        granularity = Granularity(query["granularity"])
        labels = [label for label in query["group_by"].split(",") if label]
        state = aggregation_state(clock.now())  # Before the read: what it promises is in there.
        customer = customer_named(query["customer"])
        zone = query.get("time_zone", customer.time_zone)
        rows = usage(
            customer,
            meter,
            query["start"],
            query["end"],
            granularity,
            labels,
            zone,
        )
        return Response(
            UsageSerializer(
                {
                    "meter": meter.code,
                    "unit": meter.unit,
                    "granularity": granularity,
                    "time_zone": zone,
                    "data": rows,
                    "as_of": state.as_of,
                    "lag_seconds": state.lag_seconds,
                }
            ).data
        )
