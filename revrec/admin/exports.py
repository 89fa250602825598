"""What other ledgers are given: their codes for our accounts, and stretches of the journal."""

import csv
import io
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.actions import list_action, page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import EMPTY, link, moment, money, money_text
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.quantity import how_many
from invoicing.models import MAIN_ENTITY, LegalEntity
from revrec.journal_forms import Detail, Form
from revrec.models import AccountCode, AccountMap, JournalExport, LedgerAccount
from revrec.selectors.exports import NO_TAX, Stretch, file_name, file_pieces
from revrec.services.exports import OtherCode, export_journal, map_accounts

_FORMS = {
    Form.CSV: "CSV with everything",
    Form.QUICKBOOKS: "QuickBooks Online",
    Form.XERO: "Xero",
    Form.NETSUITE: "NetSuite",
}
_DETAILS = {Detail.DAY: "One journal a day", Detail.ENTRY: "Every entry"}


class CodesForm(ReasonForm):
    """From when on, and each account's code and name there, a line each."""

    effective_on = forms.DateField(label="From", widget=UnfoldAdminDateWidget)
    tax_rate = forms.CharField(
        label="Tax rate of a line without tax",
        max_length=60,
        initial=NO_TAX,
        help_text="As Xero names it. Other forms do not use it.",
        widget=UnfoldAdminTextInputWidget,
    )
    codes = forms.CharField(
        label="Codes",
        help_text="account,code,name: a line for each account.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16}),
    )
    field_order = ("effective_on", "tax_rate", "codes", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = AccountMap.objects.first()
        known = {code.account_id: code for code in newest.codes.all()} if newest else {}
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        for account in LedgerAccount.objects.all():
            code = known.get(account.pk)
            writer.writerow(
                [account.pk, code.code if code else account.pk, code.name if code else account.name]
            )
        self.fields["codes"].initial = lines.getvalue()

    def clean_codes(self) -> dict[str, OtherCode]:
        """Read the lines."""
        codes: dict[str, OtherCode] = {}
        for number, row in enumerate(csv.reader(io.StringIO(self.cleaned_data["codes"])), start=1):
            if not row:
                continue
            if len(row) != 3:
                raise ValidationError(f"Line {number} has {how_many(len(row), 'value')}, not 3.")
            account, code, name = (cell.strip() for cell in row)
            if account in codes:
                raise ValidationError(f"Line {number} names account {account} again.")
            codes[account] = OtherCode(code, name)
        return codes


class ExportForm(ActionForm):
    """Out of whose books, for whom, in which detail, of which currency."""

    entity = forms.ModelChoiceField(
        LegalEntity.objects.order_by("pk"), label="Legal entity", initial=MAIN_ENTITY,
        empty_label=None, widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    form_of = forms.ChoiceField(
        label="Form", choices=list(_FORMS.items()), widget=UnfoldAdminSelectWidget
    )
    detail = forms.ChoiceField(choices=list(_DETAILS.items()), widget=UnfoldAdminSelectWidget)
    currency = forms.CharField(max_length=3, initial="USD", widget=UnfoldAdminTextInputWidget)


class CodeInline(ReadOnlyInline):
    """A version's codes."""

    model = AccountCode
    fields = (link("account"), "code", "name")
    list_select_related = ("account",)
    ordering = ("account",)
    tab = False
    per_page = 100


@admin.register(AccountMap)
class AccountMapAdmin(ReadOnlyAdmin):
    """Versions of how other ledgers know the accounts."""

    list_display = (
        "__str__",
        "effective_on",
        "tax_rate",
        "reason",
        moment("created_at"),
        link("created_by"),
    )
    list_select_related = ("created_by",)
    fields = ("effective_on", "tax_rate", "reason", "created_at", link("created_by"))
    inlines = (CodeInline,)
    actions_list = ("new_version",)

    @list_action(
        "New version",
        permission="revrec.map_accounts",
        form=CodesForm,
        explanation="Entries from this day on are exported in these codes. What was exported"
        " already keeps the codes it had.",
    )
    def new_version(self, by: User, form: CodesForm) -> tuple[AccountMap, str]:
        """Keep a version of the codes."""
        said = form.cleaned_data
        version = map_accounts(
            codes=said["codes"], effective_on=said["effective_on"], tax_rate=said["tax_rate"],
            reason=said["reason"], by=by, at=now(),
        )  # fmt: skip
        return version, f"Kept {version}"


@admin.register(JournalExport)
class JournalExportAdmin(ReadOnlyAdmin):
    """Stretches of the journal that other ledgers were given, each once."""

    list_display = (
        "__str__",
        "detail",
        "line_count",
        money("debit_minor", "debits"),
        link("account_map"),
        "sha256",
        moment("created_at"),
        link("created_by"),
    )
    list_filter = ("entity", "form", "currency", "detail")
    list_select_related = ("entity", "account_map", "created_by")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("entity"), "form", "detail", "currency"),
                    ("first_position", "last_position"),
                    link("account_map"),
                )
            },
        ),
        (
            "File",
            {
                "fields": (
                    (
                        "line_count",
                        money("debit_minor", "debits"),
                        money("credit_minor", "credits"),
                    ),
                    ("books_currency", "books_debits", "books_credits"),
                    "sha256",
                )
            },
        ),
        ("Made", {"fields": ("created_at", link("created_by"), "source_key")}),
    )
    actions_list = ("export",)
    actions_detail = ("download",)

    @admin.display(description="debits in the books")
    def books_debits(self, export: JournalExport) -> str:
        """Show what all debits are worth in the currency of the books."""
        return _worth(export, export.books_debit_minor)

    @admin.display(description="credits in the books")
    def books_credits(self, export: JournalExport) -> str:
        """Show what all credits are worth in the currency of the books."""
        return _worth(export, export.books_credit_minor)

    @list_action(
        "Export journal",
        permission="revrec.export_journal",
        form=ExportForm,
        icon="ios_share",
        explanation="Everything of the entity in the currency that was posted since the last export"
        " of this form and detail. The stretch is marked and never handed out again; its file can"
        " be downloaded at any time, and stays the same to the last byte.",
    )
    def export(self, by: User, form: ExportForm) -> tuple[JournalExport, str]:
        """Mark a stretch of the journal as handed out."""
        said = form.cleaned_data
        made = export_journal(
            form=Form(said["form_of"]), detail=Detail(said["detail"]),
            currency=said["currency"].upper(), key=form.key, by=by, at=now(),
            entity=said["entity"],
        )  # fmt: skip
        return made, f"Exported {made}: {how_many(made.line_count, 'line')}"

    @page_action("Download", icon="download")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Hand out the file."""
        export = self.get_object(request, unquote(object_id))
        if export is None or not self.has_view_permission(request, export):
            raise PermissionDenied
        return StreamingHttpResponse(
            file_pieces(Stretch.of(export)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{file_name(export)}"'},
        )


def _worth(export: JournalExport, minor: int) -> str:
    """Write an amount in the currency of the books; files of before say nothing of it."""
    return money_text(minor, export.books_currency) if export.books_currency else EMPTY
