"""What was kept and waits for somebody to map it."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, IntegerField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.models import QuarantinedEvent
from metering.models.event import QuarantineReason, QuarantineState
from metering.services.quarantine import replay_quarantine


class QuarantinedSerializer(serializers.Serializer[Any]):
    """An event that was received and kept."""

    id = serializers.IntegerField()
    customer = serializers.CharField(source="customer_external_id")
    workspace = serializers.CharField(source="workspace_external_id")
    event_name = serializers.CharField()
    identifier = serializers.CharField()
    timestamp = UtcDateTimeField()
    properties = serializers.DictField()
    reason = serializers.ChoiceField(QuarantineReason.choices)
    detail = serializers.CharField()
    state = serializers.ChoiceField(QuarantineState.choices)
    received_at = UtcDateTimeField()
    resolved_at = UtcDateTimeField(allow_null=True)
    resolution = serializers.CharField()


class QuarantineQuerySerializer(serializers.Serializer[Any]):
    """Which quarantined events to list."""

    customer = ExternalIdField(required=False)
    reason = serializers.ChoiceField(QuarantineReason.choices, required=False)
    state = serializers.ChoiceField(QuarantineState.choices, default=QuarantineState.OPEN)


class ReplaySerializer(serializers.Serializer[Any]):
    """Which open rows to try again; all of them if nothing is given."""

    customer = ExternalIdField(required=False)
    reason = serializers.ChoiceField(QuarantineReason.choices, required=False)
    ids = serializers.ListField(
        child=IntegerField(min_value=1, max_value=2**63 - 1),
        required=False,
        max_length=1000,
    )


class ReplayResultSerializer(serializers.Serializer[Any]):
    """How many open rows were tried, and what became of them."""

    tried = serializers.IntegerField()
    replayed = serializers.IntegerField()
    still_open = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    superseded = serializers.IntegerField()


class QuarantineView(ApiView):
    """Quarantined events."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(
        parameters=[QuarantineQuerySerializer], responses=QuarantinedSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List quarantined events; open ones unless another state is asked for."""
        query = self.valid_query(QuarantineQuerySerializer)
        rows = QuarantinedEvent.objects.filter(state=query["state"])
        if "customer" in query:
            rows = rows.filter(customer_external_id=query["customer"])
        if "reason" in query:
            rows = rows.filter(reason=query["reason"])
        return self.page(request, rows, QuarantinedSerializer)


class QuarantineReplayView(ApiView):
    """Try quarantined events again."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ReplaySerializer, responses=ReplayResultSerializer)
    def post(self, request: Request) -> Response:
        """Store what has become billable.

        Without customer, reason or ids it tries every open row; `tried` says how many those were.
        """
        values = self.valid(ReplaySerializer, request.data)
        result = replay_quarantine(
            by=cast(User, request.user),
            at=clock.now(),
            customer_external_id=values.get("customer"),
            reason=values.get("reason"),
            ids=values.get("ids"),
        )
        return Response(ReplayResultSerializer(result).data)
