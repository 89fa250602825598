"""/v1/event_costs: what one event costs us, by kind of token, and by which price of a supplier."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.console.event_costs import cost_of_report
from billing_project.console.lineage import report_event
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.selectors.event_costs import EventCost


class EventCostQuery(serializers.Serializer[Any]):
    """Which event, by its sender's names."""

    customer = ExternalIdField()
    identifier = serializers.CharField(max_length=128)


class PartCostSerializer(serializers.Serializer[Any]):
    """What one meter counts of it; without a price where no supplier told one."""

    meter = serializers.CharField()
    model = serializers.CharField()
    token_kind = serializers.CharField(source="kind")
    quantity = QuantityField()
    unit_price = QuantityField(allow_null=True)
    cost = QuantityField(allow_null=True, help_text="Major units, exact.")
    supplier = serializers.CharField()
    price_from = UtcDateTimeField(allow_null=True)
    sheet = serializers.IntegerField(allow_null=True, help_text="The approved sheet of the price.")


class EventCostSerializer(serializers.Serializer[EventCost]):
    """The supplier's cost of an event; of a cancelled or quarantined one there is none."""

    currency = serializers.CharField()
    amount = QuantityField(help_text="Major units, exact; what has no price is not in it.")
    is_whole = serializers.BooleanField()
    parts = PartCostSerializer(many=True)


class EventCostsView(ApiView):
    """The cost of one event."""

    scopes = {"GET": "invoices:read"}

    @extend_schema(
        operation_id="event_cost", parameters=[EventCostQuery], responses=EventCostSerializer
    )
    def get(self, request: Request) -> Response:
        """Answer what counts of an event, and what that costs us."""
        query = self.valid_query(EventCostQuery)
        report = report_event(query["customer"], query["identifier"])
        return Response(EventCostSerializer(cost_of_report(report)).data)
