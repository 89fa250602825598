"""Customers and workspaces."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import (
    CurrencyField,
    ExternalIdField,
    LocaleField,
    TimeZoneField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from metering.models import Customer, Workspace
from metering.selectors.customers import customer_named
from metering.services.customers import create_customer, create_workspace, update_customer


class CustomerSerializer(serializers.Serializer[Any]):
    """Who is billed."""

    external_id = ExternalIdField()
    name = serializers.CharField(max_length=200)
    currency = CurrencyField()
    time_zone = TimeZoneField(default="UTC")
    country = serializers.RegexField(r"^([A-Z]{2})?\Z", default="", allow_blank=True)
    email = serializers.EmailField(default="", allow_blank=True)
    locale = LocaleField(default="", allow_blank=True)
    created_at = UtcDateTimeField(read_only=True)


class CustomerChangeSerializer(serializers.Serializer[Any]):
    """What may change of a customer, and why."""

    name = serializers.CharField(max_length=200, required=False)
    time_zone = TimeZoneField(required=False)
    country = serializers.RegexField(r"^([A-Z]{2})?\Z", required=False, allow_blank=True)
    email = serializers.EmailField(required=False, allow_blank=True)
    locale = LocaleField(required=False, allow_blank=True)
    reason = serializers.CharField(max_length=500, default="changed over the API")


class WorkspaceSerializer(serializers.Serializer[Any]):
    """A part of a customer that uses on its own."""

    customer = ExternalIdField(source="customer.external_id")
    external_id = ExternalIdField()
    name = serializers.CharField(max_length=200)
    created_at = UtcDateTimeField(read_only=True)


class CustomersView(ApiView):
    """All customers."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=CustomerSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List customers."""
        return self.page(request, Customer.objects.all(), CustomerSerializer)

    @extend_schema(request=CustomerSerializer, responses={201: CustomerSerializer})
    def post(self, request: Request) -> Response:
        """Make a customer; the same content again changes nothing."""
        values = self.valid(CustomerSerializer, request.data)
        customer = create_customer(**values, by=cast(User, request.user), at=clock.now())
        return Response(CustomerSerializer(customer).data, status=201)


class CustomerView(ApiView):
    """One customer, by its external id or an alias."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "PATCH": "admin"}

    @extend_schema(responses=CustomerSerializer)
    def get(self, request: Request, external_id: str) -> Response:
        """Show a customer."""
        return Response(CustomerSerializer(customer_named(external_id)).data)

    @extend_schema(request=CustomerChangeSerializer, responses=CustomerSerializer)
    def patch(self, request: Request, external_id: str) -> Response:
        """Change a customer's name, time zone, country, e-mail address or locale."""
        values = self.valid(CustomerChangeSerializer, request.data)
        customer = update_customer(
            customer=customer_named(external_id),
            by=cast(User, request.user),
            at=clock.now(),
            **values,
        )
        return Response(CustomerSerializer(customer).data)


class WorkspacesView(ApiView):
    """All workspaces."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=WorkspaceSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List workspaces."""
        rows = Workspace.objects.select_related("customer")
        return self.page(request, rows, WorkspaceSerializer)

    @extend_schema(request=WorkspaceSerializer, responses={201: WorkspaceSerializer})
    def post(self, request: Request) -> Response:
        """Make a workspace, or name one that an event made."""
        values = self.valid(WorkspaceSerializer, request.data)
        workspace = create_workspace(
            customer=customer_named(values["customer"]["external_id"]),
            external_id=values["external_id"],
            name=values["name"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(WorkspaceSerializer(workspace).data, status=201)
