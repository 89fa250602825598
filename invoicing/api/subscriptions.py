"""POST and GET /v1/subscriptions."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, IntegerField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from invoicing.models import Plan, PlanVersion, Subscription
from invoicing.selectors import (
    governing_plan_version,
    next_terms_at,
    plan_version_now,
    subscriptions,
    terms_end_before,
)
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from metering.selectors.customers import customer_named

_EARLIEST = timedelta(days=400)


class SubscriptionInput(serializers.Serializer[Any]):
    """Who buys which plan, from when."""

    customer = ExternalIdField()
    plan = serializers.CharField(max_length=64)
    start_at = UtcDateTimeField()
    seats = IntegerField(required=False, default=0, min_value=0)
    coupon = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    trial_until = UtcDateTimeField(required=False, allow_null=True, default=None)


class SubscriptionOutput(serializers.Serializer[Any]):
    """A purchase with the version of the plan that it has now."""

    id = serializers.IntegerField()
    customer = serializers.CharField(source="customer.external_id")
    plan = serializers.SerializerMethodField()
    plan_version = serializers.SerializerMethodField()
    start_at = UtcDateTimeField()
    ends_at = UtcDateTimeField(allow_null=True)
    created_at = UtcDateTimeField()

    def get_plan(self, subscription: Subscription) -> str:
        """Name the plan."""
        return plan_version_now(subscription, clock.now()).plan.code

    def get_plan_version(self, subscription: Subscription) -> int:
        """Number its version."""
        return plan_version_now(subscription, clock.now()).number


class SubscriptionQuery(serializers.Serializer[Any]):
    """Whose subscriptions."""

    customer = ExternalIdField(required=False)


class SubscriptionsView(ApiView):
    """Sell plans, and list what was sold."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(request=SubscriptionInput, responses={201: SubscriptionOutput})
    def post(self, request: Request) -> Response:
        """Subscribe a customer to the plan's newest approved version that governs at the start."""
        wanted = self.valid(SubscriptionInput, request.data)
        at = clock.now()
        if not at - _EARLIEST <= wanted["start_at"] <= at:
            raise Invalid(f"start_at is within the {_EARLIEST.days} days up to now")
        customer = customer_named(wanted["customer"])
        sold = subscribe(
            customer=customer,
            plan_version=version_of(wanted["plan"], wanted["start_at"], customer),
            start_at=wanted["start_at"],
            trial_until=wanted["trial_until"],
            by=cast(User, request.user),
            at=at,
            seats=wanted["seats"],
            coupon=wanted["coupon"],
        )
        return Response(SubscriptionOutput(sold).data, status=201)

    @extend_schema(
        parameters=[OpenApiParameter("customer", str)], responses=SubscriptionOutput(many=True)
    )
    def get(self, request: Request) -> Response:
        """List subscriptions, newest first."""
        query = self.valid_query(SubscriptionQuery)
        return self.page(request, subscriptions(query.get("customer")), SubscriptionOutput)


def version_of(code: str, at: datetime, customer: Customer) -> PlanVersion:
    """Return the version of a plan that governs for a customer: their own, or else anybody's.

    Raises:
        NotFound: no such plan.
        Conflict: it has no approved version then; the message says what is missing.
    """
    plan = Plan.objects.filter(code=code).first()
    if plan is None:
        raise NotFound(f"no plan has the code {code}")
    version = governing_plan_version(plan, at, customer)
    if version is None:
        raise Conflict(_no_terms(plan, at))
    return version


def _no_terms(plan: Plan, at: datetime) -> str:
    """Say that a plan has no terms at an instant, and what is missing around it."""
    words = [f"plan {plan.code} has no approved version at {at.isoformat()}"]
    if ended_at := terms_end_before(plan, at):
        words.append(f"the one before ended at {ended_at.isoformat()}")
    if begins_at := next_terms_at(plan, at):
        words.append(f"the next one begins at {begins_at.isoformat()}")
    return "; ".join(words)
