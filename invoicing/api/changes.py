"""/v1/subscriptions/{id}/...: another plan, a pause, an end; what each would do, and undoing it."""

from datetime import datetime
from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import ApiKey, User
from billing_project.kernel.rest.fields import QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from invoicing.api.fields import AmountField
from invoicing.api.subscriptions import SubscriptionOutput, version_of
from invoicing.models import ChangeKind, Subscription, SubscriptionChange
from invoicing.phases import Moment
from invoicing.selectors import find_subscription
from invoicing.selectors.changes import phase_of
from invoicing.services.change_previews import preview_change
from invoicing.services.changes import Asked, change_subscription, undo_change

_READ: dict[str, str] = {"GET": "invoices:read"}
_WRITE: dict[str, str] = {"POST": "admin"}
_KINDS = (ChangeKind.PLAN, ChangeKind.PAUSE, ChangeKind.RESUME, ChangeKind.CANCEL)


@extend_schema_field({"type": "string", "examples": ["now", "period_end", "2026-12-01T00:00:00Z"]})
class WhenField(UtcDateTimeField):
    """`now`, `period_end`, or an RFC 3339 instant to come."""

    default_error_messages = {
        "invalid": "must be now, period_end or an RFC 3339 instant (2026-12-01T00:00:00Z)"
    }

    def to_internal_value(self, data: object) -> Any:
        """Read a moment or an instant."""
        if isinstance(data, str) and data in set(Moment):
            return Moment(data)
        return super().to_internal_value(data)


class ChangeInput(serializers.Serializer[Any]):
    """When it takes effect, and why: an auditor reads it later."""

    when = WhenField(default=Moment.NOW)  # type: ignore[arg-type]
    reason = serializers.CharField(max_length=1000)


class PlanChangeInput(ChangeInput):
    """Another plan: its newest approved version that governs then."""

    plan = serializers.CharField(max_length=64)


class CancelInput(ChangeInput):
    """An end; whether the days that were paid and are not served are given back."""

    credit_unused = serializers.BooleanField(default=True)


class PreviewInput(serializers.Serializer[Any]):
    """A change that nobody makes yet."""

    kind = serializers.ChoiceField(choices=[kind.value for kind in _KINDS])
    plan = serializers.CharField(max_length=64, required=False)
    when = WhenField(default=Moment.NOW)  # type: ignore[arg-type]
    credit_unused = serializers.BooleanField(default=True)


class UndoInput(serializers.Serializer[Any]):
    """Why it is taken back."""

    reason = serializers.CharField(max_length=1000)


class ChangeOutput(serializers.Serializer[Any]):
    """A change, and from when it holds."""

    id = serializers.IntegerField()
    subscription = serializers.IntegerField(source="subscription_id")
    kind = serializers.CharField()
    plan = serializers.CharField(source="plan_version.plan.code", allow_null=True, default=None)
    plan_version = serializers.IntegerField(
        source="plan_version.number", allow_null=True, default=None
    )
    effective_at = UtcDateTimeField()
    credit_unused = serializers.BooleanField(source="credits_unused")
    reason = serializers.CharField()
    created_at = UtcDateTimeField()
    undone_at = UtcDateTimeField(allow_null=True)


class EffectOutput(serializers.Serializer[Any]):
    """One amount with its arithmetic and its service period."""

    description = serializers.CharField()
    amount = AmountField("amount.amount_minor", currency="amount.currency")
    start_at = UtcDateTimeField()
    end_at = UtcDateTimeField()


class ChangePreviewOutput(serializers.Serializer[Any]):
    """What a change would do; nothing of it is stored."""

    effective_at = UtcDateTimeField()
    plan = serializers.CharField()
    begins_at = UtcDateTimeField(allow_null=True)
    ends_at = UtcDateTimeField(allow_null=True)
    currency = serializers.CharField()
    unused = EffectOutput(many=True)
    charges = EffectOutput(many=True)
    unused_total = AmountField("unused_minor")
    charged_total = AmountField("charged_minor")
    net = AmountField("net_minor")
    credits = QuantityField()


class SubscriptionStateOutput(SubscriptionOutput):
    """A purchase with what holds now."""

    standing = serializers.SerializerMethodField()

    def get_standing(self, subscription: Subscription) -> str:
        """Say whether it is active, in trial, paused or ended."""
        at = clock.now()
        if subscription.ends_at is not None and subscription.ends_at <= at:
            return "ended"
        return phase_of(subscription, at).standing.value


