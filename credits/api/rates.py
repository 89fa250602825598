"""Rate cards, their versions and rates over REST: read only, since two people decide on prices."""

from typing import Any, ClassVar

from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import in_force
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.models import Pools, PricingModel, Rate, RateCard, RateCardVersion
from metering.selectors.customers import customer_named


class RateSerializer(serializers.Serializer[Rate]):
    """What a meter's quantity costs where the dimensions match."""

    meter = serializers.CharField(source="meter_code")
    dimensions = serializers.DictField(child=serializers.CharField())
    model = serializers.ChoiceField(choices=PricingModel.choices)
    unit_price = QuantityField()
    terms = serializers.DictField()
    included = QuantityField(allow_null=True)
    minimum = QuantityField(allow_null=True)
    maximum = QuantityField(allow_null=True)
    pools = serializers.ChoiceField(choices=Pools.choices)


class VersionSerializer(serializers.Serializer[RateCardVersion]):
    """One immutable version, whoever decided on it, and what it costs."""

    number = serializers.IntegerField()
    status = serializers.CharField(source="policy_change.status")
    title = serializers.CharField(source="policy_change.title")
    effective_at = UtcDateTimeField(source="policy_change.effective_at")
    expires_at = UtcDateTimeField(source="policy_change.expires_at", allow_null=True)
    content_sha256 = serializers.CharField(source="policy_change.content_sha256")
    rates = RateSerializer(many=True)


class RateCardSerializer(serializers.Serializer[RateCard]):
    """A named set of rates; with a customer, it overrides its base for them."""

    code = serializers.CharField()
    name = serializers.CharField()
    unit = serializers.CharField(source="pricing_unit.code")
    currency = serializers.CharField(source="pricing_unit.currency")
    customer = serializers.CharField(source="customer.external_id", default=None, allow_null=True)
    base = serializers.CharField(source="base.code", default=None, allow_null=True)
    governing_version = serializers.IntegerField(allow_null=True)  # Of who is not pinned, now.


class RateCardQuery(serializers.Serializer[Any]):
    """Whose overrides; without a customer, all cards."""

    customer = ExternalIdField(required=False)


class RateCardsView(ApiView):
    """All rate cards."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[RateCardQuery], responses=RateCardSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List rate cards, newest first."""
        cards = _cards()
        if external_id := self.valid_query(RateCardQuery).get("customer"):
            cards = cards.filter(customer=customer_named(external_id))
        return self.page(request, cards, RateCardSerializer)


class RateCardVersionsView(ApiView):
    """A rate card's versions."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=VersionSerializer(many=True))
    def get(self, request: Request, code: str) -> Response:
        """List versions with their rates, newest first."""
        versions = _versions(_card(code)).order_by("-pk")
        return self.page(request, versions, VersionSerializer)


class RateCardVersionView(ApiView):
    """One version of a rate card."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(responses=VersionSerializer)
    def get(self, request: Request, code: str, number: int) -> Response:
        """Show a version with its rates."""
        version = _versions(_card(code)).filter(number=number).first()
        if version is None:
            raise NotFound(f"rate card {code} has no version {number}")
        return Response(VersionSerializer(version).data)


def _cards() -> QuerySet[RateCard]:
    governing = (
        RateCardVersion.objects.filter(in_force(clock.now(), "policy_change__"))
        .filter(rate_card=OuterRef("pk"))
        .order_by("-policy_change__effective_at", "-number")
    )
    cards = RateCard.objects.select_related("pricing_unit", "customer", "base")
    return cards.annotate(governing_version=Subquery(governing.values("number")[:1]))


def _card(code: str) -> RateCard:
    card = _cards().filter(code=code).first()
    if card is None:
        raise NotFound(f"no rate card has the code {code}", code="unknown_rate_card")
    return card


def _versions(card: RateCard) -> QuerySet[RateCardVersion]:
    return card.versions.select_related("policy_change").prefetch_related("rates")


urlpatterns = [
    path("rate_cards", RateCardsView.as_view()),
    path("rate_cards/<str:code>/versions", RateCardVersionsView.as_view()),
    path("rate_cards/<str:code>/versions/<int:number>", RateCardVersionView.as_view()),
]
