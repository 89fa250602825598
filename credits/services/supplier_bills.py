"""Import a supplier's bill beside what usage costs, and explain what differs."""

from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.period import Period, midnight, month_of
from credits.models import SupplierBill, SupplierBillLine
from credits.selectors.supplier_costs import costs_by_model
from credits.supplier_bills import UnreadableBill, compared, read_bill

_DECIMALS = Decimal("0.000000000001")
_MAY = "credits.reconcile_supplierbill"


@transaction.atomic
def import_supplier_bill(
    *, text: str, supplier: str, month_on: date, currency: str, source: str, owner: User,
    by: User, at: datetime,
) -> SupplierBill:  # fmt: skip
    """Keep a bill with what its month's usage costs by the supplier's prices, model by model.

    The same text again is the same bill. What is expected is known as of now: usage that is
    reported later is in the next import.

    Args:
        month_on: Any day of the month; usage is counted by UTC.
        owner: Who explains what differs.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: a text that is no bill, no supplier, no currency, no active owner; with its field.
        Conflict: the month has not ended, or the same text is a bill in another currency.
    """
    _refuse_stranger(by)
    start_on, end_on = month_of(month_on)
    if at < midnight(end_on):
        raise Conflict(f"{start_on:%Y-%m} has not ended")
    _refuse_bad_words(supplier, currency, source, owner)
    try:
        billed = read_bill(text)
    except UnreadableBill as error:
        raise Invalid(str(error), field="text") from error
    bill, is_new = SupplierBill.objects.get_or_create(
        supplier=supplier.strip(), month_on=start_on, text_sha256=sha256_hex(text),
        defaults={
            "currency": currency, "source": source.strip(), "imported_by": by, "imported_at": at,
        },
    )  # fmt: skip
    if bill.currency != currency:
        raise Conflict(f"this bill was imported in {bill.currency}")
    if is_new:
        span = Period(midnight(start_on), midnight(end_on))
        expected = costs_by_model(span, currency, bill.supplier)
        SupplierBillLine.objects.bulk_create(
            SupplierBillLine(
                bill=bill, model=row.model, billed=row.billed,
                expected=row.expected.quantize(_DECIMALS), is_open=row.is_open, owner=owner,
            )
            for row in compared(billed, expected)
        )  # fmt: skip
        audit.record(by=by, at=at, action="import_supplier_bill", subject=bill, source=source)
    return bill


@transaction.atomic
def explain_difference(
    *, line: SupplierBillLine, explanation: str, by: User, at: datetime
) -> SupplierBillLine:
    """Say why a bill differs from usage; once.

    Raises:
        NotAllowed: a person without the permission. Invalid: no explanation.
        Conflict: nothing is open.
    """
    _refuse_stranger(by)
    if not explanation.strip():
        raise Invalid("say why it differs", field="reason")
    locked = SupplierBillLine.objects.select_for_update(no_key=True, of=("self",)).get(pk=line.pk)
    if not locked.is_open:
        raise Conflict("nothing of this line is to be explained")
    locked.is_open, locked.explanation = False, explanation
    locked.explained_by, locked.explained_at = by, at
    locked.save(update_fields=["is_open", "explanation", "explained_by", "explained_at"])
    audit.record(by=by, at=at, action="explain_bill_difference", subject=locked, reason=explanation)
    return locked


def _refuse_stranger(by: User) -> None:
    if not by.is_service and not by.has_perm(_MAY):
        raise NotAllowed(f"{by.username} may not reconcile suppliers' bills")


def _refuse_bad_words(supplier: str, currency: str, source: str, owner: User) -> None:
    if not 0 < len(supplier.strip()) <= 64:
        raise Invalid("name the supplier in up to 64 characters", field="supplier")
    if not is_currency(currency):
        raise Invalid(f"{currency} is no currency", field="currency")
    if not 0 < len(source.strip()) <= 200:
        raise Invalid("say in 1 to 200 characters where the bill comes from", field="source")
    if not owner.is_active or owner.is_service:
        raise Invalid(f"{owner} is not an active person", field="owner")
