"""/v1/alerts and /v1/alert_rules: what was raised, and what raises it."""

from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.api.controls import CustomerQuery
from credits.models import Alert, AlertKind, AlertRule, RuleWindow, Watched
from credits.selectors.alert_contents import owner_named
from credits.selectors.units import pricing_unit_named
from credits.services.alert_rules import RuleTerms, propose_alert_rule
from credits.services.controls import acknowledge_alert
from metering.selectors.customers import customer_named
from metering.selectors.meters import meter_called


class AlertSerializer(serializers.Serializer[Alert]):
    """One warning, who looks after it, and who saw it."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)
    kind = serializers.ChoiceField(choices=AlertKind.choices)
    title = serializers.CharField()
    facts = serializers.DictField()
    rule = serializers.CharField(source="rule.code", allow_null=True, default=None)
    owner = serializers.CharField(source="owner.username", allow_null=True, default=None)
    raised_at = UtcDateTimeField()
    ended_at = UtcDateTimeField(allow_null=True, help_text="What it said of a state was over.")
    acknowledged_at = UtcDateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField(
        source="acknowledged_by.username", allow_null=True, default=None
    )
    note = serializers.CharField()


class AcknowledgeInput(serializers.Serializer[Any]):
    """What comes of it, and who looks after it; whoever's key it is where nobody is named."""

    note = serializers.CharField(max_length=1_000)
    owner = serializers.CharField(max_length=150, required=False)


class RuleInput(serializers.Serializer[Any]):
    """What is watched, when it speaks, who looks after it, and why it is wanted."""

    code = serializers.CharField(max_length=64)
    watched = serializers.ChoiceField(choices=Watched.choices)
    threshold = QuantityField(positive=True)
    owner = serializers.CharField(max_length=150)
    customer = ExternalIdField(required=False, allow_null=True, default=None)
    by_customer = serializers.BooleanField(
        default=False,
        help_text="Of unrated, quarantined and lag: of each customer, not of all together.",
    )
    unit = serializers.CharField(max_length=32, required=False, allow_null=True, default=None)
    meter = serializers.CharField(max_length=64, required=False, allow_null=True, default=None)
    window = serializers.ChoiceField(
        choices=RuleWindow.choices, required=False, allow_blank=True, default=""
    )
    floor = QuantityField(required=False, allow_null=True, default=None)
    effective_at = UtcDateTimeField(required=False)
    expires_at = UtcDateTimeField(required=False, allow_null=True, default=None)
    product_requirement = serializers.CharField(max_length=2_000)
    engineering_note = serializers.CharField(max_length=2_000, default="Watched as configured.")
    reason_code = serializers.CharField(max_length=40)


class RuleSerializer(serializers.Serializer[AlertRule]):
    """A version of a rule; it governs once its policy change is approved."""

    code = serializers.CharField()
    version = serializers.IntegerField(source="number")
    watched = serializers.CharField()
    threshold = QuantityField()
    owner = serializers.CharField(source="owner.username")
    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)
    by_customer = serializers.BooleanField(source="is_by_customer")
    unit = serializers.CharField(source="pricing_unit.code", allow_null=True, default=None)
    meter = serializers.CharField(source="meter.code", allow_null=True, default=None)
    window = serializers.CharField()
    floor = QuantityField(allow_null=True)
    status = serializers.CharField(source="policy_change.status")
    effective_at = UtcDateTimeField(source="policy_change.effective_at")
    expires_at = UtcDateTimeField(source="policy_change.expires_at", allow_null=True)


class AlertsView(ApiView):
    """Warnings."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=AlertSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List alerts, the newest first."""
        query = self.valid_query(CustomerQuery)
        rows = _alerts().order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        return self.page(request, rows, AlertSerializer)


class AcknowledgeView(ApiView):
    """One alert, seen."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=AcknowledgeInput, responses=AlertSerializer)
    def post(self, request: Request, alert_id: int) -> Response:
        """Say that somebody saw an alert, what comes of it, and who looks after it."""
        sent = self.valid(AcknowledgeInput, request.data)
        alert = _alerts().filter(pk=alert_id).first()
        if alert is None:
            raise NotFound(f"no alert has the id {alert_id}")
        owner = owner_named(sent["owner"]) if "owner" in sent else None
        seen = acknowledge_alert(
            alert=alert, note=sent["note"], owner=owner, by=cast(User, request.user),
            at=clock.now(),
        )  # fmt: skip
        return Response(AlertSerializer(seen).data)


class AlertRulesView(ApiView):
    """Rules that raise alerts."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=RuleSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List all versions of rules, the newest first."""
        rows = AlertRule.objects.select_related(
            "customer", "pricing_unit", "meter", "owner", "policy_change"
        )
        return self.page(request, rows.order_by("-pk"), RuleSerializer)

    @extend_schema(request=RuleInput, responses={201: RuleSerializer})
    def post(self, request: Request) -> Response:
        """Propose a rule, or the next version of one; finance approves it in the admin."""
        sent = self.valid(RuleInput, request.data)
        at = clock.now()
        proposal = Proposal(
            f"Alert rule {sent['code']}"[:200], sent["product_requirement"],
            sent["engineering_note"], sent["reason_code"], sent.get("effective_at", at),
            sent["expires_at"],
        )  # fmt: skip
        rule = propose_alert_rule(
            code=sent["code"], terms=_terms(sent), proposal=proposal, by=cast(User, request.user),
            at=at,
        )  # fmt: skip
        return Response(RuleSerializer(rule).data, status=status.HTTP_201_CREATED)


def _alerts() -> QuerySet[Alert]:
    return Alert.objects.select_related("customer", "rule", "owner", "acknowledged_by")


def _terms(sent: dict[str, Any]) -> RuleTerms:
    customer, unit, meter = sent["customer"], sent["unit"], sent["meter"]
    return RuleTerms(
        watched=Watched(sent["watched"]),
        threshold=sent["threshold"],
        owner=owner_named(sent["owner"]),
        customer=customer_named(customer) if customer else None,
        unit=pricing_unit_named(unit) if unit else None,
        meter=meter_called(meter) if meter else None,
        window=RuleWindow(sent["window"]),
        floor=sent["floor"],
        is_by_customer=sent["by_customer"],
    )


urlpatterns = [
    path("alerts", AlertsView.as_view()),
    path("alerts/<int:alert_id>/acknowledge", AcknowledgeView.as_view()),
    path("alert_rules", AlertRulesView.as_view()),
]
