"""What new customers of ours brought along: each file, and what became of its items."""

import hashlib
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import LargeTableAdmin, ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge,
    document,
    link,
    moment,
    number,
    progress_html,
)
from billing_project.kernel.backoffice.forms import (
    ActionForm,
    ChosenField,
    ReasonField,
    ReasonForm,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.quantity import how_many, plain
from invoicing.models import (
    OpeningExplanation,
    OpeningImport,
    OpeningItem,
    OpeningItemState,
    OpeningState,
)
from invoicing.opening_files import read_file
from invoicing.selectors.opening import parity_of, progress_of
from invoicing.services.opening import BadItems, OpeningFile, propose_openings
from invoicing.services.opening_ends import (
    MAY_EXPLAIN,
    explain_parity,
    leave_behind,
    retry_openings,
    why_not_explain,
)

_MAY = "invoicing.import_openings"
_MOST_BYTES = 5 * 1024 * 1024  # A dry run of more takes longer than a page may.
_IMPORTS = {"open": "wait", "applied": "good", "closed": ""}
_ITEMS = {"waiting": "wait", "done": "good", "failed": "bad", "closed": ""}


class UploadForm(ActionForm):
    """A file, where it comes from, and why it is taken over."""

    source = forms.SlugField(
        max_length=40, initial="csv", widget=UnfoldAdminTextInputWidget,
        help_text="Which system it is of, the same for all of its files. stripe: objects of its"
        " API, one JSON value a line; any other name: the CSV of docs/migrating.md.",
    )  # fmt: skip
    file = forms.FileField(
        help_text="Up to 5 MiB; what is larger goes through manage.py import_openings.",
        widget=UnfoldAdminFileFieldWidget,
    )
    plans = forms.CharField(
        label="Plans of Stripe's prices", required=False, max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One a line: price_1=starter; price_2=- leaves what is sold at it behind.",
    )  # fmt: skip
    reason = ReasonField()

    def clean_file(self) -> Any:
        """Refuse what a page cannot try."""
        file = self.cleaned_data["file"]
        if file.size > _MOST_BYTES:
            raise ValidationError("It is larger than 5 MiB: use manage.py import_openings.")
        return file


class ExplainForm(ActionForm):
    """One difference that nothing explains, and why it is so."""

    subject: OpeningImport
    difference = ChosenField(choices=[])
    reason = ReasonField()
    from_address = ("difference",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.found = {
            "|".join((one.customer, one.what, one.unit, plain(one.unexplained))): one
            for one in parity_of(self.subject)
            if not one.is_named
        }
        choices = [
            (key, f"{one.customer}, {one.what} {one.unit}: {plain(one.unexplained)}")
            for key, one in self.found.items()
        ]
        field = self.fields["difference"]
        assert isinstance(field, ChosenField)
        field.choices = [("", "Choose"), *choices]


class ExplanationInline(ReadOnlyInline):
    """What people said of differences."""

    model = OpeningExplanation
    fields = (
        "customer", "what", "unit", number("difference"), "reason", link("explained_by"),
        moment("explained_at", "explained"),
    )  # fmt: skip
    list_select_related = ("explained_by",)
    per_page = 50


def _has_failed(row: OpeningImport) -> bool:
    return row.items.filter(state=OpeningItemState.FAILED).exists()


@admin.register(OpeningImport)
class OpeningImportAdmin(ReadOnlyAdmin):
    """Files of opening balances: brought in here or by a command, approved as changes."""

    list_display = (
        "__str__",
        "source",
        badge("state", _IMPORTS),
        link("policy_change"),
        moment("closed_at", "settled"),
    )
    list_filter = ("source", "state")
    list_select_related = ("policy_change",)
    search_fields = ("name", "content_sha256")
    search_help_text = "File or its sha256"
    fields = (
        ("source", "name"),
        badge("state", _IMPORTS),
        "progress",
        link("policy_change"),
        "content_sha256",
        "closed_at",
    )
    inlines = (ExplanationInline,)
    actions_list = ("upload",)
    actions_detail = ("try_again", "explain_difference")

    @admin.display(description="items")
    def progress(self, row: OpeningImport) -> str:
        """Draw how many of its items are settled, and count them."""
        counts = progress_of(row)
        total, settled = counts.total(), counts.total() - counts["waiting"] - counts["failed"]
        said = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        percent = 100 * settled // total if total else 0
        return format_html("{} {}", progress_html(percent), said)

    @list_action(
        "Import file",
        permission=_MAY,
        form=UploadForm,
        icon="upload",
        explanation="The whole file is tried and taken back first: each fault is named by line and"
        " column, and nothing is kept. A file without a fault waits for somebody else's approval;"
        " its parity with the source, customer by customer, can be read before.",
    )
    def upload(self, by: User, form: UploadForm) -> tuple[Model, str]:
        """Read a file, try it, and propose it."""
        said = form.cleaned_data
        content: bytes = said["file"].read()
        reading = read_file(content, said["source"], said["plans"].split())
        if reading.faults:
            raise BadItems(reading.faults)
        file = OpeningFile(said["source"], said["file"].name, hashlib.sha256(content).hexdigest())
        row = propose_openings(
            file=file, items=reading.items, reason=said["reason"], by=by, at=now()
        )
        if row.state != OpeningState.OPEN:
            return row, f"This file was taken before: it is {row.state}."
        return row, f"{how_many(row.items.count(), 'item')} wait for somebody else's approval."

    @form_action(
        "Try failed again",
        permission=_MAY,
        icon="replay",
        offered=lambda row: row.policy_change.status == PolicyStatus.APPROVED and _has_failed(row),
        explanation="Once what they lacked is there. The worker gave up after a few attempts.",
    )
    def try_again(self, by: User, row: OpeningImport, form: ReasonForm) -> str:
        """Let what failed take effect, if it can now."""
        done = retry_openings(row=row, reason=form.cleaned_data["reason"], by=by, at=now())
        return f"{how_many(done, 'item')} took effect."

    @form_action(
        "Explain difference",
        permission=MAY_EXPLAIN,
        form=ExplainForm,
        icon="rate_review",
        refusal=why_not_explain,
        explanation="Say why what is here differs from what the source says, unless you proposed"
        " the import yourself. It stands beside the difference, under your name, for as long as the"
        " difference is just that.",
    )
    def explain_difference(self, by: User, row: OpeningImport, form: ExplainForm) -> str:
        """Keep why something differs."""
        one = form.found[form.cleaned_data["difference"]]
        explain_parity(
            row=row, customer=one.customer, what=one.what, unit=one.unit,
            difference=one.unexplained, reason=form.cleaned_data["reason"], by=by, at=now(),
        )  # fmt: skip
        return "Explained."


@admin.register(OpeningItem)
class OpeningItemAdmin(LargeTableAdmin):
    """One thing that a file says, and what became of it."""

    list_display = (
        "__str__",
        "customer",
        "line",
        badge("state", _ITEMS),
        "detail",
        "made",
        link("opening_import"),
    )
    list_filter = ("kind", "state")
    list_select_related = ("opening_import",)
    search_fields = ("=customer", "=source_id")
    search_help_text = "Customer, or the source's own id"
    fields = (
        ("kind", "source_id"),
        ("customer", "line"),
        document("content"),
        badge("state", _ITEMS),
        "detail",
        "made",
        ("attempt_count", moment("given_up_at", "given up")),
        "done_at",
        link("opening_import"),
    )
    actions_detail = ("leave",)

    @form_action(
        "Leave behind",
        permission=_MAY,
        icon="logout",
        offered=lambda item: item.state == OpeningItemState.FAILED,
        is_final=True,
        explanation="It stays with its source; parity says so. Another file may bring it.",
    )
    def leave(self, by: User, item: OpeningItem, form: ReasonForm) -> str:
        """Close an item that failed."""
        leave_behind(item=item, reason=form.cleaned_data["reason"], by=by, at=now())
        return "Left with its source."


offer_list(
    OpeningImport, OpeningItem, lambda row: {"opening_import__id__exact": row.pk}, icon="rule"
)
