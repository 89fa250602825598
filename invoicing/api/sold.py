"""What is sold within a subscription: seats, coupons, outcomes; and the plans that sell it."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.repeats import refuse_repeated
from billing_project.kernel.rest.views import ApiView
from invoicing.api.fields import AmountField, caller_key
from invoicing.api.invoices import InvoiceOutput
from invoicing.models import Invoice, OutcomeState
from invoicing.selectors import find_subscription
from invoicing.selectors.offers import redemptions_of
from invoicing.selectors.outcomes import find_outcome, outcomes
from invoicing.services.coupons import redeem_coupon
from invoicing.services.outcomes import decide_outcome, record_outcome
from invoicing.services.packs import buy_pack
from invoicing.services.seats import change_seats
from metering.selectors.customers import customer_named

_CHANGE: dict[str, str] = {"GET": "invoices:read", "POST": "admin"}


class SeatChangeInput(serializers.Serializer[Any]):
    """How many seats more, or fewer, from when; without an instant: from now on."""

    seats = IntegerField()
    effective_at = UtcDateTimeField(required=False)
    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class SeatChangeOutput(serializers.Serializer[Any]):
    """One change of seats; it is settled once it was charged or credited."""

    id = serializers.IntegerField()
    seats = serializers.IntegerField()
    effective_at = UtcDateTimeField()
    reason = serializers.CharField()
    settled_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()


class CouponInput(serializers.Serializer[Any]):
    """Which coupon."""

    code = serializers.CharField(max_length=40)


class RedemptionOutput(serializers.Serializer[Any]):
    """A coupon on a subscription, and the first period that it may lower."""

    coupon = serializers.CharField(source="coupon.code")
    name = serializers.CharField(source="coupon.name")
    percent = QuantityField(source="coupon.percent", allow_null=True)
    amount_minor = serializers.IntegerField(source="coupon.amount_minor")
    periods = serializers.IntegerField(source="coupon.periods")
    from_at = UtcDateTimeField()
    redeemed_at = UtcDateTimeField()


class PackInput(serializers.Serializer[Any]):
    """Which of the plan's packs."""

    pack = serializers.CharField(max_length=40)


class OutcomeInput(serializers.Serializer[Any]):
    """A result: whose, of which item of their plan, under which name, and when it occurred."""

    customer = ExternalIdField()
    outcome = serializers.CharField(max_length=40)
    identifier = serializers.CharField(max_length=128)
    occurred_at = UtcDateTimeField()
    note = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class OutcomeOutput(serializers.Serializer[Any]):
    """A result with its price, and what was last decided on it."""

    id = serializers.IntegerField()
    customer = serializers.CharField(source="customer.external_id")
    outcome = serializers.CharField(source="item.code")
    identifier = serializers.CharField()
    state = serializers.CharField()
    price = AmountField("item.amount_minor", currency="item.plan_version.currency")
    currency = serializers.CharField(source="item.plan_version.currency")
    occurred_at = UtcDateTimeField()
    note = serializers.CharField()
    created_at = UtcDateTimeField()


class OutcomeQuery(serializers.Serializer[Any]):
    """Which outcomes."""

    customer = ExternalIdField(required=False)
    state = serializers.ChoiceField(choices=OutcomeState.choices, required=False)


class DecisionInput(serializers.Serializer[Any]):
    """What is decided, and why."""

    state = serializers.ChoiceField(choices=["accepted", "rejected", "disputed"])
    reason = serializers.CharField(max_length=300)


class DecisionOutput(serializers.Serializer[Any]):
    """One decision; they are numbered from 1."""

    sequence = serializers.IntegerField()
    state_before = serializers.CharField()
    state = serializers.CharField()
    reason = serializers.CharField()
    decided_at = UtcDateTimeField()


