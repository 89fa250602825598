"""Who is told by webhook, what happened, and which deliveries wait, were taken or given up."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, document, link, moment, pairs
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import (
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)
from billing_project.kernel.webhooks.announcing import ALL, webhook_kinds
from billing_project.kernel.webhooks.endpoints import (
    Wish,
    change_endpoint,
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    rotate_secret,
)
from billing_project.kernel.webhooks.replaying import replay_delivery, replay_range, send_test

MANAGE = "kernel.manage_webhookendpoint"
_STATES = {"waits": "wait", "delivered": "good", "given up": "bad"}
_ENDPOINTS = {"enabled": "good", "failing": "wait", "disabled": "bad"}
_SHOWN_ONCE = "Its secret is shown here once, give it to the receiver now: {}"


class EndpointForm(ActionForm):
    """Where an endpoint is, what it wants to be told, and who looks after it."""

    url = forms.CharField(
        label="Address", max_length=1_000, widget=UnfoldAdminTextInputWidget,
        help_text="https, of a host on the open internet. Redirects are not followed.",
    )  # fmt: skip
    description = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget)
    owner = forms.ModelChoiceField(
        queryset=User.objects.filter(is_active=True, is_service=False).order_by("username"),
        widget=UnfoldAdminSelectWidget,
        help_text="Is told by mail when it is switched off because it takes nothing.",
    )
    events = forms.MultipleChoiceField(
        widget=UnfoldAdminCheckboxSelectMultipleWidget, label="Tell it of"
    )

    def __init__(self, *args: Any, subject: Model | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        every = (ALL, "everything, what later releases add as well")
        known = [(kind.code, f"{kind.code}: {kind.says}") for kind in webhook_kinds()]
        self.fields["events"].choices = [every, *known]  # type: ignore[attr-defined]
        if isinstance(subject, WebhookEndpoint):
            for name in ("url", "description", "owner", "events"):
                self.fields[name].initial = getattr(subject, name)

    def wish(self) -> Wish:
        """Return what is wanted; everything includes the rest."""
        said = self.cleaned_data
        events = [ALL] if ALL in said["events"] else said["events"]
        return Wish(said["url"].strip(), events, said["owner"], said["description"])


class RangeForm(ActionForm):
    """From when to when it is told again."""

    since = forms.SplitDateTimeField(
        label="Happened from (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    until = forms.SplitDateTimeField(label="Until (UTC)", widget=UnfoldAdminSplitDateTimeWidget)
    with_taken = forms.BooleanField(
        label="Send what it has taken as well", required=False, widget=UnfoldBooleanWidget
    )


class SecretInline(ReadOnlyInline):
    """Since when messages are signed with a secret; the secret itself is stored nowhere."""

    model = WebhookSecret
    verbose_name_plural = "secrets"
    fields = (moment("made_at", "made"), link("made_by", "by"), moment("ends_at", "ends"))
    list_select_related = ("made_by",)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Other systems that are told what happens here."""

    list_display = (
        "url",
        "description",
        pairs("events"),
        link("owner"),
        badge("state", _ENDPOINTS),
        moment("failing_since"),
        moment("created_at", "made"),
    )
    list_filter = (("disabled_at", admin.EmptyFieldListFilter),)
    list_select_related = ("owner", "created_by")
    search_fields = ("url", "description", "owner__username")
    search_help_text = "Address, description or owner"
    fields = (
        "url",
        "description",
        pairs("events", "is told of"),
        link("owner"),
        badge("state", _ENDPOINTS),
        moment("failing_since"),
        (moment("disabled_at", "switched off"), "disabled_reason"),
        (moment("created_at", "made"), link("created_by", "by")),
    )
    inlines = (SecretInline,)
    actions_list = ("new_endpoint",)
    actions_detail = ("edit", "send_test", "replay", "rotate", "enable", "disable")

    @list_action(
        "New endpoint",
        permission=MANAGE,
        form=EndpointForm,
        explanation="From now on it is told what happens, signed as Standard Webhooks says. Its"
        " secret is shown once, after this.",
    )
    def new_endpoint(self, by: User, form: EndpointForm) -> tuple[Model, str]:
        """Make an endpoint and show its secret."""
        endpoint, secret = create_endpoint(wish=form.wish(), by=by, at=now())
        return endpoint, _SHOWN_ONCE.format(secret)

    @form_action(
        "Change",
        permission=MANAGE,
        form=EndpointForm,
        explanation="What waits for it goes to the new address.",
    )
    def edit(self, by: User, endpoint: WebhookEndpoint, form: EndpointForm) -> str:
        """Change an endpoint."""
        change_endpoint(endpoint=endpoint, wish=form.wish(), by=by, at=now())
        return "Changed."

    @form_action(
        "Send a test",
        permission=MANAGE,
        form=ActionForm,
        icon="send",
        offered=lambda endpoint: endpoint.is_enabled,
        explanation="An event that says nothing, to see whether the receiver takes it.",
    )
    def send_test(self, by: User, endpoint: WebhookEndpoint, form: ActionForm) -> str:
        """Queue a test."""
        send_test(endpoint=endpoint, by=by, at=now())
        return "It goes out within a minute; see its deliveries."

    @form_action(
        "Send again",
        permission=MANAGE,
        form=RangeForm,
        icon="replay",
        offered=lambda endpoint: endpoint.is_enabled,
        explanation="All that it was not told of what happened in a time, under the same ids.",
    )
    def replay(self, by: User, endpoint: WebhookEndpoint, form: RangeForm) -> str:
        """Send again what was missed in a time."""
        said = form.cleaned_data
        count = replay_range(
            endpoint=endpoint, since=said["since"], until=said["until"],
            with_taken=said["with_taken"], by=by, at=now(),
        )  # fmt: skip
        return f"Sent again: {count}."

    @form_action(
        "New secret",
        permission=MANAGE,
        form=ReasonForm,
        icon="key",
        explanation="Messages are signed with the old and the new secret for a day; within it the"
        " receiver has to know the new one.",
    )
    def rotate(self, by: User, endpoint: WebhookEndpoint, form: ReasonForm) -> str:
        """Draw another secret and show it."""
        return _SHOWN_ONCE.format(rotate_secret(endpoint=endpoint, by=by, at=now()))

    @form_action(
        "Switch on",
        permission=MANAGE,
        icon="play_arrow",
        offered=lambda endpoint: not endpoint.is_enabled,
        explanation="It is told again from now on. Send again what it missed.",
    )
    def enable(self, by: User, endpoint: WebhookEndpoint, form: ReasonForm) -> str:
        """Let it be told again."""
        reason = form.cleaned_data["reason"]
        enable_endpoint(endpoint=endpoint, reason=reason, by=by, at=now())
        return "Switched on."

    @form_action(
        "Switch off",
        permission=MANAGE,
        form=ReasonForm,
        icon="block",
        offered=lambda endpoint: endpoint.is_enabled,
        takes_away=True,
        explanation="Nothing is sent any more, and what waits is given up. Both can be undone.",
    )
    def disable(self, by: User, endpoint: WebhookEndpoint, form: ReasonForm) -> str:
        """Tell it no more."""
        reason = form.cleaned_data["reason"][:300]
        disable_endpoint(endpoint=endpoint, reason=reason, by=by, at=now())
        return "Switched off."


