"""Stretches in which usage was counted too late, and who looked after them."""

from django.contrib import admin

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, number
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.models import LagEpisode
from metering.services.watching import acknowledge_lag


@admin.register(LagEpisode)
class LagEpisodeAdmin(ReadOnlyAdmin):
    """Episodes of lag: open until all that was stored is counted in time again."""

    list_display = (
        moment("opened_at"),
        moment("closed_at"),
        number("worst_lag_seconds", "worst lag, seconds"),
        moment("told_at", "mailed"),
        link("acknowledged_by", "acknowledged by"),
        moment("acknowledged_at"),
    )
    list_filter = (("closed_at", admin.EmptyFieldListFilter),)
    list_select_related = ("acknowledged_by",)
    fields = (
        "opened_at",
        "closed_at",
        number("worst_lag_seconds", "worst lag, seconds"),
        "worst_at",
        "told_at",
        link("acknowledged_by", "acknowledged by"),
        "acknowledged_at",
        "note",
    )
    actions_detail = ("acknowledge",)

    @form_action(
        "Acknowledge",
        permission="metering.acknowledge_lagepisode",
        icon="visibility",
        offered=lambda episode: episode.acknowledged_at is None,
        explanation="Say that you look after it and what is being done. The episode closes by"
        " itself once usage is counted in time again.",
    )
    def acknowledge(self, by: User, episode: LagEpisode, form: ReasonForm) -> str:
        """Put a name to it."""
        acknowledge_lag(episode=episode, note=form.cleaned_data["reason"], by=by, at=now())
        return "Acknowledged."
