"""What suppliers charge, and stretches in which usage had no rate."""

from django.contrib import admin

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, number, pairs
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.models import SupplierRate, UnratedEpisode
from credits.services.watching import acknowledge_unrated


@admin.register(SupplierRate)
class SupplierRateAdmin(ReadOnlyAdmin):
    """Prices a token, as suppliers charge them from an instant on."""

    list_display = (
        "model",
        "token_kind",
        "supplier",
        number("unit_price", "price a token", unit="currency"),
        moment("effective_at", "holds from"),
        "source",
        moment("recorded_at"),
    )
    list_filter = ("supplier", "token_kind")
    search_fields = ("model", "supplier")
    search_help_text = "Model or supplier"
    ordering = ("model", "token_kind", "-effective_at", "-id")
    fields = (
        "supplier",
        "model",
        "token_kind",
        number("unit_price", "price a token", unit="currency"),
        "effective_at",
        "source",
        "recorded_at",
        link("recorded_by", "recorded by"),
    )


@admin.register(UnratedEpisode)
class UnratedEpisodeAdmin(ReadOnlyAdmin):
    """Episodes of usage without a rate: open until a rate is approved and what waited is rated."""

    list_display = (
        link("meter"),
        "model",
        moment("opened_at"),
        moment("closed_at"),
        number("quantity", unit="meter.unit"),
        "window_count",
        "customer_count",
        link("acknowledged_by", "acknowledged by"),
    )
    list_filter = (("closed_at", admin.EmptyFieldListFilter),)
    list_select_related = ("meter", "acknowledged_by")
    search_fields = ("model", "meter__code")
    search_help_text = "Model or meter"
    fields = (
        link("meter"),
        "model",
        pairs("dimensions", "dimensions of the oldest usage"),
        "first_used_at",
        "opened_at",
        "closed_at",
        "seen_at",
        "window_count",
        number("quantity", unit="meter.unit"),
        "customer_count",
        "told_at",
        link("acknowledged_by", "acknowledged by"),
        "acknowledged_at",
        "note",
    )
    actions_detail = ("acknowledge_missing_rate",)

    @form_action(
        "Acknowledge",
        permission="credits.acknowledge_unratedepisode",
        icon="visibility",
        offered=lambda episode: episode.acknowledged_at is None,
        explanation="Say that you look after it and what is being done. The usage waits, unrated,"
        " until a rate is approved that matches it; then the episode closes by itself.",
    )
    def acknowledge_missing_rate(self, by: User, episode: UnratedEpisode, form: ReasonForm) -> str:
        """Put a name to it."""
        acknowledge_unrated(episode=episode, note=form.cleaned_data["reason"], by=by, at=now())
        return "Acknowledged."
