"""Balances, credit grants and the ledger over REST."""

from typing import Any, ClassVar, cast

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import NotFound
from billing_project.kernel.keys import known_api_key
from billing_project.kernel.models import ApiKey, User
from billing_project.kernel.money import Money
from billing_project.kernel.rest.auth import ApiKeyAuthentication
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    MoneyField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.models import CreditGrant, GrantCategory, LedgerTransaction, PricingUnit
from credits.selectors import UnitBalance, balance_now, ledger_history, rating_state
from credits.services.grants import MAX_PRIORITY, expire_grant, issue_grant, void_grant
from metering.models import Customer, Workspace
from metering.selectors.customers import customer_named

# Included credits come with a subscription; nobody gives them by hand.
GIVEN_BY_API = [GrantCategory.PAID, GrantCategory.PROMOTIONAL, GrantCategory.GOODWILL]


class ExpiringSerializer(serializers.Serializer[Any]):
    """Credits that lapse within thirty days."""

    grant = serializers.CharField(source="grant_id")
    credits = QuantityField()
    expires_at = UtcDateTimeField()


class UnitBalanceSerializer(serializers.Serializer[UnitBalance]):
    """Credits of one pricing unit."""

    unit = serializers.CharField(source="pricing_unit")
    ledger = QuantityField()
    held = QuantityField()
    available = QuantityField()
    expiring = ExpiringSerializer(many=True)


class BalanceSerializer(serializers.Serializer[Any]):
    """What a customer has, and which usage is taken into account."""

    customer = serializers.CharField()
    workspace = serializers.CharField(allow_null=True)
    balances = UnitBalanceSerializer(many=True)
    as_of = UtcDateTimeField()
    lag_seconds = QuantityField()


class BalanceQuery(serializers.Serializer[Any]):
    """Whose credits."""

    workspace = ExternalIdField(required=False)


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
    amount = QuantityField()
    remaining = QuantityField()
    unit = serializers.CharField(source="pricing_unit.code")
    price = serializers.SerializerMethodField()
    priority = serializers.IntegerField()
    effective_at = UtcDateTimeField()
    expires_at = UtcDateTimeField(allow_null=True)
    scope = serializers.SerializerMethodField()
    reason_code = serializers.CharField()
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


class ReasonRequest(serializers.Serializer[Any]):
    """Why credits are taken back."""

    reason_code = serializers.CharField(max_length=40)


class LedgerTransactionSerializer(serializers.Serializer[LedgerTransaction]):
    """One entry of the ledger of credits; positive adds to the balance."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    grant = serializers.CharField(source="grant_id")
    kind = serializers.CharField()
    credits = QuantityField()
    unit = serializers.CharField(source="grant.pricing_unit.code")
    cost = serializers.SerializerMethodField()
    rated_usage = serializers.CharField(source="rated_usage_id", allow_null=True)
    credit_policy = serializers.CharField(allow_null=True)
    reason_code = serializers.CharField()
    effective_at = UtcDateTimeField()
    recorded_at = UtcDateTimeField()

    @extend_schema_field(MoneyField)
    def get_cost(self, entry: LedgerTransaction) -> dict[str, str]:
        """Tell the share of the grant's price, unrounded."""
        amount = QuantityField().to_representation(entry.cost_unrounded)
        return {"amount": amount, "currency": entry.grant.currency}


class LedgerQuery(serializers.Serializer[Any]):
    """Whose entries, and of which grant."""

    customer = ExternalIdField(required=False)
    grant = IntegerField(min_value=1, max_value=2**63 - 1, required=False)


class GrantQuery(serializers.Serializer[Any]):
    """Whose grants."""

    customer = ExternalIdField(required=False)


class BalanceView(ApiView):
    """A customer's credits now."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Balances are asked for often: what is known of a key is not read again."""
        return [ApiKeyAuthentication(known_api_key)]

    @extend_schema(parameters=[BalanceQuery], responses=BalanceSerializer)
    def get(self, request: Request, external_id: str) -> Response:
        """Say what is left; the ledger's past is not read."""
        customer = customer_named(external_id)
        workspace = _workspace(customer, self.valid_query(BalanceQuery).get("workspace"))
        as_of, lag_seconds = rating_state(clock.now())
        found = {
            "customer": customer.external_id,
            "workspace": workspace and workspace.external_id,
            "balances": balance_now(customer, clock.now(), workspace),  # Later than its claim.
            "as_of": as_of,
            "lag_seconds": lag_seconds,
        }
        return Response(BalanceSerializer(found).data)


