"""Import a supplier's bill beside what usage costs, compare it again, explain what differs."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import audit
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.period import Period, midnight, month_of
from credits.models import SupplierBill, SupplierBillComparison, SupplierBillLine
from credits.selectors.supplier_costs import costs_by_model
from credits.supplier_bills import Difference, UnreadableBill, compared, read_bill

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
        _write(bill, 1, compared(billed, _expected(bill)), owner, {})
        SupplierBillComparison.objects.create(bill=bill, number=1, compared_by=by, compared_at=at)
        audit.record(by=by, at=at, action="import_supplier_bill", subject=bill, source=source)
    return bill


@transaction.atomic
def compare_bill_again(
    *, bill: SupplierBill, owner: User, reason: str, by: User, at: datetime
) -> SupplierBillComparison:
    """Lay a bill beside what its usage costs by what is known now; what was compared stays.

    A difference that stayed as it was explained needs no words again. What was open before is not
    asked for any more: the new comparison asks for it.

    Args:
        owner: Who explains what differs now.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no reason, or no active owner; with its field.
        Conflict: usage costs what it did at the last comparison.
    """
    _refuse_stranger(by)
    _refuse_absent(owner)
    if not reason.strip():
        raise Invalid("say why it is compared again", field="reason")
    bill = SupplierBill.objects.select_for_update(no_key=True).get(pk=bill.pk)
    number: int = bill.comparisons.aggregate(last=Max("number"))["last"]
    before = {line.model: line for line in bill.lines.filter(number=number)}
    billed = {model: line.billed for model, line in before.items()}
    rows = compared(billed, _expected(bill))
    if {r.model: r.expected for r in rows} == {m: line.expected for m, line in before.items()}:
        raise Conflict("usage costs what it did when the bill was compared last")
    bill.lines.filter(number=number, is_open=True).update(is_open=False)
    _write(bill, number + 1, rows, owner, before)
    audit.record(
        by=by, at=at, action="compare_bill_again", subject=bill, reason=reason, number=number + 1
    )
    return SupplierBillComparison.objects.create(
        bill=bill, number=number + 1, reason=reason, compared_by=by, compared_at=at
    )


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


def _expected(bill: SupplierBill) -> dict[str, Decimal]:
    """Say what the month's usage costs by the supplier's prices, as it is known now."""
    start_on, end_on = month_of(bill.month_on)
    span = Period(midnight(start_on), midnight(end_on))
    found = costs_by_model(span, bill.currency, bill.supplier)
    return {model: cost.quantize(_DECIMALS) for model, cost in found.items()}


def _write(
    bill: SupplierBill, number: int, rows: Iterable[Difference], owner: User,
    before: Mapping[str, SupplierBillLine],
) -> None:  # fmt: skip
    """Write the lines of a comparison; what was explained and is the same stays explained."""
    lines = []
    for row in rows:
        line = SupplierBillLine(
            bill=bill, number=number, model=row.model, billed=row.billed, expected=row.expected,
            is_open=row.is_open, owner=owner,
        )  # fmt: skip
        last = before.get(row.model)
        if last is not None and last.explanation and last.expected == row.expected:
            line.is_open, line.explanation, line.owner = False, last.explanation, last.owner
            line.explained_by, line.explained_at = last.explained_by, last.explained_at
        lines.append(line)
    SupplierBillLine.objects.bulk_create(lines)


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
    _refuse_absent(owner)


def _refuse_absent(owner: User) -> None:
    if not owner.is_active or owner.is_service:
        raise Invalid(f"{owner} is not an active person", field="owner")
