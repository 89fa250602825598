"""Rules that read quantities from events, and the quantities they read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import (
    HistoryAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
)
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    badge_html,
    document,
    link,
    moment,
    moment_html,
    moment_text,
    number_text,
    object_link,
    pairs,
)
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from metering.admin.meter_forms import (
    DeactivationForm,
    NewMeterForm,
    NewVersionForm,
    ReactivationForm,
    reading_differences,
)
from metering.models import Meter, MeterVersion
from metering.models.meter import Aggregation
from metering.rounding import MAX_DECIMALS
from metering.selectors.meters import deactivation_of, version_in_force, versions_of
from metering.services.meters import (
    create_meter,
    deactivate_meter,
    earliest_instant,
    reactivate_meter,
    withdraw_meter_version,
)

_AGGREGATIONS: dict[str, str] = {
    Aggregation.SUM: "info",
    Aggregation.COUNT: "info",
    Aggregation.TIME_WEIGHTED_SUM: "info",
    Aggregation.MAX: "wait",
    Aggregation.MIN: "wait",
    Aggregation.LAST: "wait",
    Aggregation.UNIQUE: "wait",
}
_MANAGE = "metering.manage_meter"


class VersionColumns:
    """What a version says, in words; shared by the inline and the page."""

    @admin.display(description="Counts")
    def counts(self, version: MeterVersion) -> str:
        """Say what an event counts."""
        return _counts(version)

    @admin.display(description="Rounding")
    def rounding(self, version: MeterVersion) -> str:
        """Say how values are rounded."""
        if version.rounding_decimals == MAX_DECIMALS:
            return "none"
        return f"{version.rounding_mode.replace('_', ' ')}, {version.rounding_decimals} decimals"

    @admin.display(description="Takes effect")
    def takes_effect(self, version: MeterVersion) -> str:
        """Say from when on events are read so."""
        return moment_html(version.effective_at) if version.effective_at else "from the first event"

    @admin.display(description="State")
    def state(self, version: MeterVersion) -> str:
        """Say whether events are read so."""
        return _state(version)


class MeterVersionInline(VersionColumns, ReadOnlyInline):
    """A meter's versions, newest first: who made them, when and why."""

    model = MeterVersion
    fields = (
        "version",
        "event_name",
        "counts",
        pairs("dimensions"),
        "takes_effect",
        "state",
        link("created_by"),
        "reason",
    )
    list_select_related = ("meter", "created_by")
    ordering = ("-number",)
    tab = False

    @admin.display(description="Version")
    def version(self, version: MeterVersion) -> str:
        """Link to the version's own page."""
        return object_link(version, str(version.number))


@admin.register(Meter)
class MeterAdmin(HistoryAdmin):
    """What is counted, of which events, in which unit."""

    list_display = (
        "code",
        "name",
        "event_name",
        badge("aggregation", _AGGREGATIONS),
        "counts",
        "dimensions",
        "unit",
        "version",
    )
    list_filter = ("aggregation", "unit")
    search_fields = ("code", "name", "versions__event_name")
    search_help_text = "Code, name or event name"
    fields = (
        "code",
        "name",
        badge("aggregation", _AGGREGATIONS),
        "unit",
        "created_at",
    )
    inlines = (MeterVersionInline,)
    actions_list = ("new_meter",)
    actions_detail = ("new_version", "deactivate", "reactivate")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Meter]:
        """Fetch the versions that the columns read, in one query."""
        return super().get_queryset(request).prefetch_related("versions")

    @admin.display(description="Event name")
    def event_name(self, meter: Meter) -> str:
        """Show which events are read now."""
        return _governing(meter).event_name

    @admin.display(description="Counts")
    def counts(self, meter: Meter) -> str:
        """Show what an event counts now."""
        return _counts(_governing(meter))

    @admin.display(description="Dimensions")
    def dimensions(self, meter: Meter) -> str:
        """Show what splits the quantity now."""
        return ", ".join(_governing(meter).dimensions) or EMPTY

    @admin.display(description="Version")
    def version(self, meter: Meter) -> str:
        """Show which version reads events now, and whether another one waits."""
        waits = any(_is_waiting(version) for version in meter.versions.all())
        governing = _governing(meter)
        inactive = "" if governing.is_active else ", inactive"
        return f"{governing.number}{inactive}{', next waits' if waits else ''}"

    @list_action(
        "New meter",
        permission=_MANAGE,
        form=NewMeterForm,
        explanation="The meter counts the events that are stored from now on, never those that were"
        " stored before; what waits in quarantine for it is counted once it is replayed. How it"
        " reads events can change by a new version; its code, aggregation and unit never do. It"
        " costs nothing until a rate is approved for it.",
    )
    def new_meter(self, by: User, form: NewMeterForm) -> tuple[Meter, str]:
        """Count something new, from now on."""
        meter = create_meter(
            **form.fixed(), reason=form.cleaned_data["reason"], by=by, at=now(), **form.reading()
        )
        return meter, f"Meter {meter.code} counts {form.cleaned_data['event_name']} from now on."

    @form_action(
        "New version",
        permission=_MANAGE,
        form=NewVersionForm,
        icon="update",
        explanation="Events of the hours from then on are read by the new version; what was used"
        " before stays as it was counted. Aggregation and unit never change: that is another"
        " meter. A version can be withdrawn until it takes effect, and never changed.",
    )
    def new_version(self, by: User, meter: Meter, form: NewVersionForm) -> str:
        """Let the meter read events otherwise from an hour in the future on."""
        version = form.save(by=by, at=now())
        return f"Version {version.number} takes effect at {moment_text(version.effective_at)}."

    @form_action(
        "Deactivate",
        permission=_MANAGE,
        form=DeactivationForm,
        icon="pause_circle",
        offered=lambda meter: deactivation_of(meter.versions.all()) is None,
        takes_away=True,
        explanation="The meter counts nothing from then on; what it counted stays. Events that no"
        " other meter reads wait in quarantine, where nothing is lost. No new rates can be"
        " proposed for it.",
    )
    def deactivate(self, by: User, meter: Meter, form: DeactivationForm) -> str:
        """Let the meter count nothing from an hour on."""
        version = deactivate_meter(meter=meter, by=by, at=now(), **_said(form))
        return f"{meter.code} counts nothing from {moment_text(version.effective_at)} on."

    @form_action(
        "Reactivate",
        permission=_MANAGE,
        form=ReactivationForm,
        icon="play_circle",
        offered=lambda meter: deactivation_of(meter.versions.all()) is not None,
        explanation="The meter counts again as it did before. From an hour to come: what happened"
        " in between is never counted by it. Without one: as if it had not been deactivated, which"
        " is refused if another meter read its events meanwhile.",
    )
    def reactivate(self, by: User, meter: Meter, form: ReactivationForm) -> str:
        """Let the meter count again."""
        version = reactivate_meter(meter=meter, by=by, at=now(), **_said(form))
        return f"{meter.code} is read by version {version.number} again."


