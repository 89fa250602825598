"""Repairs of usage windows that a replay proposed: approved as policy changes, applied here."""

from django.contrib import admin

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, document, link, moment, number
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import PolicyStatus, User
from metering.models import AppliedRepair, WindowRepair, WindowRepairItem
from metering.services.repairing import apply_repair

_TONES = {"applied": "good", "approved": "info", "proposed": "wait", "rejected": "bad"}


@admin.register(WindowRepair)
class WindowRepairAdmin(ReadOnlyAdmin):
    """What a replay found wrong, and whether it was set right."""

    list_display = (
        "__str__",
        link("policy_change"),
        "status",
        moment("start_at"),
        moment("end_at"),
        moment("proposed_at"),
    )
    list_select_related = ("policy_change", "applied")
    fields = (link("policy_change"), "status", "start_at", "end_at", "proposed_at")
    actions_detail = ("set_right",)

    @admin.display(description="Status")
    def status(self, repair: WindowRepair) -> str:
        """Show how far the repair came."""
        status = "applied" if hasattr(repair, "applied") else repair.policy_change.status
        return badge_html(status, _TONES.get(status, ""))

    @form_action(
        "Apply repair",
        permission="metering.repair_usagewindow",
        form=ActionForm,
        icon="build",
        offered=lambda repair: (
            repair.policy_change.status == PolicyStatus.APPROVED
            and not AppliedRepair.objects.filter(repair=repair).exists()
        ),
        explanation="Each window gets the quantity that its events say, and a new revision: what"
        " was rated of it is rated again. Nothing changes if a window moved since the replay.",
    )
    def set_right(self, by: User, repair: WindowRepair, form: ActionForm) -> str:
        """Carry the approved repair out."""
        apply_repair(repair=repair, by=by, at=now())
        return f"Applied {repair}."


@admin.register(WindowRepairItem)
class WindowRepairItemAdmin(LargeTableAdmin):
    """One window of a repair: what it held, and what its events say."""

    list_display = (
        link("repair"),
        link("customer"),
        link("meter"),
        moment("start_at"),
        number("stored_quantity"),
        number("quantity"),
        "event_count",
    )
    list_select_related = ("repair", "customer", "meter")
    fields = (
        link("repair"),
        link("customer"),
        link("meter"),
        link("workspace"),
        document("dimensions"),
        "start_at",
        number("stored_quantity"),
        "stored_count",
        number("quantity"),
        "event_count",
    )


@admin.register(AppliedRepair)
class AppliedRepairAdmin(ReadOnlyAdmin):
    """When an approved repair was carried out, and by whom."""

    list_display = (link("repair"), link("by"), moment("at"))
    list_select_related = ("repair", "by")
    fields = (link("repair"), link("by"), "at")


offer_list(
    WindowRepair, WindowRepairItem, lambda repair: {"repair__id__exact": repair.pk}, title="Windows"
)
offer_list(
    WindowRepair, AppliedRepair, lambda repair: {"repair__id__exact": repair.pk}, title="Applied"
)
