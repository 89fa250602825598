"""/v1/webhook_endpoints and /v1/webhook_deliveries: who is told what happens, and who has it."""

from typing import Any, ClassVar, cast

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint
from billing_project.kernel.rest.fields import IntegerField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from billing_project.kernel.webhooks.endpoints import (
    Wish,
    change_endpoint,
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    endpoint_with,
    rotate_secret,
)
from billing_project.kernel.webhooks.replaying import replay_delivery, replay_range, send_test

_ADMIN: dict[str, str] = {"GET": "admin", "POST": "admin", "PATCH": "admin"}
_STATES = {"waits": "next_try_at", "delivered": "delivered_at", "given_up": "given_up_at"}


class EndpointInput(serializers.Serializer[Any]):
    """Where an endpoint is, what it wants to be told, and who looks after it."""

    url = serializers.CharField(max_length=1_000, help_text="https, of a host on the internet.")
    events = serializers.ListField(
        child=serializers.CharField(max_length=40), min_length=1, max_length=50,
        help_text='Kinds as "invoice.paid", or "*" alone for all, also those of later releases.',
    )  # fmt: skip
    owner = serializers.CharField(max_length=150, help_text="User name of who looks after it.")
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)


class EndpointChange(EndpointInput):
    """What is to change; what is left out stays."""

    is_enabled = serializers.BooleanField(required=False)
    reason = serializers.CharField(max_length=300, required=False)


class EndpointOutput(serializers.Serializer[WebhookEndpoint]):
    """An endpoint; its secret is never shown again."""

    id = serializers.CharField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    owner = serializers.CharField(source="owner.username")
    description = serializers.CharField()
    state = serializers.ChoiceField(choices=["enabled", "failing", "disabled"])
    failing_since = UtcDateTimeField(allow_null=True)
    disabled_at = UtcDateTimeField(allow_null=True)
    disabled_reason = serializers.CharField()
    created_at = UtcDateTimeField()


class NewEndpointOutput(EndpointOutput):
    """An endpoint with its secret, which is shown this once."""

    secret = serializers.CharField(help_text="whsec_ and base64, as Standard Webhooks writes it.")


class SecretOutput(serializers.Serializer[Any]):
    """Another secret, shown this once; the one before signs beside it for a day."""

    secret = serializers.CharField()


class DeliveryOutput(serializers.Serializer[WebhookDelivery]):
    """One event for one endpoint, and how far it is."""

    id = serializers.CharField()
    endpoint = serializers.CharField(source="endpoint_id")
    webhook_id = serializers.CharField(source="event.message_id")
    type = serializers.CharField(source="event.kind")
    state = serializers.SerializerMethodField()
    attempts = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="Of the last answer.")
    failure = serializers.CharField()
    queued_at = UtcDateTimeField()
    last_tried_at = UtcDateTimeField(allow_null=True)
    next_try_at = UtcDateTimeField(allow_null=True)
    delivered_at = UtcDateTimeField(allow_null=True)
    given_up_at = UtcDateTimeField(allow_null=True)

    def get_state(self, delivery: WebhookDelivery) -> str:
        """Say how far it is, as the query asks for it."""
        return delivery.state.replace(" ", "_")


class DeliveryQuery(serializers.Serializer[Any]):
    """Which deliveries."""

    endpoint = IntegerField(required=False, min_value=1, max_value=2**62)
    state = serializers.ChoiceField(choices=sorted(_STATES), required=False)


class RangeInput(serializers.Serializer[Any]):
    """From when to when it is told again; half-open."""

    since = UtcDateTimeField()
    until = UtcDateTimeField()
    with_delivered = serializers.BooleanField(required=False, default=False)


class RangeOutput(serializers.Serializer[Any]):
    """How many deliveries wait again."""

    replayed = serializers.IntegerField()


class NothingInput(serializers.Serializer[Any]):
    """Nothing: all is in the address."""


class EndpointsView(ApiView):
    """Other systems that are told what happens here.

    Making one takes no idempotency key: its address is its key, and the answer, which holds the
    secret, is stored nowhere.
    """

    scopes = _ADMIN
    takes_idempotency_key: ClassVar[bool] = False

    @extend_schema(responses=EndpointOutput(many=True))
    def get(self, request: Request) -> Response:
        """List all endpoints, newest first."""
        rows = WebhookEndpoint.objects.select_related("owner").order_by("-pk")
        return self.page(request, rows, EndpointOutput)

    @extend_schema(request=EndpointInput, responses={201: NewEndpointOutput})
    def post(self, request: Request) -> Response:
        """Make an endpoint. The secret in the answer is shown this once."""
        sent = self.valid(EndpointInput, request.data)
        endpoint, secret = create_endpoint(
            wish=_wish(sent), by=cast(User, request.user), at=clock.now()
        )
        return Response({**EndpointOutput(endpoint).data, "secret": secret}, status=201)