@admin.register(WebhookEvent)
class WebhookEventAdmin(LargeTableAdmin):
    """What other systems were told, word by word."""

    list_display = ("kind", "source_key", moment("at"), "message_id")
    list_filter = ("kind",)
    search_fields = ("message_id", "source_key")
    search_help_text = "webhook-id or source key"
    fields = ("kind", "source_key", moment("at"), "message_id", document("body"))


class _StateFilter(admin.SimpleListFilter):
    """Show deliveries by how far they are."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the three states."""
        return [
            ("next_try_at", "waits"),
            ("delivered_at", "delivered"),
            ("given_up_at", "given up"),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Filter by the one instant that a state has."""
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"{self.value()}__isnull": False})


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(LargeTableAdmin):
    """Which event reached which endpoint, and what the receivers answered."""

    list_display = (
        link("event"),
        link("endpoint"),
        badge("state", _STATES),
        "attempts",
        "status",
        "failure",
        moment("queued_at"),
        moment("last_tried_at", "last tried"),
    )
    list_filter = (_StateFilter, "event__kind")
    list_select_related = ("event", "endpoint")
    search_fields = ("event__message_id", "event__source_key")
    search_help_text = "webhook-id or source key"
    fields = (
        link("event"),
        link("endpoint"),
        badge("state", _STATES),
        "attempts",
        "status",
        "failure",
        moment("queued_at"),
        moment("last_tried_at", "last tried"),
        moment("next_try_at", "next try"),
        moment("delivered_at"),
        moment("given_up_at", "given up"),
    )
    actions_detail = ("replay",)

    @form_action(
        "Send again",
        permission=MANAGE,
        form=ActionForm,
        icon="replay",
        offered=lambda delivery: delivery.next_try_at is None,
        explanation="Under the same id: a receiver that has it already does nothing.",
    )
    def replay(self, by: User, delivery: WebhookDelivery, form: ActionForm) -> str:
        """Let it wait again."""
        replay_delivery(delivery=delivery, by=by, at=now())
        return "It goes out within a minute."


offer_list(WebhookEndpoint, WebhookDelivery, lambda e: {"endpoint__id__exact": e.pk}, icon="send")
offer_list(WebhookEvent, WebhookDelivery, lambda e: {"event__id__exact": e.pk}, icon="send")