class SubscriptionView(ApiView):
    """One subscription."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses=SubscriptionStateOutput)
    def get(self, request: Request, subscription_id: int) -> Response:
        """Show a subscription with the plan and the standing that it has now."""
        return Response(SubscriptionStateOutput(find_subscription(subscription_id)).data)


class SubscriptionChangesView(ApiView):
    """What was changed about a subscription."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses=ChangeOutput(many=True))
    def get(self, request: Request, subscription_id: int) -> Response:
        """List changes, the newest first; undone ones among them."""
        found = SubscriptionChange.objects.filter(subscription=find_subscription(subscription_id))
        return self.page(
            request, found.select_related("plan_version__plan").order_by("-id"), ChangeOutput
        )


class _Changing(ApiView):
    """The base of endpoints that change a subscription."""

    scopes: ClassVar[dict[str, str]] = _WRITE
    requires_idempotency_key = True
    kind: ClassVar[ChangeKind]
    form: ClassVar[type[ChangeInput]] = ChangeInput

    def _change(self, request: Request, subscription_id: int) -> Response:
        wanted = self.valid(self.form, request.data)
        subscription, at = find_subscription(subscription_id), clock.now()
        change = change_subscription(
            subscription=subscription,
            asked=_asked(subscription, self.kind, wanted, wanted["reason"], _key(request), at),
            by=cast(User, request.user),
            at=at,
        )
        return Response(ChangeOutput(change).data, status=201)


class PlanChangeView(_Changing):
    """Upgrade or downgrade."""

    kind = ChangeKind.PLAN
    form = PlanChangeInput

    @extend_schema(request=PlanChangeInput, responses={201: ChangeOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Change the plan: at once, at the period's end, or at an instant to come."""
        return self._change(request, subscription_id)


class PauseView(_Changing):
    """Stop fee and included credits for a while."""

    kind = ChangeKind.PAUSE

    @extend_schema(request=ChangeInput, responses={201: ChangeOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Pause; usage meanwhile is still rated and billed."""
        return self._change(request, subscription_id)


class ResumeView(_Changing):
    """Go on after a pause."""

    kind = ChangeKind.RESUME

    @extend_schema(request=ChangeInput, responses={201: ChangeOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Resume; the days that are left of the period are charged."""
        return self._change(request, subscription_id)


class CancelView(_Changing):
    """End a subscription."""

    kind = ChangeKind.CANCEL
    form = CancelInput

    @extend_schema(request=CancelInput, responses={201: ChangeOutput})
    def post(self, request: Request, subscription_id: int) -> Response:
        """Cancel, at once or at the period's end; the latter can be undone until then."""
        return self._change(request, subscription_id)


class ChangePreviewView(ApiView):
    """What a change would do."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    takes_idempotency_key = False

    @extend_schema(request=PreviewInput, responses=ChangePreviewOutput)
    def post(self, request: Request, subscription_id: int) -> Response:
        """Show the effect on invoices, credits and revenue without changing anything."""
        wanted = self.valid(PreviewInput, request.data)
        subscription, at = find_subscription(subscription_id), clock.now()
        kind = ChangeKind(wanted["kind"])
        seen = preview_change(
            subscription=subscription,
            asked=_asked(subscription, kind, wanted, "preview", f"preview:{at.isoformat()}", at),
            by=cast(User, request.user),
            at=at,
        )
        return Response(ChangePreviewOutput(seen).data)


class UndoChangeView(ApiView):
    """Take back a change that did not take effect yet."""

    scopes: ClassVar[dict[str, str]] = _WRITE
    requires_idempotency_key = True

    @extend_schema(request=UndoInput, responses=ChangeOutput)
    def post(self, request: Request, subscription_id: int, change_id: int) -> Response:
        """Undo a scheduled change."""
        wanted = self.valid(UndoInput, request.data)
        found = SubscriptionChange.objects.filter(subscription=subscription_id, pk=change_id)
        change = found.select_related("subscription").first()
        if change is None:
            raise NotFound(f"subscription {subscription_id} has no change {change_id}")
        undone = undo_change(
            change=change,
            reason=wanted["reason"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(ChangeOutput(undone).data)


def _asked(
    subscription: Subscription,
    kind: ChangeKind,
    wanted: dict[str, Any],
    reason: str,
    key: str,
    at: datetime,
) -> Asked:
    when, version = wanted["when"], None
    if kind == ChangeKind.PLAN and wanted.get("plan"):
        begins_at = when if isinstance(when, datetime) else at
        version = version_of(wanted["plan"], begins_at, subscription.customer)
    return Asked(kind, when, reason, key, version, wanted.get("credit_unused", True))


def _key(request: Request) -> str:
    """Name a change after its caller's key, within the column's length."""
    api_key = cast(ApiKey, request.auth)
    return f"api:{api_key.public_id}:{sha256_hex(request.headers['Idempotency-Key'])}"
