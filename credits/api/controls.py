"""Spend limits over REST: they are proposed here, and approved by people."""

from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey, User
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.api.authorizations import NameField
from credits.models import LimitMode, LimitWindow, SpendLimit
from credits.selectors.units import pricing_unit_named
from credits.services.controls import LimitTerms, propose_spend_limit
from metering.selectors.customers import customer_named, workspace_named

_LONGEST_CODE = 64


class SpendLimitRequest(serializers.Serializer[Any]):
    """A ceiling, whose spending counts against it, and why it is wanted."""

    code = NameField(default="")
    customer = ExternalIdField()
    workspace = ExternalIdField(required=False, allow_null=True, default=None)
    model = NameField(default="")
    job = NameField(default="")
    api_key = NameField(default="", help_text="The public id of a key: the 8 characters after abk_")
    window = serializers.ChoiceField(choices=LimitWindow.choices)
    mode = serializers.ChoiceField(choices=LimitMode.choices)
    unit = serializers.CharField(max_length=32)
    credits = QuantityField()
    effective_at = UtcDateTimeField(required=False)
    expires_at = UtcDateTimeField(required=False, allow_null=True, default=None)
    product_requirement = serializers.CharField(max_length=2_000)
    engineering_note = serializers.CharField(max_length=2_000, default="Enforced as configured.")
    reason_code = serializers.CharField(max_length=40)


class SpendLimitSerializer(serializers.Serializer[SpendLimit]):
    """A version of a spend limit; it governs once its policy change is approved."""

    code = serializers.CharField()
    version = serializers.IntegerField(source="number")
    customer = serializers.CharField(source="customer.external_id")
    workspace = serializers.CharField(source="workspace.external_id", allow_null=True, default=None)
    model = serializers.CharField()
    job = serializers.CharField()
    api_key = serializers.CharField(source="api_key.public_id", allow_null=True, default=None)
    window = serializers.CharField()
    mode = serializers.CharField()
    unit = serializers.CharField(source="pricing_unit.code")
    credits = QuantityField()
    status = serializers.CharField(source="policy_change.status")
    effective_at = UtcDateTimeField(source="policy_change.effective_at")
    expires_at = UtcDateTimeField(source="policy_change.expires_at", allow_null=True)


class SpendLimitsView(ApiView):
    """Ceilings of customers' spending."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=SpendLimitSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List all versions, the newest first."""
        query = self.valid_query(CustomerQuery)
        rows: QuerySet[SpendLimit] = SpendLimit.objects.select_related(
            "customer", "workspace", "api_key", "pricing_unit", "policy_change"
        ).order_by("-pk")
        if name := query.get("customer"):
            rows = rows.filter(customer=customer_named(name))
        return self.page(request, rows, SpendLimitSerializer)

    @extend_schema(request=SpendLimitRequest, responses={201: SpendLimitSerializer})
    def post(self, request: Request) -> Response:
        """Propose a limit, or the next version of one; finance approves it in the admin."""
        sent = self.valid(SpendLimitRequest, request.data)
        customer = customer_named(sent["customer"])
        name = sent["workspace"]
        terms = LimitTerms(
            customer=customer,
            window=LimitWindow(sent["window"]),
            mode=LimitMode(sent["mode"]),
            unit=pricing_unit_named(sent["unit"]),
            credits=sent["credits"],
            workspace=workspace_named(customer, name) if name else None,
            model=sent["model"],
            job=sent["job"],
            api_key=_api_key(sent["api_key"]),
        )
        at = clock.now()
        code = sent["code"] or _code_of(sent)
        proposal = Proposal(
            f"Spend limit {code}"[:200],
            sent["product_requirement"],
            sent["engineering_note"],
            sent["reason_code"],
            sent.get("effective_at", at),
            sent["expires_at"],
        )
        limit = propose_spend_limit(
            code=code, terms=terms, proposal=proposal, by=cast(User, request.user), at=at
        )
        return Response(SpendLimitSerializer(limit).data, status=status.HTTP_201_CREATED)


class CustomerQuery(serializers.Serializer[Any]):
    """Whose rows."""

    customer = ExternalIdField(required=False)


def _code_of(sent: dict[str, Any]) -> str:
    """Name a limit by all that it counts: the next version of one never replaces another."""
    scope = [sent[name] for name in ("workspace", "model", "job", "api_key")]
    words = [sent["customer"], sent["window"], sent["mode"]]
    code = ":".join(words if not any(scope) else [*words, *(word or "" for word in scope)])
    return code if len(code) <= _LONGEST_CODE else sha256_hex(code)


def _api_key(public_id: str) -> ApiKey | None:
    if not public_id:
        return None
    found = ApiKey.objects.filter(public_id=public_id).first()
    if found is None:
        raise Invalid(f"no key has the public id {public_id}", field="api_key")
    return found


urlpatterns = [
    path("spend_limits", SpendLimitsView.as_view()),
]
