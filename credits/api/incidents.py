"""/v1/anomalies and /v1/incidents: what was odd, what went wrong, and the evidence of it."""

from typing import Any, ClassVar

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.rest.fields import QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.api.controls import CustomerQuery
from credits.models import Anomaly, Incident, IncidentEvidence
from metering.selectors.customers import customer_named


class AnomalySerializer(serializers.Serializer[Anomaly]):
    """Odd hours of a customer; `impact_minor` at the price of a credit beyond."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
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
    detected_at = UtcDateTimeField()


class IncidentSerializer(serializers.Serializer[Incident]):
    """What went wrong, who looks after it, and how it ended."""

    id = serializers.CharField()
    title = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id", default=None)
    anomaly = serializers.CharField(source="anomaly_id", allow_null=True)
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()
    owner = serializers.CharField(source="owner.username")
    state = serializers.CharField()
    opened_at = UtcDateTimeField()
    resolution = serializers.CharField()
    resolved_at = UtcDateTimeField(allow_null=True)


class AnomaliesView(ApiView):
    """Anomalies."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=AnomalySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List anomalies, the newest first."""
        query = self.valid_query(CustomerQuery)
        rows = Anomaly.objects.select_related("customer", "owner", "pricing_unit").order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        return self.page(request, rows, AnomalySerializer)


class IncidentsView(ApiView):
    """Incidents."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=IncidentSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List incidents, the newest first."""
        query = self.valid_query(CustomerQuery)
        rows = Incident.objects.select_related("customer", "owner").order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        return self.page(request, rows, IncidentSerializer)


class EvidenceView(ApiView):
    """The newest evidence pack of an incident."""

    scopes: ClassVar[dict[str, str]] = {"GET": "admin"}

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, incident_id: int) -> HttpResponse:
        """Hand out the pack as it was made; its hash is the ETag."""
        row = IncidentEvidence.objects.filter(incident_id=incident_id).order_by("-pk").first()
        if row is None:
            raise NotFound(f"no evidence was made of incident {incident_id}")
        response = HttpResponse(bytes(row.archive), content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="evidence-{row.pk}.zip"'
        response["ETag"] = f'"{row.archive_digest}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response


urlpatterns: list[Any] = [
    path("anomalies", AnomaliesView.as_view()),
    path("incidents", IncidentsView.as_view()),
    path("incidents/<int:incident_id>/evidence", EvidenceView.as_view()),
]