@admin.register(MeterVersion)
class MeterVersionAdmin(VersionColumns, ReadOnlyAdmin):
    """How a meter reads events from an hour on; never changed."""

    list_display = (
        "__str__",
        link("meter"),
        "event_name",
        "counts",
        "takes_effect",
        "state",
        link("created_by"),
        moment("created_at"),
    )
    list_filter = (("meter", AutocompleteSelectFilter),)
    list_select_related = ("meter", "created_by")
    search_fields = ("meter__code", "event_name")
    search_help_text = "Meter's code or event name"
    ordering = ("-id",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("meter"), "number", "state"),
                    ("takes_effect", moment("created_at"), link("created_by")),
                    "reason",
                    ("withdrawn", "withdrawal_reason"),
                )
            },
        ),
        (
            "How events are read",
            {"fields": (("event_name", "counts"), ("dimensions", "rounding"), document("filters"))},
        ),
        ("What differs from the version before", {"fields": ("difference",)}),
    )
    actions_detail = ("withdraw",)

    @admin.display(description="Withdrawn")
    def withdrawn(self, version: MeterVersion) -> str:
        """Say who took the version back."""
        if version.withdrawn_at is None:
            return EMPTY
        return f"{moment_text(version.withdrawn_at)} by {version.withdrawn_by}"

    @admin.display(description="Difference")
    def difference(self, version: MeterVersion) -> str:
        """Show the version beside the one before it."""
        before = versions_of(version.meter).filter(
            number__lt=version.number, withdrawn_at__isnull=True
        )
        earlier = before.first()
        if earlier is None:
            return "the first version"
        if not version.is_active:
            return "the meter counts nothing from then on"
        rows = reading_differences(earlier, version)
        context = {"rows": rows, "before_link": object_link(earlier)}
        return render_to_string("backoffice/version_difference.html", context)

    @form_action(
        "Withdraw",
        permission=_MANAGE,
        icon="undo",
        offered=lambda version: _is_waiting(version),
        is_final=True,
        takes_away=True,
        explanation="The version never takes effect; it stays on record. No event was counted by"
        " it.",
    )
    def withdraw(self, by: User, version: MeterVersion, form: ReasonForm) -> str:
        """Take the version back before it takes effect."""
        reason = form.cleaned_data["reason"]
        withdraw_meter_version(version=version, reason=reason, by=by, at=now())
        return f"Withdrew version {version.number}."


def _governing(meter: Meter) -> MeterVersion:
    return version_in_force(meter.versions.all(), now())


def _is_waiting(version: MeterVersion) -> bool:
    """Tell whether no event can have been counted by the version yet."""
    effective_at = version.effective_at
    is_ahead = effective_at is not None and effective_at > earliest_instant(now())
    return version.withdrawn_at is None and is_ahead


def _said(form: DeactivationForm | ReactivationForm) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ("effective_at", "reason")}


def _counts(version: MeterVersion) -> str:
    if not version.is_active:
        return "nothing"
    if version.constant_value is not None:
        return f"{number_text(version.constant_value)} each"
    return version.value_property or "each event"


def _state(version: MeterVersion) -> str:
    if version.withdrawn_at is not None:
        return badge_html("withdrawn")
    if version.effective_at is not None and version.effective_at > now():
        return badge_html("waits" if version.is_active else "waits, inactive then", "wait")
    if not version.is_active:
        return badge_html("inactive", "bad")
    return badge_html("in effect", "good")
