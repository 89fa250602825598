"""/v1/anomalies and /v1/planned_activities: what was odd, who looks after it, what is meant."""

from typing import Any, ClassVar, cast

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from billing_project.kernel.users import person_named
from credits.api.controls import CustomerQuery
from credits.models import Anomaly, AnomalyPattern, Feedback, PlannedActivity
from credits.services.anomalies import hand_over, plan_activity, say_what_it_was
from metering.selectors.customers import customer_named

_SAID = [choice for choice in Feedback.choices if choice[0]]


class AnomalySerializer(serializers.Serializer[Anomaly]):
    """Odd hours of a customer; `impact_minor` at the price of a credit beyond."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    dimension = serializers.CharField(help_text="Whose hours: customer, model, workspace or key.")
    value = serializers.CharField(help_text="Which model, workspace or key; empty of a customer.")
    pattern = serializers.CharField()
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()
    unit = serializers.CharField(source="pricing_unit.code")
    observed = QuantityField()
    expected = QuantityField()
    causes = serializers.ListField(child=serializers.DictField())
    impact_minor = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    owner = serializers.CharField(source="owner.username")
    feedback = serializers.CharField()
    feedback_note = serializers.CharField()
    feedback_by = serializers.CharField(
        source="feedback_by.username", allow_null=True, default=None
    )
    detected_at = UtcDateTimeField()


class AnomaliesQuery(CustomerQuery):
    """Whose anomalies, of which kind."""

    pattern = serializers.ChoiceField(AnomalyPattern.choices, required=False)
    is_open = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Nobody said yet what it was."
    )


class OwnerRequest(serializers.Serializer[Any]):
    """Who looks after it from now on, by name."""

    owner = serializers.CharField(max_length=150)
    reason = serializers.CharField(max_length=2_000)


class FeedbackRequest(serializers.Serializer[Any]):
    """What an anomaly turned out to be."""

    feedback = serializers.ChoiceField(_SAID)
    reason = serializers.CharField(max_length=2_000)


class PlannedActivitySerializer(serializers.Serializer[PlannedActivity]):
    """Use that will look odd and is meant."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()
    reason = serializers.CharField()
    planned_by = serializers.CharField(source="planned_by.username")
    planned_at = UtcDateTimeField()


class PlannedActivityRequest(serializers.Serializer[Any]):
    """Whose use, when, and why."""

    customer = ExternalIdField()
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()
    reason = serializers.CharField(max_length=2_000)


class AnomaliesView(ApiView):
    """Anomalies."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[AnomaliesQuery], responses=AnomalySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List anomalies, the newest first."""
        query = self.valid_query(AnomaliesQuery)
        rows = _ANOMALIES.order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        if pattern := query.get("pattern"):
            rows = rows.filter(pattern=pattern)
        if query["is_open"] is not None:
            is_open = {"feedback": Feedback.NONE}
            rows = rows.filter(**is_open) if query["is_open"] else rows.exclude(**is_open)
        return self.page(request, rows, AnomalySerializer)


class AnomalyView(ApiView):
    """One anomaly."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=AnomalySerializer)
    def get(self, request: Request, anomaly_id: int) -> Response:
        """Answer the anomaly as it stands."""
        return Response(AnomalySerializer(_anomaly(anomaly_id)).data)


class AnomalyOwnerView(ApiView):
    """Who looks after an anomaly."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=OwnerRequest, responses=AnomalySerializer)
    def post(self, request: Request, anomaly_id: int) -> Response:
        """Hand it over to an active person."""
        sent = self.valid(OwnerRequest, request.data)
        hand_over(
            anomaly=_anomaly(anomaly_id), owner=person_named(sent["owner"], "owner"),
            reason=sent["reason"], by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(AnomalySerializer(_anomaly(anomaly_id)).data)


class AnomalyFeedbackView(ApiView):
    """What an anomaly was."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=FeedbackRequest, responses=AnomalySerializer)
    def post(self, request: Request, anomaly_id: int) -> Response:
        """Keep what it turned out to be; once."""
        sent = self.valid(FeedbackRequest, request.data)
        say_what_it_was(
            anomaly=_anomaly(anomaly_id), feedback=sent["feedback"], note=sent["reason"],
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(AnomalySerializer(_anomaly(anomaly_id)).data)


class PlannedActivitiesView(ApiView):
    """Use that will look odd: no anomaly is raised of it."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(parameters=[CustomerQuery], responses=PlannedActivitySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List what was planned, the newest first."""
        query = self.valid_query(CustomerQuery)
        rows = PlannedActivity.objects.select_related("customer", "planned_by").order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        return self.page(request, rows, PlannedActivitySerializer)

    @extend_schema(request=PlannedActivityRequest, responses={201: PlannedActivitySerializer})
    def post(self, request: Request) -> Response:
        """Plan an activity."""
        sent = self.valid(PlannedActivityRequest, request.data)
        row = plan_activity(
            customer=customer_named(sent["customer"]), start_at=sent["start_at"],
            end_at=sent["end_at"], reason=sent["reason"], by=cast(User, request.user),
            at=clock.now(),
        )  # fmt: skip
        return Response(PlannedActivitySerializer(row).data, status=status.HTTP_201_CREATED)


_ANOMALIES = Anomaly.objects.select_related("customer", "owner", "pricing_unit", "feedback_by")


def _anomaly(anomaly_id: int) -> Anomaly:
    found = _ANOMALIES.filter(pk=anomaly_id).first()
    if found is None:
        raise NotFound(f"there is no anomaly {anomaly_id}")
    return found


urlpatterns: list[Any] = [
    path("anomalies", AnomaliesView.as_view()),
    path("anomalies/<int:anomaly_id>", AnomalyView.as_view()),
    path("anomalies/<int:anomaly_id>/owner", AnomalyOwnerView.as_view()),
    path("anomalies/<int:anomaly_id>/feedback", AnomalyFeedbackView.as_view()),
    path("planned_activities", PlannedActivitiesView.as_view()),
]
