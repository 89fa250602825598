"""Credit grants over REST."""

from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    MoneyField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.repeats import refuse_repeated, source_key
from billing_project.kernel.rest.views import ApiView
from credits.api.ledger import find_grant
from credits.models import CreditGrant, GrantCategory
from credits.selectors.units import pricing_unit_named
from credits.services.grants import LONGEST_NAME, MAX_PRIORITY, issue_grant
from metering.models import Customer, Workspace
from metering.selectors.customers import customer_named, workspace_named

# Included credits come with a subscription; nobody gives them by hand.
GIVEN_BY_API = [GrantCategory.PAID, GrantCategory.PROMOTIONAL, GrantCategory.GOODWILL]


class ScopeSerializer(serializers.Serializer[Any]):
    """Whose usage may burn a grant; nothing named means all of the customer's."""

    workspace = ExternalIdField(required=False, allow_null=True, default=None)
    meters = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, default=list
    )


class GrantRequest(serializers.Serializer[Any]):
    """Credits to give."""

    customer = ExternalIdField()
    category = serializers.ChoiceField(choices=GIVEN_BY_API)
    name = serializers.CharField(max_length=LONGEST_NAME, required=False, default="")
    amount = QuantityField(positive=True)
    unit = serializers.CharField(max_length=32)
    price = MoneyField(required=False)
    priority = IntegerField(min_value=0, max_value=MAX_PRIORITY, default=50)
    effective_at = UtcDateTimeField(required=False)
    expires_at = UtcDateTimeField(required=False, allow_null=True, default=None)
    scope = ScopeSerializer(required=False)
    reason_code = serializers.CharField(max_length=40)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for the price of paid credits, and for no other's."""
        price: Money | None = attrs.get("price")
        is_priced = price is not None and price.amount_minor > 0
        if is_priced != (attrs["category"] == GrantCategory.PAID):
            raise serializers.ValidationError(
                {"price": "paid credits have a price, and only they do"}
            )
        return attrs


class GrantSerializer(serializers.Serializer[CreditGrant]):
    """A grant, and what remains of it."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    category = serializers.ChoiceField(choices=GrantCategory.choices)
    name = serializers.CharField()
    amount = QuantityField()
    remaining = QuantityField()
    unit = serializers.CharField(source="pricing_unit.code")
    price = serializers.SerializerMethodField()
    priority = serializers.IntegerField()
    effective_at = UtcDateTimeField()
    expires_at = UtcDateTimeField(allow_null=True)
    scope = serializers.SerializerMethodField()
    reason_code = serializers.CharField()
    terms = serializers.CharField(allow_null=True)  # Code and version; what it keeps for good.
    origin = serializers.CharField(source="origin_id", allow_null=True)  # It was linked to.
    first_grant = serializers.CharField(source="root_id", allow_null=True)  # Of its chain.
    rule = serializers.CharField(source="rule_id", allow_null=True)  # That gives it every period.
    rule_period_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()

    @extend_schema_field(MoneyField)
    def get_price(self, grant: CreditGrant) -> dict[str, str]:
        """Tell what was paid for it, ex tax."""
        return MoneyField().to_representation(Money(grant.price_minor, grant.currency))

    @extend_schema_field(ScopeSerializer)
    def get_scope(self, grant: CreditGrant) -> dict[str, Any]:
        """Tell whose usage may burn it."""
        workspace = grant.workspace.external_id if grant.workspace else None
        return {"workspace": workspace, "meters": grant.meter_codes}


class GrantQuery(serializers.Serializer[Any]):
    """Whose grants."""

    customer = ExternalIdField(required=False)


class CreditGrantsView(ApiView):
    """All credit grants."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(parameters=[GrantQuery], responses=GrantSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List grants, newest first."""
        grants = _grants()
        if external_id := self.valid_query(GrantQuery).get("customer"):
            grants = grants.filter(customer=customer_named(external_id))
        return self.page(request, grants, GrantSerializer)

    @extend_schema(request=GrantRequest, responses={201: GrantSerializer})
    def post(self, request: Request) -> Response:
        """Give credits."""
        values = self.valid(GrantRequest, request.data)
        at = clock.now()
        customer = customer_named(values["customer"], "customer")
        refuse_repeated(request, CreditGrant.objects.filter(customer=customer))
        scope = values.get("scope") or {"workspace": None, "meters": []}
        price: Money | None = values.get("price")
        grant = issue_grant(
            customer=customer,
            category=values["category"],
            amount=values["amount"],
            pricing_unit=pricing_unit_named(values["unit"]),
            reason_code=values["reason_code"],
            source_key=source_key(request),
            by=cast(User, request.user),
            at=at,
            effective_at=values.get("effective_at", at),
            expires_at=values["expires_at"],
            price_minor=price.amount_minor if price else 0,
            currency=price.currency if price else None,
            priority=values["priority"],
            workspace=_workspace(customer, scope["workspace"], "scope.workspace"),
            meter_codes=scope["meters"],
            name=values["name"],
        )
        return Response(GrantSerializer(grant).data, status=status.HTTP_201_CREATED)


class CreditGrantView(ApiView):
    """One credit grant."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=GrantSerializer)
    def get(self, request: Request, grant_id: int) -> Response:
        """Show a grant, where its credits came from, and what remains."""
        return Response(GrantSerializer(find_grant(grant_id, _grants())).data)


def _grants() -> QuerySet[CreditGrant]:
    return CreditGrant.objects.select_related("customer", "pricing_unit", "workspace", "terms")


def _workspace(customer: Customer, external_id: str | None, field: str) -> Workspace | None:
    if external_id is None:
        return None
    return workspace_named(customer, external_id, field)


urlpatterns = [
    path("credit_grants", CreditGrantsView.as_view()),
    path("credit_grants/<int:grant_id>", CreditGrantView.as_view()),
]
