"""Audit packs: ask for everything behind a month or some invoices, watch it come, fetch it."""

from datetime import date
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from unfold.widgets import (
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.actions import list_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge,
    link,
    moment,
    number,
    object_url,
    progress_html,
)
from billing_project.kernel.backoffice.forms import ActionForm, ReasonField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.period import DAY
from metering.selectors.customers import customer_named
from revrec.models import AuditPack, PackState
from revrec.schedule import start_of
from revrec.selectors.zone import books_zone
from revrec.services.pack_files import scope_of
from revrec.services.packs import Wish, ask_for_pack, ring_worker, take_file

_STATES = {"waiting": "wait", "running": "info", "done": "good", "failed": "bad"}
_REFRESH_SECONDS = 3


class PackForm(ActionForm):
    """Days of one customer or of all; or invoices."""

    from_address = ("customer", "invoices")
    customer = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The customer's id as its sender writes it; leave it empty for all customers.",
    )
    first = forms.DateField(
        label="First day",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="Of the books.",
    )
    last = forms.DateField(
        label="Last day", required=False, widget=UnfoldAdminSingleDateWidget, help_text="Included."
    )
    invoices = forms.CharField(
        label="Or invoices",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Their numbers, with spaces or commas between: a sample instead of days.",
    )
    reason = ReasonField(max_length=500)

    def clean(self) -> dict[str, Any]:
        """Ask for days or for invoices."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and not self.numbers() and not (cleaned["first"] and cleaned["last"]):
            raise ValidationError("Say the first and the last day, or name invoices.")
        return cleaned

    def numbers(self) -> tuple[str, ...]:
        """Read the numbers of invoices."""
        return tuple(self.cleaned_data.get("invoices", "").replace(",", " ").split())

    def wish(self) -> Wish:
        """Say what the pack is of."""
        said = self.cleaned_data
        first: date | None = said["first"]
        last: date | None = said["last"]
        zone = books_zone()
        return Wish(
            start=start_of(first, zone) if first else None,
            end=start_of(last + DAY, zone) if last else None,
            customer=customer_named(said["customer"]) if said["customer"] else None,
            invoices=self.numbers(),
        )


@admin.register(AuditPack)
class AuditPackAdmin(ReadOnlyAdmin):
    """Files with everything behind a span or some invoices, and their own verifier."""

    list_display = (
        "__str__",
        "scope",
        badge("state", _STATES),
        "progress",
        number("row_count", "rows"),
        moment("asked_at"),
        link("asked_by"),
    )
    list_filter = ("state",)
    list_select_related = ("customer", "asked_by")
    search_fields = ("customer__external_id", "=content_sha256", "reason")
    search_help_text = "Customer, reason, or the file's sha256"
    fieldsets = (
        (None, {"fields": ("scope", "reason", badge("state", _STATES), "progress", "fault")}),
        (
            "File",
            {
                "fields": (
                    number("row_count", "rows"),
                    number("byte_count", "bytes"),
                    "content_sha256",
                )
            },
        ),
        ("Asked for", {"fields": (link("asked_by"), "asked_at", "finished_at")}),
    )
    actions_list = ("ask",)
    actions_detail = ("download",)

    @admin.display(description="Of")
    def scope(self, pack: AuditPack) -> str:
        """Say what it is of."""
        return scope_of(pack)

    @admin.display(description="Progress")
    def progress(self, pack: AuditPack) -> str:
        """Draw how many of its files are written."""
        return progress_html(pack.files_done * 100 // max(pack.file_count, 1))

    @list_action(
        "New audit pack",
        permission="revrec.make_auditpack",
        form=PackForm,
        icon="inventory_2",
        explanation="Raw events, corrections, ratings, grants, ledger, invoices with their"
        " documents, journal, policies with their approvals and owners, in one ZIP with a verifier"
        " that needs nothing but Python. The worker makes it; its page shows how far it is.",
    )
    def ask(self, by: User, form: PackForm) -> tuple[AuditPack, str]:
        """Queue a pack."""
        reason = form.cleaned_data["reason"]
        pack = ask_for_pack(wish=form.wish(), reason=reason, key=form.key, by=by, at=now())
        ring_worker()
        return pack, "The pack is being made; this page shows how far it is."

    @page_action("Download", icon="download")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Hand out the file, and record who took it."""
        pack = self.get_object(request, unquote(object_id))
        if pack is None or not isinstance(request.user, User):
            raise PermissionDenied
        if not request.user.has_perm("revrec.make_auditpack"):
            raise PermissionDenied
        try:
            stream = take_file(pack=pack, by=request.user, at=now())
        except BillingError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(object_url(pack))
        return FileResponse(stream, as_attachment=True, filename=pack.file_name)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Offer the file once it is there."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        pack = self.get_object(request, unquote(object_id))
        return offered if pack is not None and pack.state == PackState.DONE else []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a pack; while it is made, the page comes again by itself."""
        response = super().change_view(request, object_id, form_url, extra_context)
        pack = self.get_object(request, object_id)
        if pack is not None and pack.is_open and response.status_code == 200:
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response
