"""Reports that may be retries under new identifiers: shown, never merged."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.console.near_duplicates import near_duplicate_report
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.selectors.customers import customer_named


class NearDuplicatesQuery(serializers.Serializer[Any]):
    """Of whom and when; at most 31 days of one customer, or one day of all."""

    customer = ExternalIdField(required=False)
    start = UtcDateTimeField()
    end = UtcDateTimeField()


class AddedSerializer(serializers.Serializer[Any]):
    """What the reports after the first add to a meter."""

    meter = serializers.CharField()
    dimensions = serializers.DictField(child=serializers.CharField(allow_null=True))
    quantity = QuantityField()


class ClusterSerializer(serializers.Serializer[Any]):
    """Reports that say the same, each within a second of the one before."""

    customer = serializers.CharField(source="cluster.customer")
    event_name = serializers.CharField(source="cluster.event_name")
    properties = serializers.DictField(source="cluster.properties")
    first_at = UtcDateTimeField(source="cluster.first_at")
    last_at = UtcDateTimeField(source="cluster.last_at")
    count = serializers.IntegerField(source="cluster.count")
    identifiers = serializers.ListField(
        source="cluster.identifiers", child=serializers.CharField(), help_text="The first twenty."
    )
    added = AddedSerializer(source="cluster.added", many=True)
    cost = serializers.DictField(
        child=QuantityField(), help_text="Of the reports after the first, by kind of credits."
    )


class NearDuplicatesSerializer(serializers.Serializer[Any]):
    """The largest clusters, and what they add in all."""

    data = ClusterSerializer(source="clusters", many=True)  # type: ignore[assignment]
    extra = serializers.IntegerField(help_text="Reports beside the first of each cluster.")
    quantities = serializers.DictField(child=QuantityField(), help_text="By meter.")
    cost = serializers.DictField(child=QuantityField(), help_text="By kind of credits.")


class NearDuplicatesView(ApiView):
    """Near duplicates with what they cost."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[NearDuplicatesQuery], responses=NearDuplicatesSerializer)
    def get(self, request: Request) -> Response:
        """List what was said twice within a second, by the time of use; the largest first."""
        query = self.valid_query(NearDuplicatesQuery)
        customer = customer_named(query["customer"]) if "customer" in query else None
        report = near_duplicate_report(customer, query["start"], query["end"])
        return Response(NearDuplicatesSerializer(report).data)
