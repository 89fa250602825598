"""The quantities that meters read, by the hour, and the levels that go on."""

from datetime import timedelta

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.base import Fresh, LargeTableAdmin
from billing_project.kernel.backoffice.display import link, moment, number, pairs
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from metering.models import Meter, MeterEvent, UsageLevel, UsageWindow
from metering.selectors.lag import aggregation_state
from metering.selectors.meters import rule_at


@admin.register(UsageWindow)
class UsageWindowAdmin(LargeTableAdmin):
    """Quantities by the hour; a projection of events that can be rebuilt from them."""

    list_display = (
        moment("start_at", "hour"),
        link("customer"),
        link("meter"),
        link("workspace"),
        pairs("dimensions"),
        number("quantity", unit="meter.unit"),
        "event_count",
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter),
        ("meter", AutocompleteSelectFilter),
    )
    list_select_related = ("customer", "meter", "workspace")
    search_fields = ("customer__external_id",)
    search_help_text = "Customer's external id, exactly"
    fields = (
        link("customer"),
        link("workspace"),
        link("meter"),
        pairs("dimensions"),
        "start_at",
        number("quantity", unit="meter.unit"),
        "event_count",
        "revision",
        "updated_at",
    )

    def freshness(self) -> Fresh:
        """Say until when usage is in the windows."""
        return aggregation_state(now())


@admin.register(UsageLevel)
class UsageLevelAdmin(LargeTableAdmin):
    """Levels of time-weighted sums that go on after their last window."""

    list_display = (
        link("customer"),
        link("meter"),
        link("workspace"),
        pairs("dimensions"),
        number("level"),
        moment("settled_until"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter),
        ("meter", AutocompleteSelectFilter),
    )
    list_select_related = ("customer", "meter", "workspace")
    search_fields = ("customer__external_id",)
    search_help_text = "Customer's external id, exactly"
    fields = (
        link("customer"),
        link("workspace"),
        link("meter"),
        pairs("dimensions"),
        number("level"),
        "settled_until",
    )


def _events_of(window: UsageWindow) -> dict[str, object]:
    return {
        "customer__id__exact": window.customer_id,
        "event_name__exact": rule_at(window.meter, window.start_at).event_name,
        "timestamp__gte": window.start_at.isoformat(),
        "timestamp__lt": (window.start_at + timedelta(hours=1)).isoformat(),
    }


offer_list(UsageWindow, MeterEvent, _events_of, title="Events of this hour", icon="bolt")
offer_list(Meter, UsageWindow, lambda meter: {"meter__id__exact": meter.pk}, icon="schedule")
