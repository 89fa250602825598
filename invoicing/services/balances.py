"""Let a customer's balance pay what they owe: by itself when an invoice is issued, or on request.

The balance is what notes left there (rule 15 of docs/accounting.md). The database moves it, and
refuses to take more than is there.
"""

from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, Insufficient
from billing_project.kernel.models import User
from invoicing.crediting import pays
from invoicing.models import BalanceApplication, Invoice
from invoicing.selectors import balance_of, is_issued, refuse_ended
from invoicing.services.announcing import announce_if_paid
from invoicing.services.granting import issue_pack_grants
from invoicing.services.locks import lock_invoice, require_permission


@transaction.atomic
def pay_from_balance(*, invoice: Invoice, by: User, at: datetime) -> BalanceApplication:
    """Let the customer's balance pay an issued invoice, as far as it goes.

    Raises:
        NotAllowed: a person without the permission.
        Conflict: the invoice is a draft, or owes nothing.
        Insufficient: the customer has no balance in its currency.
    """
    require_permission(by, "invoicing.record_payment", "let a balance pay invoices")
    locked = lock_invoice(invoice)
    if not is_issued(locked):
        raise Conflict("a draft is not owed yet: its balance is applied when it is finalized")
    refuse_ended(locked)
    if not locked.open_minor:
        raise Conflict(f"{locked.number} has nothing open")
    application = apply_balance(invoice=locked, by=by, at=at)
    if application is None:
        raise Insufficient(f"{locked.customer} has no balance in {locked.currency}")
    announce_if_paid(locked, at)
    return application


def apply_balance(*, invoice: Invoice, by: User, at: datetime) -> BalanceApplication | None:
    """Apply a customer's balance to an invoice that is locked; None where there is nothing to.

    With what it pays last, credits sold by the invoice are granted.
    """
    amount_minor = pays(balance_of(invoice), invoice.open_minor)
    if not amount_minor:
        return None
    application = BalanceApplication.objects.create(
        invoice=invoice,
        amount_minor=amount_minor,
        currency=invoice.currency,
        applied_at=at,
        applied_by=by,
    )
    invoice.refresh_from_db(fields=["status", "applied_minor", "open_minor"])
    issue_pack_grants(invoice=invoice, effective_at=at, by=by, at=at)
    outbox.publish("money_changed", [invoice.customer_id], at)
    audit.record(
        by=by, at=at, action="apply_customer_balance", subject=application,
        invoice=invoice.number, amount_minor=amount_minor, currency=invoice.currency,
    )  # fmt: skip
    return application
