"""Ask before work begins, and say afterwards what it was: the request path over REST."""

import re
from typing import Any, ClassVar, cast

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.keys import known_api_key
from billing_project.kernel.models import ApiKey
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.auth import ApiKeyAuthentication
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.models import Hold, HoldState
from credits.services.authorizing import LONGEST_HOLD, Answer, authorize
from credits.services.holds import hold_called, release_hold, settle_hold
from credits.services.standing import Request
from credits.spend import Reason
from metering.aggregation import Value
from metering.selectors.customers import customer_named, workspace_named

_NAME = r"[A-Za-z0-9._:@+/-]{1,128}"
NAME = re.compile(_NAME)
_MOST_PROPERTIES = 50


class NameField(serializers.RegexField):
    """A caller's own name of a model, a job or a request; "" says nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(regex=rf"^({_NAME})?\Z", required=False, allow_blank=True, **kwargs)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "examples": [{"input_tokens": "1200", "output_tokens": "4000"}],
    }
)
class PropertiesField(serializers.Field[dict[str, Value], Any, dict[str, str], Any]):
    """Properties of the event to come: a flat object of text, numbers and booleans."""

    default_error_messages = {
        "invalid": "must be a flat object of 1 to 50 properties, each text, number or boolean"
    }

    def to_internal_value(self, data: object) -> dict[str, Value]:
        """Refuse what no event could carry."""
        if not isinstance(data, dict) or not 1 <= len(data) <= _MOST_PROPERTIES:
            self.fail("invalid")
        for name, value in data.items():
            is_fine = isinstance(value, str | int | bool) or hasattr(value, "as_tuple")
            is_long = isinstance(value, str) and (len(value) > 1_000 or "\x00" in value)
            if not is_fine or is_long or not 1 <= len(name) <= 100 or "\x00" in name:
                self.fail("invalid")
        return data


class AuthorizationRequest(serializers.Serializer[Any]):
    """Work that wants to begin: whose it is, and what it will use or cost."""

    customer = ExternalIdField()
    workspace = ExternalIdField(required=False, allow_null=True, default=None)
    model = NameField(default="")
    job = NameField(default="")
    request = NameField(default="", help_text="Your name for this piece of work: again is a retry.")
    estimate = PropertiesField(required=False)
    event_name = NameField(default="", help_text="Needed where meters of several events read it.")
    credits = QuantityField(required=False)
    unit = serializers.CharField(max_length=32, required=False, default="")
    ttl_seconds = IntegerField(min_value=1, max_value=LONGEST_HOLD, default=600)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take an estimate or credits, and one of them."""
        if ("estimate" in attrs) == ("credits" in attrs):
            raise serializers.ValidationError({"estimate": "send an estimate or credits, not both"})
        if attrs["unit"] and "credits" not in attrs:
            raise serializers.ValidationError({"unit": "goes with credits"})
        return attrs


class LimitUseSerializer(serializers.Serializer[Any]):
    """A limit that applied, as it stood before this work."""

    code = serializers.CharField()
    window = serializers.CharField()
    mode = serializers.CharField()
    ceiling = QuantityField()
    spent = QuantityField()
    held = QuantityField()
    left = QuantityField()
    window_ends_at = UtcDateTimeField(allow_null=True)


class AuthorizationSerializer(serializers.Serializer[Any]):
    """Whether work may begin. What is held is free again at `expires_at` unless settled before."""

    decision = serializers.ChoiceField(choices=["allow", "deny"])
    reason = serializers.ChoiceField(choices=[reason.value for reason in Reason])
    detail = serializers.CharField()
    hold = serializers.CharField(allow_null=True)
    credits = QuantityField()
    unit = serializers.CharField(allow_null=True)
    available = QuantityField(allow_null=True, help_text="After this decision; null: without end.")
    limits = LimitUseSerializer(many=True)
    instead = serializers.CharField(allow_null=True, help_text="The cheaper model that may be used")
    expires_at = UtcDateTimeField(allow_null=True)


