"""What suppliers charge, and stretches in which usage had no rate."""

from django.contrib import admin
from django.db.models import Model

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import link, moment, number, pairs
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.rates import PROPOSE, VersionAdmin
from credits.admin.supplier_forms import PriceListForm
from credits.models import SupplierRate, SupplierSheet, UnratedEpisode
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
        link("sheet"),
        moment("recorded_at"),
    )
    list_filter = ("supplier", "token_kind", "sheet__policy_change__status")
    list_select_related = ("sheet",)
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
        link("sheet"),
        "recorded_at",
        link("recorded_by", "recorded by"),
    )


class SupplierRateInline(ReadOnlyInline):
    """The prices of a sheet."""

    model = SupplierRate
    fields = ("supplier", "model", "token_kind", number("unit_price", unit="currency"))
    ordering = ("model", "token_kind")
    tab = False
    per_page = 100


@admin.register(SupplierSheet)
class SupplierSheetAdmin(VersionAdmin):
    """Lists of prices, as far as they differed from those in force."""

    list_display = (
        "__str__",
        "source",
        "currency",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("policy_change__status",)
    list_select_related = ("policy_change",)
    search_fields = ("source",)
    search_help_text = "Source"
    fields = (("number", "status"), ("source", "currency"), "governs_from", link("policy_change"))
    inlines = (SupplierRateInline,)
    actions_list = ("import_list",)

    @list_action(
        "Import price list",
        permission=PROPOSE,
        form=PriceListForm,
        explanation="Prices that differ from those in force are proposed as one sheet; they count"
        " once finance approved it. Send the form to see the difference, then confirm it.",
    )
    def import_list(self, by: User, form: PriceListForm) -> tuple[Model, str]:
        """Propose what differs."""
        return form.proposed(SupplierSheet, by=by, at=now())


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
