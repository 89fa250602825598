"""/v1/incidents: what went wrong, what was done about it, how it ended, and the evidence of it."""

from typing import Any, ClassVar, cast

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from billing_project.kernel.users import person_named
from credits.api.controls import CustomerQuery
from credits.models import Anomaly, Incident, IncidentAction, IncidentEvidence, IncidentState
from credits.services.evidence import make_evidence
from credits.services.incidents import Scope, act_on_incident, open_incident, resolve_incident
from metering.selectors.customers import customer_named


class IncidentSerializer(serializers.Serializer[Incident]):
    """What went wrong, who looks after it, and how it ended."""

    id = serializers.CharField()
    title = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)
    anomaly = serializers.CharField(source="anomaly_id", allow_null=True)
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()
    owner = serializers.CharField(source="owner.username")
    state = serializers.CharField()
    opened_at = UtcDateTimeField()
    resolution = serializers.CharField()
    resolved_at = UtcDateTimeField(allow_null=True)


class ActionSerializer(serializers.Serializer[IncidentAction]):
    """One thing that was done."""

    what = serializers.CharField()
    by = serializers.CharField(source="by.username")
    at = UtcDateTimeField()


class WholeIncidentSerializer(IncidentSerializer):
    """An incident with what was done about it, the first first."""

    actions = ActionSerializer(many=True)


class IncidentsQuery(CustomerQuery):
    """Whose incidents, in which state."""

    state = serializers.ChoiceField(IncidentState.choices, required=False)


class IncidentRequest(serializers.Serializer[Any]):
    """What went wrong: of an anomaly, whose customer and hours it then has, or a span by hand."""

    title = serializers.CharField(max_length=200)
    owner = serializers.CharField(max_length=150, help_text="An active person, by name.")
    anomaly = serializers.IntegerField(required=False, allow_null=True, default=None)
    customer = ExternalIdField(required=False, allow_null=True, default=None)
    start_at = UtcDateTimeField(required=False, allow_null=True, default=None)
    end_at = UtcDateTimeField(required=False, allow_null=True, default=None)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """Want a span by hand exactly where no anomaly has one."""
        by_hand = [name for name in ("customer", "start_at", "end_at") if data[name] is not None]
        if data["anomaly"] is not None and by_hand:
            raise serializers.ValidationError({by_hand[0]: "an anomaly has its own"})
        if data["anomaly"] is None:
            for name in ("start_at", "end_at"):
                if data[name] is None:
                    raise serializers.ValidationError({name: "is needed without an anomaly"})
        return data


class ActionRequest(serializers.Serializer[Any]):
    """What was done; it may contain the incident, or hand it over."""

    what = serializers.CharField(max_length=4_000)
    is_contained = serializers.BooleanField(default=False)
    owner = serializers.CharField(max_length=150, required=False, allow_null=True, default=None)


class ResolutionRequest(serializers.Serializer[Any]):
    """How it ended."""

    resolution = serializers.CharField(max_length=4_000)


class EvidenceSerializer(serializers.Serializer[IncidentEvidence]):
    """An evidence pack: what is in it, and the hashes of both documents."""

    id = serializers.CharField()
    incident = serializers.CharField(source="incident_id")
    files = serializers.ListField(child=serializers.DictField())
    pdf_sha256 = serializers.CharField(source="pdf_digest")
    archive_sha256 = serializers.CharField(source="archive_digest")
    made_by = serializers.CharField(source="made_by.username")
    made_at = UtcDateTimeField()