class HoldSerializer(serializers.Serializer[Hold]):
    """Credits that are held for work, and what became of them."""

    hold = serializers.CharField(source="key")
    customer = serializers.CharField(source="customer.external_id")
    state = serializers.ChoiceField(choices=HoldState.choices)
    credits = QuantityField()
    unit = serializers.CharField(source="pricing_unit.code")
    identifier = serializers.CharField(allow_null=True)
    expires_at = UtcDateTimeField()

    def to_representation(self, instance: Hold) -> dict[str, Any]:
        """Say null where no event was named."""
        shown = super().to_representation(instance)
        return {**shown, "identifier": instance.identifier or None}


class SettleRequest(serializers.Serializer[Any]):
    """The event that the work became, by its sender's key."""

    identifier = serializers.RegexField(r"^[A-Za-z0-9._:/-]{1,128}\Z")


class _RequestPathView(ApiView):
    """Asked for before each piece of work: what is known of a key is not read again."""

    scopes: ClassVar[dict[str, str]] = {"POST": "authorize", "GET": "authorize"}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Ask only whether a key that was seen before is live."""
        return [ApiKeyAuthentication(known_api_key)]


class AuthorizationsView(_RequestPathView):
    """Decide before work begins."""

    @extend_schema(request=AuthorizationRequest, responses=AuthorizationSerializer)
    def post(self, request: HttpRequest) -> Response:
        """Decide, and hold the credits if the work may begin; a refusal is an answer, too (200)."""
        sent = self.valid(AuthorizationRequest, request.data)
        customer = customer_named(sent["customer"])
        name = sent["workspace"]
        wanted = Request(
            workspace=workspace_named(customer, name) if name else None,
            credits=sent.get("credits"),
            estimate=sent.get("estimate", {}),
            **{
                field: sent[field]
                for field in ("model", "job", "request", "event_name", "unit", "ttl_seconds")
            },
        )
        answer = authorize(
            customer=customer,
            request=wanted,
            api_key=cast(ApiKey, request.auth),
            at=clock.now(),
        )
        return Response(document_of(answer))


class HoldView(_RequestPathView):
    """One hold."""

    @extend_schema(responses=HoldSerializer)
    def get(self, request: HttpRequest, hold: str) -> Response:
        """Say what became of it."""
        return Response(HoldSerializer(hold_called(hold)).data)


class SettleView(_RequestPathView):
    """Say which event the work became."""

    @extend_schema(request=SettleRequest, responses=HoldSerializer)
    def post(self, request: HttpRequest, hold: str) -> Response:
        """Give back what was held too much; again with the same event changes nothing."""
        identifier = self.valid(SettleRequest, request.data)["identifier"]
        settled = settle_hold(hold=hold_called(hold), identifier=identifier, at=clock.now())
        return Response(HoldSerializer(settled).data)


class ReleaseView(_RequestPathView):
    """Say that the work did not happen."""

    @extend_schema(request=None, responses=HoldSerializer)
    def post(self, request: HttpRequest, hold: str) -> Response:
        """Give all of it back; again changes nothing."""
        self.valid(serializers.Serializer, request.data)
        return Response(HoldSerializer(release_hold(hold=hold_called(hold), at=clock.now())).data)


def document_of(answer: Answer) -> dict[str, Any]:
    """Return the document that `AuthorizationSerializer` describes."""
    decision, hold = answer.decision, answer.hold
    available = decision.available
    if available is not None and hold is not None:
        available = max(available - hold.credits, available - available)
    unit = answer.authorization.pricing_unit
    return {
        "decision": "allow" if decision.is_allowed else "deny",
        "reason": decision.reason.value,
        "detail": answer.authorization.detail,
        "hold": hold.key if hold else None,
        "credits": plain(answer.authorization.credits),
        "unit": unit.code if unit else None,
        "available": None if available is None else plain(available),
        "limits": [use.document() for use in answer.limits],
        "instead": decision.instead or None,
        "expires_at": UtcDateTimeField().to_representation(hold.expires_at) if hold else None,
    }


urlpatterns = [
    path("authorizations", AuthorizationsView.as_view()),
    path("authorizations/<str:hold>", HoldView.as_view()),
    path("authorizations/<str:hold>/settle", SettleView.as_view()),
    path("authorizations/<str:hold>/release", ReleaseView.as_view()),
]
