"""The ledger of credits over REST: every entry, and why a burn took its grant."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    MoneyField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors import ledger_history
from credits.selectors.why import why_this_grant
from metering.selectors.customers import customer_named


class LedgerTransactionSerializer(serializers.Serializer[LedgerTransaction]):
    """One entry of the ledger of credits; positive adds to the balance."""

    id = serializers.CharField()
    position = serializers.CharField()  # Its place among all facts of credits: they are in order.
    customer = serializers.CharField(source="customer.external_id")
    grant = serializers.CharField(source="grant_id")
    kind = serializers.ChoiceField(choices=LedgerKind.choices)
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


class ExplainedTransactionSerializer(LedgerTransactionSerializer):
    """One entry, and why its grant was burned; empty where no burn order chose it."""

    why_this_grant = serializers.SerializerMethodField()

    def get_why_this_grant(self, entry: LedgerTransaction) -> str:
        """Tell what the burn order compared."""
        return why_this_grant(entry)


class LedgerQuery(serializers.Serializer[Any]):
    """Whose entries, and of which grant."""

    customer = ExternalIdField(required=False)
    grant = IntegerField(min_value=1, max_value=2**63 - 1, required=False)


class LedgerTransactionsView(ApiView):
    """The ledger of credits."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[LedgerQuery], responses=LedgerTransactionSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List entries, newest first."""
        query = self.valid_query(LedgerQuery)
        customer = customer_named(query["customer"]) if "customer" in query else None
        grant = find_grant(query["grant"]) if "grant" in query else None
        return self.page(request, ledger_history(customer, grant), LedgerTransactionSerializer)


class LedgerTransactionView(ApiView):
    """One entry of the ledger of credits."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=ExplainedTransactionSerializer)
    def get(self, request: Request, entry_id: int) -> Response:
        """Show an entry; for a burn, why it took this grant and not another."""
        entry = ledger_history().filter(pk=entry_id).first()
        if entry is None:
            raise NotFound(f"there is no ledger transaction {entry_id}")
        return Response(ExplainedTransactionSerializer(entry).data)


def find_grant(grant_id: int, grants: QuerySet[CreditGrant] | None = None) -> CreditGrant:
    """Return a grant by its id.

    Raises:
        NotFound: there is none.
    """
    known = CreditGrant.objects.all() if grants is None else grants
    grant = known.filter(pk=grant_id).first()
    if grant is None:
        raise NotFound(f"there is no credit grant {grant_id}")
    return grant


urlpatterns = [
    path("ledger_transactions", LedgerTransactionsView.as_view()),
    path("ledger_transactions/<int:entry_id>", LedgerTransactionView.as_view()),
]
