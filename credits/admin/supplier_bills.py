"""Suppliers' bills beside what usage costs, and who explains what differs."""

from decimal import Decimal

from django import forms
from django.contrib import admin
from django.db.models import Count, Model, Q, QuerySet, Sum
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import link, moment, unrounded, unrounded_text
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.alert_forms import people
from credits.models import SupplierBill, SupplierBillLine
from credits.services.supplier_bills import explain_difference, import_supplier_bill

_MAY = "credits.reconcile_supplierbill"


class BillForm(ActionForm):
    """A bill as text, of which supplier and month, and who explains what differs."""

    supplier = forms.CharField(max_length=64, widget=UnfoldAdminTextInputWidget)
    month_on = forms.DateField(label="A day of its month", widget=UnfoldAdminDateWidget)
    currency = forms.CharField(initial="USD", max_length=3, widget=UnfoldAdminTextInputWidget)
    source = forms.CharField(
        max_length=200, widget=UnfoldAdminTextInputWidget, help_text="The name of its file."
    )
    owner = forms.ModelChoiceField(
        people(), label="Explains what differs", widget=UnfoldAdminSelectWidget
    )
    text = forms.CharField(
        label="CSV",
        max_length=5_000_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "class": "bo-sheet"}),
        help_text="Columns model and amount; several rows of a model are summed.",
    )


@admin.register(SupplierBill)
class SupplierBillAdmin(ReadOnlyAdmin):
    """Bills as they were read, with what usage costs."""

    list_display = ("__str__", "billed", "expected", "open_count", "source", moment("imported_at"))
    list_filter = ("supplier",)
    search_fields = ("supplier", "source")
    search_help_text = "Supplier or file"
    fields = (
        ("supplier", "month_on"),
        ("billed", "expected"),
        ("open_count", "source"),
        "text_sha256",
        (link("imported_by"), moment("imported_at")),
    )
    actions_list = ("import_bill",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SupplierBill]:
        """Sum the lines."""
        rows: QuerySet[SupplierBill] = super().get_queryset(request)
        return rows.select_related("imported_by").annotate(
            billed_sum=Sum("lines__billed"),
            expected_sum=Sum("lines__expected"),
            open_sum=Count("lines", filter=Q(lines__is_open=True)),
        )

    @admin.display(description="Billed")
    def billed(self, bill: SupplierBill) -> str:
        """Sum what is billed."""
        return _money(bill, "billed_sum")

    @admin.display(description="By usage")
    def expected(self, bill: SupplierBill) -> str:
        """Sum what usage costs."""
        return _money(bill, "expected_sum")

    @admin.display(description="Differences to explain")
    def open_count(self, bill: SupplierBill) -> int:
        """Count differences that nobody explained."""
        return int(getattr(bill, "open_sum", 0))

    @list_action(
        "Import bill",
        permission=_MAY,
        form=BillForm,
        explanation="Each model is laid beside what its usage of the month costs by the supplier's"
        " prices. What differs by more than a cent is to be explained by the person you name.",
    )
    def import_bill(self, by: User, form: BillForm) -> tuple[Model, str]:
        """Keep a bill."""
        said = {name: value for name, value in form.cleaned_data.items() if name != "nonce"}
        bill = import_supplier_bill(**said, by=by, at=now())
        count = bill.lines.filter(is_open=True).count()
        return bill, f"Imported: {bill}; {count} to explain."


@admin.register(SupplierBillLine)
class SupplierBillLineAdmin(ReadOnlyAdmin):
    """Bills model by model."""

    list_display = (
        "model",
        link("bill"),
        unrounded("billed", currency="bill.currency"),
        unrounded("expected", "by usage", currency="bill.currency"),
        "difference",
        "is_open",
        link("owner"),
        link("explained_by", "explained by"),
    )
    list_filter = ("is_open", "bill__supplier")
    list_select_related = ("bill", "owner", "explained_by")
    search_fields = ("model", "bill__supplier", "owner__username")
    search_help_text = "Model, supplier or owner"
    fields = (
        "model",
        link("bill"),
        (unrounded("billed", currency="bill.currency"),
         unrounded("expected", "by usage", currency="bill.currency")),
        ("difference", "is_open"),
        link("owner", "explains it"),
        "explanation",
        (link("explained_by", "explained by"), moment("explained_at", "explained")),
    )  # fmt: skip
    actions_detail = ("explain",)

    @admin.display(description="Difference")
    def difference(self, line: SupplierBillLine) -> str:
        """Write how much more is billed than usage costs."""
        return unrounded_text(line.billed - line.expected, line.bill.currency)

    @form_action(
        "Explain",
        permission=_MAY,
        icon="rate_review",
        offered=lambda line: line.is_open,
        explanation="Say why the bill differs from our usage, and what follows.",
    )
    def explain(self, by: User, line: SupplierBillLine, form: ReasonForm) -> str:
        """Keep why it differs."""
        explain_difference(line=line, explanation=form.cleaned_data["reason"], by=by, at=now())
        return "Explained."


def _money(bill: SupplierBill, name: str) -> str:
    return unrounded_text(getattr(bill, name, None) or Decimal(0), bill.currency)


offer_list(SupplierBill, SupplierBillLine, lambda bill: {"bill__id__exact": bill.pk}, icon="list")