class IncidentsView(ApiView):
    """Incidents."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(parameters=[IncidentsQuery], responses=IncidentSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List incidents, the newest first."""
        query = self.valid_query(IncidentsQuery)
        rows = _INCIDENTS.order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        if state := query.get("state"):
            rows = rows.filter(state=state)
        return self.page(request, rows, IncidentSerializer)

    @extend_schema(request=IncidentRequest, responses={201: WholeIncidentSerializer})
    def post(self, request: Request) -> Response:
        """Open an incident."""
        sent = self.valid(IncidentRequest, request.data)
        anomaly = _anomaly(sent["anomaly"]) if sent["anomaly"] is not None else None
        if anomaly is not None:
            scope = Scope(anomaly.customer, anomaly.start_at, anomaly.end_at)
        else:
            customer = customer_named(sent["customer"]) if sent["customer"] else None
            scope = Scope(customer, sent["start_at"], sent["end_at"])
        user, key = cast(User, request.user), request.META["HTTP_IDEMPOTENCY_KEY"]
        row = open_incident(
            title=sent["title"], scope=scope, owner=person_named(sent["owner"], "owner"),
            key=f"api:{user.pk}:{sha256_hex(key)}", by=user, at=clock.now(), anomaly=anomaly,
        )  # fmt: skip
        return Response(_whole(row.pk), status=status.HTTP_201_CREATED)


class IncidentView(ApiView):
    """One incident."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=WholeIncidentSerializer)
    def get(self, request: Request, incident_id: int) -> Response:
        """Answer the incident with what was done about it."""
        return Response(_whole(incident_id))


class IncidentActionsView(ApiView):
    """What was done about an incident."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ActionRequest, responses={201: WholeIncidentSerializer})
    def post(self, request: Request, incident_id: int) -> Response:
        """Write down an action; it may contain the incident, or hand it over."""
        sent = self.valid(ActionRequest, request.data)
        act_on_incident(
            incident=_incident(incident_id), what=sent["what"], by=cast(User, request.user),
            at=clock.now(), is_contained=sent["is_contained"],
            owner=person_named(sent["owner"], "owner") if sent["owner"] else None,
        )  # fmt: skip
        return Response(_whole(incident_id), status=status.HTTP_201_CREATED)


class IncidentResolutionView(ApiView):
    """The end of an incident."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ResolutionRequest, responses=WholeIncidentSerializer)
    def post(self, request: Request, incident_id: int) -> Response:
        """Say how it ended; once."""
        sent = self.valid(ResolutionRequest, request.data)
        resolve_incident(
            incident=_incident(incident_id), resolution=sent["resolution"],
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(_whole(incident_id))


class EvidenceView(ApiView):
    """The evidence packs of an incident."""

    scopes: ClassVar[dict[str, str]] = {"GET": "admin", "POST": "admin"}
    reads_one_state = True

    @extend_schema(request=None, responses={201: EvidenceSerializer})
    def post(self, request: Request, incident_id: int) -> Response:
        """Make a pack of the incident as it is now, from one state of the database."""
        if request.data:
            raise Invalid("a pack takes no fields")
        row = make_evidence(
            incident=_incident(incident_id), by=cast(User, request.user), at=clock.now()
        )
        return Response(EvidenceSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, incident_id: int) -> HttpResponse:
        """Hand out the newest pack as it was made; its hash is the ETag."""
        row = IncidentEvidence.objects.filter(incident_id=incident_id).order_by("-pk").first()
        if row is None:
            raise NotFound(f"no evidence was made of incident {incident_id}")
        response = HttpResponse(bytes(row.archive), content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="evidence-{row.pk}.zip"'
        response["ETag"] = f'"{row.archive_digest}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response


_INCIDENTS = Incident.objects.select_related("customer", "owner")


def _incident(incident_id: int) -> Incident:
    found = _INCIDENTS.prefetch_related("actions__by").filter(pk=incident_id).first()
    if found is None:
        raise NotFound(f"there is no incident {incident_id}")
    return found


def _whole(incident_id: int) -> Any:
    return WholeIncidentSerializer(_incident(incident_id)).data


def _anomaly(anomaly_id: int) -> Anomaly:
    found = Anomaly.objects.select_related("customer").filter(pk=anomaly_id).first()
    if found is None:
        raise Invalid(f"there is no anomaly {anomaly_id}", field="anomaly")
    return found


urlpatterns: list[Any] = [
    path("incidents", IncidentsView.as_view()),
    path("incidents/<int:incident_id>", IncidentView.as_view()),
    path("incidents/<int:incident_id>/actions", IncidentActionsView.as_view()),
    path("incidents/<int:incident_id>/resolution", IncidentResolutionView.as_view()),
    path("incidents/<int:incident_id>/evidence", EvidenceView.as_view()),
]