class CreditGrantsView(ApiView):
    """All credit grants."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(parameters=[GrantQuery], responses=GrantSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List grants, newest first."""
        grants = CreditGrant.objects.select_related("customer", "pricing_unit", "workspace")
        if external_id := self.valid_query(GrantQuery).get("customer"):
            grants = grants.filter(customer=customer_named(external_id))
        return self.page(request, grants, GrantSerializer)

    @extend_schema(request=GrantRequest, responses={201: GrantSerializer})
    def post(self, request: Request) -> Response:
        """Give credits."""
        values = self.valid(GrantRequest, request.data)
        at = clock.now()
        customer = customer_named(values["customer"])
        scope = values.get("scope") or {"workspace": None, "meters": []}
        price: Money | None = values.get("price")
        grant = issue_grant(
            customer=customer,
            category=values["category"],
            amount=values["amount"],
            pricing_unit=_unit(values["unit"]),
            reason_code=values["reason_code"],
            source_key=_source_key(request),
            by=cast(User, request.user),
            at=at,
            effective_at=values.get("effective_at", at),
            expires_at=values["expires_at"],
            price_minor=price.amount_minor if price else 0,
            currency=price.currency if price else None,
            priority=values["priority"],
            workspace=_workspace(customer, scope["workspace"]),
            meter_codes=scope["meters"],
        )
        return Response(GrantSerializer(grant).data, status=status.HTTP_201_CREATED)


class VoidGrantView(ApiView):
    """Take back what remains of a grant that should not have been given."""

    scopes: ClassVar[dict[str, str]] = {"POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(request=ReasonRequest, responses=LedgerTransactionSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Void the grant."""
        reason = self.valid(ReasonRequest, request.data)["reason_code"]
        entry = void_grant(
            grant=_grant(grant_id),
            reason_code=reason,
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(LedgerTransactionSerializer(entry).data)


class ExpireGrantView(ApiView):
    """End a grant early."""

    scopes: ClassVar[dict[str, str]] = {"POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(request=ReasonRequest, responses=LedgerTransactionSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Let what remains lapse now."""
        reason = self.valid(ReasonRequest, request.data)["reason_code"]
        entry = expire_grant(
            grant=_grant(grant_id),
            reason_code=reason,
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(LedgerTransactionSerializer(entry).data)


class LedgerTransactionsView(ApiView):
    """The ledger of credits."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[LedgerQuery], responses=LedgerTransactionSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List entries, newest first."""
        query = self.valid_query(LedgerQuery)
        customer = customer_named(query["customer"]) if "customer" in query else None
        grant = _grant(query["grant"]) if "grant" in query else None
        return self.page(request, ledger_history(customer, grant), LedgerTransactionSerializer)


def _grant(grant_id: int) -> CreditGrant:
    grant = CreditGrant.objects.filter(pk=grant_id).first()
    if grant is None:
        raise NotFound(f"there is no credit grant {grant_id}")
    return grant


def _unit(code: str) -> PricingUnit:
    unit = PricingUnit.objects.filter(code=code).first()
    if unit is None:
        raise NotFound(f"no pricing unit has the code {code}", code="unknown_unit")
    return unit


def _workspace(customer: Customer, external_id: str | None) -> Workspace | None:
    if external_id is None:
        return None
    workspace = Workspace.objects.filter(customer=customer, external_id=external_id).first()
    if workspace is None:
        raise NotFound(f"{customer} has no workspace {external_id}", code="unknown_workspace")
    return workspace


def _source_key(request: Request) -> str:
    """Name the grant after the caller and its key, so that the database knows a repeat, too."""
    key = cast(ApiKey, request.auth)
    return f"api:{key.public_id}:{sha256_hex(request.META['HTTP_IDEMPOTENCY_KEY'])}"


urlpatterns = [
    path("customers/<path:external_id>/balance", BalanceView.as_view()),
    path("credit_grants", CreditGrantsView.as_view()),
    path("credit_grants/<int:grant_id>/void", VoidGrantView.as_view()),
    path("credit_grants/<int:grant_id>/expire", ExpireGrantView.as_view()),
    path("ledger_transactions", LedgerTransactionsView.as_view()),
]