class SeatsView(ApiView):
    """Seats of a subscription."""

    scopes: ClassVar[dict[str, str]] = _CHANGE
    requires_idempotency_key = True

    @extend_schema(request=SeatChangeInput, responses={201: SeatChangeOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Add seats or remove some: charged, or credited, for the days that are left."""
        wanted = self.valid(SeatChangeInput, request.data)
        at = clock.now()
        change = change_seats(
            subscription=find_subscription(subscription_id),
            seats=wanted["seats"],
            effective_at=wanted.get("effective_at", at),
            reason=wanted["reason"],
            key=caller_key(request),
            by=cast(User, request.user),
            at=at,
        )
        return Response(SeatChangeOutput(change).data, status=201)

    @extend_schema(responses=SeatChangeOutput(many=True))
    def get(self, request: Request, subscription_id: int) -> Response:
        """List changes of seats, newest first."""
        changes = find_subscription(subscription_id).seats.order_by("-id")
        return self.page(request, changes, SeatChangeOutput)


class CouponsView(ApiView):
    """Coupons on a subscription."""

    scopes: ClassVar[dict[str, str]] = _CHANGE

    @extend_schema(request=CouponInput, responses={201: RedemptionOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Redeem a coupon: it lowers claims from the next period that begins on."""
        wanted = self.valid(CouponInput, request.data)
        redemption = redeem_coupon(
            subscription=find_subscription(subscription_id),
            code=wanted["code"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(RedemptionOutput(redemption).data, status=201)

    @extend_schema(responses=RedemptionOutput(many=True))
    def get(self, request: Request, subscription_id: int) -> Response:
        """List redeemed coupons, newest first."""
        found = redemptions_of(find_subscription(subscription_id)).order_by("-id")
        return self.page(request, found, RedemptionOutput)


class PacksView(ApiView):
    """Credit packs that a subscription's plan sells."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(request=PackInput, responses={201: InvoiceOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Buy a pack at the plan's price: invoiced at once, granted once that is paid."""
        wanted = self.valid(PackInput, request.data)
        subscription = find_subscription(subscription_id)
        refuse_repeated(request, Invoice.objects.filter(customer=subscription.customer_id))
        invoice = buy_pack(
            subscription=subscription,
            code=wanted["pack"],
            key=caller_key(request),
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(InvoiceOutput(invoice).data, status=201)


class OutcomesView(ApiView):
    """Results that are sold by the piece."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "events:write"}

    @extend_schema(request=OutcomeInput, responses={201: OutcomeOutput})
    def post(self, request: Request) -> Response:
        """Report a result; it is billed only once it is accepted."""
        wanted = self.valid(OutcomeInput, request.data)
        outcome = record_outcome(
            customer=customer_named(wanted["customer"]),
            code=wanted["outcome"],
            identifier=wanted["identifier"],
            occurred_at=wanted["occurred_at"],
            note=wanted["note"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(OutcomeOutput(outcome).data, status=201)

    @extend_schema(
        parameters=[OpenApiParameter("customer", str), OpenApiParameter("state", str)],
        responses=OutcomeOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List outcomes, newest first."""
        query = self.valid_query(OutcomeQuery)
        found = outcomes(query.get("customer"), query.get("state"))
        return self.page(request, found, OutcomeOutput)


class OutcomeDecisionsView(ApiView):
    """What is decided on a result."""

    scopes: ClassVar[dict[str, str]] = _CHANGE

    @extend_schema(request=DecisionInput, responses={201: DecisionOutput})
    def post(self, request: Request, outcome_id: int) -> Response:
        """Accept, reject or dispute; what is accepted is billed at its period's end."""
        wanted = self.valid(DecisionInput, request.data)
        decision = decide_outcome(
            outcome=find_outcome(outcome_id),
            state=wanted["state"],
            reason=wanted["reason"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(DecisionOutput(decision).data, status=201)

    @extend_schema(responses=DecisionOutput(many=True))
    def get(self, request: Request, outcome_id: int) -> Response:
        """List the decisions on a result, newest first."""
        decisions = find_outcome(outcome_id).decisions.order_by("-id")
        return self.page(request, decisions, DecisionOutput)
