"""The API of commitments that are paid ahead of their term."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import ExternalIdField, MoneyField, QuantityField
from billing_project.kernel.rest.repeats import refuse_repeated
from billing_project.kernel.rest.views import ApiView
from credits.selectors.units import pricing_unit_named
from invoicing.api.fields import caller_key
from invoicing.api.invoices import InvoiceOutput
from invoicing.models import Invoice
from invoicing.services.packs import sell_commitment
from metering.selectors.customers import customer_named


class CommitmentInput(serializers.Serializer[Any]):
    """Whose, how many credits for what price, and over which days of the customer's calendar."""

    customer = ExternalIdField()
    amount = QuantityField(positive=True)
    unit = serializers.CharField(max_length=32)
    price = MoneyField()
    start_on = serializers.DateField()
    end_on = serializers.DateField(help_text="exclusive: credits that are left then end")


class CommitmentsView(ApiView):
    """Credits for a term, which the customer pays for ahead of it."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(request=CommitmentInput, responses={201: InvoiceOutput})
    def post(self, request: Request) -> Response:
        """Sell a commitment: invoiced at once, granted once that is paid, gone with its term."""
        wanted = self.valid(CommitmentInput, request.data)
        customer = customer_named(wanted["customer"], "customer")
        refuse_repeated(request, Invoice.objects.filter(customer=customer))
        price: Money = wanted["price"]
        if price.currency != customer.currency:
            raise Invalid(
                f"the customer pays in {customer.currency}, not in {price.currency}",
                field="price.currency",
            )
        invoice = sell_commitment(
            customer=customer,
            pricing_unit=pricing_unit_named(wanted["unit"]),
            amount=wanted["amount"],
            price_minor=price.amount_minor,
            start_on=wanted["start_on"],
            end_on=wanted["end_on"],
            key=caller_key(request),
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(InvoiceOutput(invoice).data, status=201)
