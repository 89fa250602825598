"""Give credits back by a credit note, and take them again when it is voided.

Called in the transaction that writes the note or its void, under the customer's lock.
"""

from datetime import datetime

from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from credits.services.forgiving import forgive_usage, refuse_spent, take_again
from invoicing.models import CreditNote, CreditNoteLine
from invoicing.selectors.restoring import key_of, usage_of


def restore_credits(note: CreditNote, by: User, at: datetime) -> None:
    """Give back what a note's lines say: to the grants that paid, the newest burn first.

    Raises:
        Insufficient: grants paid less than that.
    """
    for row in _restoring(note):
        period, rated = usage_of(row.invoice_line)
        forgive_usage(
            period=period, rated=rated, amount=row.restored_credits,
            key=key_of(note, row.invoice_line), by=by, at=at,
        )  # fmt: skip


def take_credits_again(note: CreditNote, by: User, at: datetime) -> None:
    """Burn again what a note gave back.

    Raises:
        Conflict: the credits were used or ended since, or the usage was corrected.
    """
    for row in _restoring(note):
        period, _ = usage_of(row.invoice_line)
        take_again(period=period, key=key_of(note, row.invoice_line), by=by, at=at)


def refuse_used(note: CreditNote, at: datetime) -> None:
    """Refuse to void a note whose credits are not all there any more.

    Raises:
        Conflict: as for `take_credits_again`; the message says what to do.
    """
    for row in _restoring(note):
        period, _ = usage_of(row.invoice_line)
        try:
            refuse_spent(period, key_of(note, row.invoice_line), at)
        except Conflict as error:
            raise Conflict(f"{error}: {note} stays. Claim by a new invoice what it gave") from error


def _restoring(note: CreditNote) -> list[CreditNoteLine]:
    rows = note.lines.filter(restored_credits__gt=0)
    return list(rows.select_related("invoice_line__billing_period").order_by("pk"))
