"""Who tried to sign in and how it went, and where people are signed in."""

from django.contrib import admin

from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.models import (
    RecoveryCode,
    SecondFactor,
    SignedInDevice,
    SignInAttempt,
    User,
)

_OUTCOMES = {"begun": "bad", "failed": "bad", "signed_in": "good", "code_wanted": "wait"}


@admin.register(SignInAttempt)
class SignInAttemptAdmin(LargeTableAdmin):
    """Every try to sign in; nobody's name stands where the account does not exist."""

    list_display = (
        moment("at", "when"),
        link("user", "person"),
        badge("outcome", _OUTCOMES),
        "step",
        "address",
        "agent",
    )
    list_filter = ("outcome", "step")
    list_select_related = ("user",)
    search_fields = ("user__username", "address")
    search_help_text = "Login or address, exactly"
    fields = (
        (moment("at", "when"), link("user", "person")),
        (badge("outcome", _OUTCOMES), "step"),
        ("address", "network"),
        "agent",
    )


@admin.register(SignedInDevice)
class SignedInDeviceAdmin(ReadOnlyAdmin):
    """Browsers in which somebody signed in."""

    list_display = (
        link("user", "person"),
        moment("signed_in_at", "signed in"),
        moment("seen_at", "last seen"),
        moment("ended_at", "signed out"),
        link("ended_by", "by"),
    )
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user", "ended_by")
    search_fields = ("user__username",)
    search_help_text = "Login"
    fields = (
        (link("user", "person"), link("attempt", "how")),
        (moment("signed_in_at", "signed in"), moment("seen_at", "last seen")),
        (moment("ended_at", "signed out"), link("ended_by", "by")),
    )


class RecoveryCodeInline(ReadOnlyInline):
    """Which codes were used; the codes themselves are stored nowhere."""

    model = RecoveryCode
    fields = (moment("used_at", "used"),)


@admin.register(SecondFactor)
class SecondFactorAdmin(ReadOnlyAdmin):
    """Authenticator apps: whose, since when, and who ended them."""

    list_display = (
        link("user", "person"),
        moment("enrolled_at", "enrolled"),
        moment("ended_at", "ended"),
        link("ended_by", "by"),
    )
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user", "ended_by")
    search_fields = ("user__username",)
    search_help_text = "Login"
    fields = (
        (link("user", "person"), moment("enrolled_at", "enrolled")),
        (moment("ended_at", "ended"), link("ended_by", "by")),
    )
    inlines = (RecoveryCodeInline,)


offer_list(
    User,
    SignInAttempt,
    lambda user: {"user__id__exact": user.pk},
    title="Tries to sign in",
    icon="login",
)
offer_list(
    User,
    SignedInDevice,
    lambda user: {"user__id__exact": user.pk},
    title="Devices",
    icon="devices",
)
