"""Suppliers' bills beside what usage costs, and who explains what differs."""

from decimal import Decimal

from django import forms
from django.contrib import admin
from django.db.models import Count, F, Model, OuterRef, Q, QuerySet, Subquery, Sum
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
from credits.models import SupplierBill, SupplierBillComparison, SupplierBillLine
from credits.selectors.supplier_bills import newest_lines
from credits.services.supplier_bills import (
    compare_bill_again,
    explain_difference,
    import_supplier_bill,
)

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


class CompareForm(ReasonForm):
    """Why a bill is compared again, and who explains what differs then."""

    owner = forms.ModelChoiceField(
        people(), label="Explains what differs", widget=UnfoldAdminSelectWidget
    )


@admin.register(SupplierBill)
class SupplierBillAdmin(ReadOnlyAdmin):
    """Bills as they were read, with what usage costs by the newest comparison."""

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
    actions_detail = ("compare_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SupplierBill]:
        """Sum the lines of the newest comparison."""
        rows: QuerySet[SupplierBill] = super().get_queryset(request)
        of_bill = SupplierBillComparison.objects.filter(bill=OuterRef("pk")).order_by("-number")
        rows = rows.annotate(newest=Subquery(of_bill.values("number")[:1]))
        is_newest = Q(lines__number=F("newest"))
        return rows.select_related("imported_by").annotate(
            billed_sum=Sum("lines__billed", filter=is_newest),
            expected_sum=Sum("lines__expected", filter=is_newest),
            open_sum=Count("lines", filter=is_newest & Q(lines__is_open=True)),
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
        count = newest_lines(bill).filter(is_open=True).count()
        return bill, f"Imported: {bill}; {count} to explain."

    @form_action(
        "Compare again",
        permission=_MAY,
        form=CompareForm,
        icon="compare_arrows",
        explanation="Lays the bill beside what its usage costs by what is known now: usage that"
        " came later, prices that were approved later. What was compared before is kept; what was"
        " explained and did not move stays explained.",
    )
    def compare_again(self, by: User, bill: SupplierBill, form: CompareForm) -> str:
        """Compare the bill by what is known now."""
        said = form.cleaned_data
        made = compare_bill_again(
            bill=bill, owner=said["owner"], reason=said["reason"], by=by, at=now()
        )
        count = newest_lines(bill).filter(is_open=True).count()
        return f"Kept as comparison {made.number}; {count} to explain."


@admin.register(SupplierBillComparison)
class SupplierBillComparisonAdmin(ReadOnlyAdmin):
    """When a bill was laid beside usage, by whom and why: the first at its import."""

    list_display = (
        "__str__",
        link("bill"),
        "number",
        "reason",
        link("compared_by", "compared by"),
        moment("compared_at", "compared"),
    )
    list_filter = ("bill__supplier",)
    list_select_related = ("bill", "compared_by")
    search_fields = ("bill__supplier", "reason")
    search_help_text = "Supplier or reason"
    fields = (
        (link("bill"), "number"),
        "reason",
        (link("compared_by", "compared by"), moment("compared_at", "compared")),
    )


@admin.register(SupplierBillLine)
class SupplierBillLineAdmin(ReadOnlyAdmin):
    """Bills model by model."""

    list_display = (
        "model",
        link("bill"),
        "number",
        unrounded("billed", currency="bill.currency"),
        unrounded("expected", "by usage", currency="bill.currency"),
        "difference",
        "is_open",
        link("owner"),
    )
    list_filter = ("is_open", "number", "bill__supplier")
    list_select_related = ("bill", "owner", "explained_by")
    search_fields = ("model", "bill__supplier", "owner__username")
    search_help_text = "Model, supplier or owner"
    fields = (
        "model",
        (link("bill"), "number"),
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


offer_list(
    SupplierBill, SupplierBillComparison, lambda bill: {"bill__id__exact": bill.pk}, icon="history"
)
offer_list(
    SupplierBillComparison,
    SupplierBillLine,
    lambda one: {"bill__id__exact": one.bill_id, "number__exact": one.number},
    icon="list",
)
offer_list(SupplierBill, SupplierBillLine, lambda bill: {"bill__id__exact": bill.pk}, icon="list")
