"""Issue invoices: rebuilt inside the lock, numbered last, frozen by the database afterwards."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects

from billing_project.kernel import audit, outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from billing_project.kernel.remembering import look_again, remembering
from credits.selectors.usage import has_usage_to_rate
from credits.services.rating import rate_customer
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus, PlanVersion
from invoicing.selectors import is_issued, plan_version_at, plan_version_of
from invoicing.selectors.entities import address_of, seller_at
from invoicing.selectors.holds import hold_of, open_holds
from invoicing.selectors.writing import locale_of
from invoicing.services.announcing import announce_issued
from invoicing.services.balances import apply_balance
from invoicing.services.closing import close_usage, is_usage_closed
from invoicing.services.commits import give_back_shortfall
from invoicing.services.holds import (
    FAULTS,
    hold_for_fault,
    hold_if_in_doubt,
    release_reopened,
)
from invoicing.services.locks import (
    INVOICE_SERIES,
    lock_invoice,
    require_permission,
    take_number,
)
from invoicing.services.mails import mail_issued
from invoicing.services.overage import (
    billing_period_of,
    draft_overage_invoices,
    is_overage,
    rebuild,
)
from invoicing.services.proposals import propose_for_late_usage
from invoicing.services.splitting import cut_by_workspace
from invoicing.services.taxing import tax_for_issue, tax_for_look

_AT_ONCE = 200  # Between two looks at what another worker has issued.

__all__ = ["draft_overage_invoices", "finalize_due", "finalize_invoice"]


def finalize_invoice(*, invoice: Invoice, by: User, at: datetime) -> Invoice:
    """Issue a draft: from then on it is claimed, numbered and immutable.

    An overage draft is rated and rebuilt first, so that what arrived during the grace is in. The
    customer's balance pays what it can. An invoice over nothing to pay is paid at once. Issued
    already: returned as it is.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: corrections outweighed all its usage, so that it claims and states nothing; it is
            held in doubt or for an approval; or its market is not open or has no approved tax rate.
    """
    require_permission(by, "invoicing.finalize_invoice", "finalize invoices")
    # The refusal comes after the commit: an emptied draft stays empty, a doubtful one held.
    finalized = issue_unless_held(invoice=invoice, by=by, at=at)
    if is_issued(finalized):
        return finalized
    held = hold_of(f"invoice:{finalized.pk}")
    if held is not None:
        raise Conflict(f"this draft is held: {held.detail}", code="invoice_held")
    raise Conflict("this draft has no lines: there is nothing to invoice")


def finalize_due(*, by: User, at: datetime, backwards: bool = False) -> int:
    """Finalize every draft whose grace is over; each in a transaction of its own.

    Safe to run twice at once, and after a run that died. A draft in doubt is held, with its reason,
    and the run goes on; one whose market was closed goes on once it is open. One that lost its
    usage is emptied and waits without lines until there is something to claim.

    Args:
        backwards: Begin with the last: a second worker, who meets the first in the middle.

    Returns:
        Drafts that are issued now.
    """
    has_lines = Exists(InvoiceLine.objects.filter(invoice=OuterRef("pk")))
    is_held = Exists(open_holds().filter(invoice=OuterRef("pk")))
    due = Invoice.objects.filter(has_lines, ~is_held, status=InvoiceStatus.DRAFT, ready_at__lte=at)
    require_permission(by, "invoicing.finalize_invoice", "finalize invoices")
    release_reopened(by=by, at=at)
    finalize = partial(_is_finalized, by=by, at=at)
    order = ("-ready_at", "-id") if backwards else ("ready_at", "id")
    with remembering():
        return each_apart(_in_turn(due.order_by(*order)), finalize, step="finalize")


def _in_turn(due: QuerySet[Invoice]) -> Iterator[Invoice]:
    """Yield what is due, looking now and then whether it still is; each once."""
    seen: set[int] = set()
    while some := list(due.exclude(pk__in=seen)[:_AT_ONCE]):
        seen.update(invoice.pk for invoice in some)
        yield from some


def _is_finalized(invoice: Invoice, by: User, at: datetime) -> bool:
    try:
        return is_issued(issue_unless_held(invoice=invoice, by=by, at=at))
    except FAULTS as error:
        hold_for_fault(invoice, error, by, at)
        raise


@transaction.atomic
def issue_unless_held(*, invoice: Invoice, by: User, at: datetime) -> Invoice:
    """Issue a draft unless nothing is left on it, or somebody has to look at it first."""
    locked = lock_invoice(invoice)
    look_again()
    if is_issued(locked) or hold_of(f"invoice:{locked.pk}") is not None:
        return locked
    if not is_overage(locked):
        prefetch_related_objects([locked], "lines")
        tax_for_look(locked, at)
        if not locked.lines.all() or hold_if_in_doubt(locked, None, by, at):
            return locked
        return _issue(locked, by, at)
    period = billing_period_of(locked)
    in_doubt = period if has_usage_to_rate(locked.customer_id) else None
    if in_doubt is not None:
        rate_customer(customer_id=locked.customer_id, by=by, at=at)
    rebuild(locked, period)
    prefetch_related_objects([locked], "lines")  # Asked for by each of the next steps.
    tax_for_look(locked, at)
    if not locked.lines.all() or hold_if_in_doubt(locked, in_doubt, by, at):
        return locked
    drafts = cut_by_workspace(locked, period, at)
    if not drafts[0].lines.exists():
        return locked
    if locked.ready_at >= period.end_at:
        is_late = not close_usage(period, at)
    else:  # Its threshold was reached, and it goes on.
        is_late = is_usage_closed(period)
    version = plan_version_of(period, locked.subscription)
    issued = [_issue(draft, by, at, version) for draft in drafts]
    give_back_shortfall(period, at)  # Also of a term that was trued up while this one was held.
    if is_late:
        for invoice in issued:
            propose_for_late_usage(invoice, at)
    return issued[0]


def issue_at_once(*, invoice: Invoice, by: User, at: datetime) -> Invoice:
    """Issue a draft if nothing stands against it; else the next run looks at it, or holds it."""
    try:
        return issue_unless_held(invoice=invoice, by=by, at=at)
    except Conflict:  # Its market is not open, or has no rate: what a customer has changes anyway.
        return invoice


def _issue(invoice: Invoice, by: User, at: datetime, version: PlanVersion | None = None) -> Invoice:
    """Tax a draft, number it last, and let the customer's balance pay.

    Args:
        version: The plan that it claims by, where that is known already.

    Raises:
        Conflict: its market is not open, or its entity has no approved version.
    """
    tax_for_issue(invoice, at)
    vars(invoice).pop("_prefetched_objects_cache", None)  # Lines move from now on.
    _keep_names(invoice, at)
    invoice.finalized_at, invoice.due_on = at, _due_on(invoice, version, at)
    invoice.open_minor = invoice.total_minor
    invoice.status = InvoiceStatus.FINALIZED if invoice.total_minor else InvoiceStatus.PAID
    invoice.sequence, invoice.number = take_number(INVOICE_SERIES, invoice.entity_id)
    invoice.save()
    outbox.publish("money_changed", [invoice.customer_id], at)
    audit.record(
        by=by,
        at=at,
        action="finalize_invoice",
        subject=invoice,
        number=invoice.number,
        total_minor=invoice.total_minor,
        currency=invoice.currency,
    )
    apply_balance(invoice=invoice, by=by, at=at)
    mail_issued(invoice, by, at)
    announce_issued(invoice, at)
    return invoice


def _keep_names(invoice: Invoice, at: datetime) -> None:
    """Keep who sold and who bought, as both are called now."""
    seller, customer = seller_at(invoice.entity_id, at), invoice.customer
    invoice.seller_name, invoice.seller_address = seller.name, seller.address
    invoice.seller_tax_number = seller.tax_number
    invoice.customer_name, invoice.locale = customer.name, locale_of(customer)
    shown = (address_of(customer), customer.email, customer.country)
    invoice.customer_address = "\n".join(filter(None, shown))


def _due_on(invoice: Invoice, version: PlanVersion | None, at: datetime) -> date:
    """Count the payment days from the customer's local date; what is sold ahead is due at once."""
    sold = invoice.subscription
    version = version or (plan_version_at(sold, invoice.service_start_at) if sold else None)
    days = version.payment_days if version else 0
    local = at.astimezone(ZoneInfo(invoice.customer.time_zone)).date()
    return local + timedelta(days=days)
