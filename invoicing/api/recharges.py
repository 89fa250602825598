"""/v1/auto_recharges and /v1/recharges: balances that are filled by themselves."""

from datetime import timedelta
from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.selectors.units import pricing_unit_named
from invoicing.api.fields import AmountField, minor_units
from invoicing.models import AutoRecharge, Recharge
from invoicing.services.recharging import Wish, end_recharge, set_up_recharge
from metering.selectors.customers import customer_named


class AutoRechargeInput(serializers.Serializer[Any]):
    """What a customer agreed to: an amount each time, or up to a target."""

    customer = ExternalIdField()
    unit = serializers.CharField(max_length=32)
    threshold = QuantityField(positive=True)
    amount = QuantityField(positive=True, required=False, allow_null=True, default=None)
    target = QuantityField(positive=True, required=False, allow_null=True, default=None)
    unit_price = QuantityField(positive=True, help_text="Of a credit, ex tax.")
    monthly_limit = QuantityField(positive=True, help_text="Ex tax, in the customer's currency.")
    cool_down_seconds = IntegerField(
        required=False, default=3_600, min_value=0, max_value=2_678_400
    )
    most_failures = IntegerField(required=False, default=3, min_value=1, max_value=20)
    consent = serializers.CharField(max_length=2_000, help_text="What was agreed to, in words.")
    consented_by = serializers.CharField(max_length=200, help_text="Who, of the customer's.")
    consented_at = UtcDateTimeField()


class AutoRechargeOutput(serializers.Serializer[AutoRecharge]):
    """What a customer agreed to, who set it up, and whether it stands."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    unit = serializers.CharField(source="pricing_unit.code")
    threshold = QuantityField()
    amount = QuantityField(allow_null=True)
    target = QuantityField(allow_null=True)
    unit_price = QuantityField()
    currency = serializers.CharField()
    monthly_limit = AmountField("monthly_limit_minor")
    cool_down_seconds = serializers.IntegerField()
    most_failures = serializers.IntegerField()
    consent = serializers.CharField()
    consented_by = serializers.CharField()
    consented_at = UtcDateTimeField()
    set_up_by = serializers.CharField(source="set_up_by.username")
    set_up_at = UtcDateTimeField()
    ended_at = UtcDateTimeField(allow_null=True)
    end_reason = serializers.CharField()


class RechargeOutput(serializers.Serializer[Recharge]):
    """One purchase that was made by itself; its credits come with the payment."""

    auto_recharge = serializers.CharField(source="auto_recharge_id")
    customer = serializers.CharField(source="customer.external_id")
    unit = serializers.CharField(source="pricing_unit.code")
    invoice = serializers.CharField(source="invoice.number", allow_null=True)
    available = QuantityField(help_text="Credits that were left before.")
    credits = QuantityField()
    currency = serializers.CharField()
    price = AmountField("price_minor")
    state = serializers.ChoiceField(choices=["open", "paid", "failed"])
    opened_at = UtcDateTimeField()
    closed_at = UtcDateTimeField(allow_null=True)


class OfCustomerQuery(serializers.Serializer[Any]):
    """Whose rows."""

    customer = ExternalIdField(required=False)


class EndInput(serializers.Serializer[Any]):
    """Why it is switched off."""

    reason = serializers.CharField(max_length=500)


class AutoRechargesView(ApiView):
    """What customers agreed to."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(parameters=[OfCustomerQuery], responses=AutoRechargeOutput(many=True))
    def get(self, request: Request) -> Response:
        """List what customers agreed to, newest first, with what has ended."""
        query = self.valid_query(OfCustomerQuery)
        return self.page(request, _of(_auto_recharges(), query), AutoRechargeOutput)

    @extend_schema(request=AutoRechargeInput, responses={201: AutoRechargeOutput})
    def post(self, request: Request) -> Response:
        """Set up what a customer agreed to; one that stands is replaced."""
        sent = self.valid(AutoRechargeInput, request.data)
        customer = customer_named(sent["customer"])
        limit = minor_units(sent["monthly_limit"], customer.currency, "monthly_limit")
        wish = Wish(
            pricing_unit=pricing_unit_named(sent["unit"]), threshold=sent["threshold"],
            amount=sent["amount"], target=sent["target"], unit_price=sent["unit_price"],
            monthly_limit=Money(limit, customer.currency), most_failures=sent["most_failures"],
            cool_down=timedelta(seconds=sent["cool_down_seconds"]), consent=sent["consent"],
            consented_by=sent["consented_by"], consented_at=sent["consented_at"],
        )  # fmt: skip
        row = set_up_recharge(
            customer=customer, wish=wish, by=cast(User, request.user), at=clock.now()
        )
        return Response(AutoRechargeOutput(row).data, status=201)


class EndView(ApiView):
    """The end of an auto-recharge."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=EndInput, responses=AutoRechargeOutput)
    def post(self, request: Request, recharge_id: int) -> Response:
        """Buy nothing by itself any more; an open purchase goes on."""
        sent = self.valid(EndInput, request.data)
        row = _auto_recharges().filter(pk=recharge_id).first()
        if row is None:
            raise NotFound(f"no auto-recharge has the id {recharge_id}")
        by = cast(User, request.user)
        ended = end_recharge(row=row, reason=sent["reason"], by=by, at=clock.now())
        return Response(AutoRechargeOutput(ended).data)


class RechargesView(ApiView):
    """What was bought by itself."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(parameters=[OfCustomerQuery], responses=RechargeOutput(many=True))
    def get(self, request: Request) -> Response:
        """List what was bought by itself, newest first."""
        query = self.valid_query(OfCustomerQuery)
        rows = Recharge.objects.select_related("customer", "pricing_unit", "invoice")
        return self.page(request, _of(rows.order_by("-pk"), query), RechargeOutput)


def _auto_recharges() -> QuerySet[AutoRecharge]:
    rows = AutoRecharge.objects.select_related("customer", "pricing_unit", "set_up_by")
    return rows.order_by("-pk")


def _of(rows: QuerySet[Any], query: dict[str, Any]) -> QuerySet[Any]:
    name = query.get("customer")
    return rows.filter(customer=customer_named(name)) if name else rows


urlpatterns = [
    path("auto_recharges", AutoRechargesView.as_view()),
    path("auto_recharges/<int:recharge_id>/switch_off", EndView.as_view()),
    path("recharges", RechargesView.as_view()),
]
