"""/v1/tax_ids: what customers account for tax under."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from invoicing.models import CustomerTaxId
from invoicing.models.market import TaxIdKind
from invoicing.services.markets import record_tax_id
from metering.selectors.customers import customer_named


class TaxIdInput(serializers.Serializer[Any]):
    """A tax id, or an empty one to end it."""

    customer = ExternalIdField()
    kind = serializers.ChoiceField(choices=TaxIdKind.choices)
    value = serializers.CharField(max_length=30, allow_blank=True)


class TaxIdOutput(serializers.Serializer[Any]):
    """A tax id in its compact form, since when it counts."""

    customer = serializers.CharField(source="customer.external_id")
    kind = serializers.CharField()
    value = serializers.CharField()
    recorded_at = UtcDateTimeField()


class TaxIdQuery(serializers.Serializer[Any]):
    """Whose tax ids."""

    customer = ExternalIdField(required=False)


class TaxIdsView(ApiView):
    """Record and list tax ids."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(request=TaxIdInput, responses={201: TaxIdOutput})
    def post(self, request: Request) -> Response:
        """Keep a customer's tax id from now on; its form and check digits are checked."""
        wanted = self.valid(TaxIdInput, request.data)
        row = record_tax_id(
            customer=customer_named(wanted["customer"]),
            kind=wanted["kind"],
            value=wanted["value"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(TaxIdOutput(row).data, status=201)

    @extend_schema(parameters=[OpenApiParameter("customer", str)], responses=TaxIdOutput(many=True))
    def get(self, request: Request) -> Response:
        """List tax ids, newest first: of each customer the first one counts."""
        query = self.valid_query(TaxIdQuery)
        found = CustomerTaxId.objects.select_related("customer").order_by("-id")
        if name := query.get("customer"):
            found = found.filter(customer=customer_named(name))
        return self.page(request, found, TaxIdOutput)
