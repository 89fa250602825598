"""GET /v1/customers/{id}: who is billed, and what is owed back to them.

Metering owns customers and knows no money; what stands beside them is put together here.
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.rest.fields import MoneyField
from invoicing.selectors import owed_back
from metering.api.customers import CustomerSerializer, CustomerView
from metering.selectors.customers import customer_named


class OwedBackSerializer(serializers.Serializer[Any]):
    """What is owed back in one currency: `balance` pays the next invoices."""

    balance = MoneyField()
    refunds_due = MoneyField(help_text="Promised by credit notes, and not recorded yet.")


class WholeCustomerSerializer(CustomerSerializer):
    """Who is billed, and what is owed back to them, by currency."""

    owed_back = OwedBackSerializer(many=True, read_only=True)


class WholeCustomerView(CustomerView):
    """One customer with their balance, by its external id or an alias."""

    @extend_schema(responses=WholeCustomerSerializer)
    def get(self, request: Request, external_id: str) -> Response:
        """Show a customer, and what is owed back to them."""
        customer = customer_named(external_id)
        owed = OwedBackSerializer(owed_back(customer), many=True).data
        return Response({**CustomerSerializer(customer).data, "owed_back": owed})
