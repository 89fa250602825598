"""/v1/entities: the legal entities that sell, and which of them bills a customer."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from billing_project.kernel.rest.views import ApiView
from invoicing.models import LegalEntity, SplitBy
from invoicing.selectors.entities import address_of, entity_id_of, entity_named, seller_at
from invoicing.selectors.splitting import split_of
from invoicing.services.entities import assign_entity, record_address
from invoicing.services.splitting import split_invoices
from metering.selectors.customers import customer_named


class EntityInput(serializers.Serializer[Any]):
    """Which entity bills from now on."""

    entity = serializers.CharField(max_length=20)


class EntityOutput(serializers.Serializer[Any]):
    """A legal entity as its documents call it now; nothing where finance has not approved that."""

    code = serializers.CharField()
    series_prefix = serializers.CharField()
    legal_name = serializers.CharField(allow_null=True)
    address = serializers.ListField(child=serializers.CharField())
    tax_number = serializers.CharField(allow_blank=True)
    country = serializers.CharField(allow_null=True)

    def to_representation(self, instance: LegalEntity) -> dict[str, Any]:
        """Add what is in force."""
        told: dict[str, Any] = {"code": instance.code, "series_prefix": instance.series_prefix}
        try:
            seller = seller_at(instance.pk, clock.now())
        except Conflict:
            return told | {"legal_name": None, "address": [], "tax_number": "", "country": None}
        return told | {
            "legal_name": seller.name,
            "address": seller.address.splitlines(),
            "tax_number": seller.tax_number,
            "country": seller.country,
        }


class AddressInput(serializers.Serializer[Any]):
    """A postal address in lines, or none to end it."""

    lines = serializers.ListField(child=serializers.CharField(max_length=200), max_length=6)


class AddressOutput(serializers.Serializer[Any]):
    """The postal address that stands on the customer's next invoices."""

    lines = serializers.ListField(child=serializers.CharField())


class CustomerAddressView(ApiView):
    """Where a customer gets invoices by post."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(responses=AddressOutput)
    def get(self, request: Request, external_id: str) -> Response:
        """Return the address that the next invoice says; no lines where none was told."""
        return Response({"lines": address_of(customer_named(external_id)).splitlines()})

    @extend_schema(request=AddressInput, responses=AddressOutput)
    def post(self, request: Request, external_id: str) -> Response:
        """Keep an address from now on; what is issued already keeps the one it has."""
        wanted, customer = self.valid(AddressInput, request.data), customer_named(external_id)
        record_address(
            customer=customer, address="\n".join(wanted["lines"]),
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response({"lines": address_of(customer).splitlines()})


class SplitInput(serializers.Serializer[Any]):
    """How usage is invoiced from now on, and why."""

    split_by = serializers.ChoiceField(choices=SplitBy.choices)
    reason = serializers.CharField(max_length=500)


class SplitOutput(serializers.Serializer[Any]):
    """How usage is invoiced."""

    split_by = serializers.ChoiceField(choices=SplitBy.choices)


class CustomerSplitView(ApiView):
    """Whether usage stands on one invoice, or on one for each workspace."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(responses=SplitOutput)
    def get(self, request: Request, external_id: str) -> Response:
        """Return how the customer's usage is invoiced."""
        return Response({"split_by": split_of(customer_named(external_id))})

    @extend_schema(request=SplitInput, responses=SplitOutput)
    def post(self, request: Request, external_id: str) -> Response:
        """Say how it is invoiced from now on; what is issued stays as it is."""
        wanted, customer = self.valid(SplitInput, request.data), customer_named(external_id)
        split_invoices(customer=customer, by=cast(User, request.user), at=clock.now(), **wanted)
        return Response({"split_by": split_of(customer)})


class EntitiesView(ApiView):
    """List legal entities; they are drafted as policy changes."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(responses=EntityOutput(many=True))
    def get(self, request: Request) -> Response:
        """List them, the newest first; the one called `main` bills whoever has no other."""
        return self.page(request, LegalEntity.objects.order_by("id"), EntityOutput)


class CustomerEntityView(ApiView):
    """Which entity bills a customer."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(responses=EntityOutput)
    def get(self, request: Request, external_id: str) -> Response:
        """Return the entity that bills a customer."""
        entity_id = entity_id_of(customer_named(external_id))
        return Response(EntityOutput(LegalEntity.objects.get(pk=entity_id)).data)

    @extend_schema(request=EntityInput, responses=EntityOutput)
    def post(self, request: Request, external_id: str) -> Response:
        """Say who bills a customer, before anything is sold to them; it stays."""
        wanted = self.valid(EntityInput, request.data)
        entity = entity_named(wanted["entity"])
        assign_entity(
            customer=customer_named(external_id), entity=entity,
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(EntityOutput(entity).data)
