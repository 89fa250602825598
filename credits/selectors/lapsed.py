"""Credits that time took, which usage from before the end may still burn."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, Sum

from credits.models import LedgerKind, LedgerTransaction

DUE, LATE_USAGE, ROLLED_OVER = "due", "late_usage", "rolled_over"
RETURNED_AFTER_END = "returned_after_end"
CREDIT_NOTE, NOTE_VOIDED = "credit_note", "credit_note_voided"
OF_NOTES = (CREDIT_NOTE, NOTE_VOIDED)  # Moved without usage: forgiven, and taken again.
OF_USAGE = (LATE_USAGE, RETURNED_AFTER_END)  # What follows from usage; nobody decided it.
# Time took these, not a person: a grant that somebody ended keeps nothing for late usage.
_BY_TIME = (DUE, RETURNED_AFTER_END)


def lapsed_credits(customer_ids: Collection[int], since: datetime) -> dict[int, Decimal]:
    """Return by grant what lapsed and was not taken back, of grants that ended after an instant.

    Args:
        since: Start of the first hour of usage to be rated; what ended by then admits none of it.
    """
    moves = LedgerTransaction.objects.filter(
        Q(kind=LedgerKind.EXPIRED, reason_code__in=_BY_TIME)
        | Q(kind=LedgerKind.REINSTATED, reason_code=LATE_USAGE),
        customer_id__in=customer_ids,
        effective_at__gt=since,
    )
    rows = moves.order_by().values_list("grant_id").annotate(total=Sum("credits"))
    return {grant_id: -total for grant_id, total in rows if total}


def reinstated_at(customer_ids: Collection[int]) -> dict[int, datetime]:
    """Return by grant when a person, or the end of a dispute, last gave back what was taken."""
    moves = LedgerTransaction.objects.filter(
        kind=LedgerKind.REINSTATED, customer_id__in=customer_ids, credits__gt=0
    ).exclude(reason_code=LATE_USAGE)
    rows = moves.order_by().values_list("grant_id").annotate(last=Max("effective_at"))
    return dict(rows)