class EndpointView(ApiView):
    """One endpoint."""

    scopes = _ADMIN

    @extend_schema(responses=EndpointOutput)
    def get(self, request: Request, endpoint_id: int) -> Response:
        """Show an endpoint."""
        return Response(EndpointOutput(endpoint_with(endpoint_id)).data)

    @extend_schema(request=EndpointChange(partial=True), responses=EndpointOutput)
    def patch(self, request: Request, endpoint_id: int) -> Response:
        """Change an endpoint, or switch it off (`reason` says why) or on."""
        sent = self.valid(EndpointChange, request.data, partial=True)
        endpoint = endpoint_with(endpoint_id)
        by, at = cast(User, request.user), clock.now()
        if sent.keys() & EndpointInput().fields.keys():
            endpoint = change_endpoint(endpoint=endpoint, wish=_wish(sent, endpoint), by=by, at=at)
        if "is_enabled" in sent:
            act = enable_endpoint if sent["is_enabled"] else disable_endpoint
            endpoint = act(endpoint=endpoint, reason=sent.get("reason", ""), by=by, at=at)
        return Response(EndpointOutput(endpoint).data)


class EndpointSecretView(ApiView):
    """The secret of an endpoint; the answer is stored nowhere."""

    scopes = _ADMIN
    takes_idempotency_key: ClassVar[bool] = False

    @extend_schema(request=None, responses={201: SecretOutput})
    def post(self, request: Request, endpoint_id: int) -> Response:
        """Draw another secret; the one before stays valid for a day."""
        self.valid(NothingInput, request.data)
        by = cast(User, request.user)
        secret = rotate_secret(endpoint=endpoint_with(endpoint_id), by=by, at=clock.now())
        return Response({"secret": secret}, status=201)


class EndpointTestView(ApiView):
    """A test of an endpoint."""

    scopes = _ADMIN

    @extend_schema(request=None, responses={201: DeliveryOutput})
    def post(self, request: Request, endpoint_id: int) -> Response:
        """Queue an event that says nothing, to see whether the endpoint takes it."""
        self.valid(NothingInput, request.data)
        by = cast(User, request.user)
        delivery = send_test(endpoint=endpoint_with(endpoint_id), by=by, at=clock.now())
        return Response(DeliveryOutput(delivery).data, status=201)


class EndpointReplayView(ApiView):
    """What an endpoint missed."""

    scopes = _ADMIN

    @extend_schema(request=RangeInput, responses=RangeOutput)
    def post(self, request: Request, endpoint_id: int) -> Response:
        """Send again what an endpoint was not told of events in a time, under the same ids."""
        sent = self.valid(RangeInput, request.data)
        count = replay_range(
            endpoint=endpoint_with(endpoint_id), since=sent["since"], until=sent["until"],
            with_taken=sent["with_delivered"], by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response({"replayed": count})


class DeliveriesView(ApiView):
    """Which event reached which endpoint."""

    scopes = _ADMIN

    @extend_schema(parameters=[DeliveryQuery], responses=DeliveryOutput(many=True))
    def get(self, request: Request) -> Response:
        """List deliveries, newest first."""
        query = self.valid_query(DeliveryQuery)
        rows = WebhookDelivery.objects.select_related("event").order_by("-pk")
        if pk := query.get("endpoint"):
            rows = rows.filter(endpoint=endpoint_with(pk))
        if state := query.get("state"):
            rows = rows.filter(**{f"{_STATES[state]}__isnull": False})
        return self.page(request, rows, DeliveryOutput)


class DeliveryReplayView(ApiView):
    """One delivery, again."""

    scopes = _ADMIN

    @extend_schema(request=None, responses=DeliveryOutput)
    def post(self, request: Request, delivery_id: int) -> Response:
        """Send a delivery again under the same webhook-id."""
        self.valid(NothingInput, request.data)
        rows = WebhookDelivery.objects.select_related("event", "endpoint")
        delivery = rows.filter(pk=delivery_id).first()
        if delivery is None:
            raise NotFound(f"no delivery has the id {delivery_id}")
        by = cast(User, request.user)
        return Response(
            DeliveryOutput(replay_delivery(delivery=delivery, by=by, at=clock.now())).data
        )


def _wish(sent: dict[str, Any], now: WebhookEndpoint | None = None) -> Wish:
    """Read what an endpoint is to be; what is not said stays as it is now."""
    owner = _person(sent["owner"]) if "owner" in sent or now is None else now.owner
    return Wish(
        url=sent.get("url", now.url if now else ""),
        events=sent.get("events", now.events if now else ()),
        owner=owner,
        description=sent.get("description", now.description if now else ""),
    )


def _person(username: str) -> User:
    found = User.objects.filter(username=username).first()
    if found is None:
        raise Invalid(f"nobody is called {username}", field="owner")
    return found


urlpatterns = [
    path("webhook_endpoints", EndpointsView.as_view()),
    path("webhook_endpoints/<int:endpoint_id>", EndpointView.as_view()),
    path("webhook_endpoints/<int:endpoint_id>/rotate_secret", EndpointSecretView.as_view()),
    path("webhook_endpoints/<int:endpoint_id>/test", EndpointTestView.as_view()),
    path("webhook_endpoints/<int:endpoint_id>/replay", EndpointReplayView.as_view()),
    path("webhook_deliveries", DeliveriesView.as_view()),
    path("webhook_deliveries/<int:delivery_id>/replay", DeliveryReplayView.as_view()),
]
