"""Suppliers' bills by their newest comparison, which is the one that counts."""

from django.db.models import F, Max, QuerySet

from credits.models import SupplierBill, SupplierBillLine


def newest_lines(bill: SupplierBill) -> QuerySet[SupplierBillLine]:
    """List a bill's lines of the newest comparison."""
    lines = bill.lines.annotate(newest=Max("bill__comparisons__number"))
    return lines.filter(number=F("newest"))
