"""Which kinds of facts of a customer wait for the books, asked in one statement.

Most customers only use credits from one run to the next; what is not there need not be looked for
kind by kind.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet

from revrec.models import ContractAllocation, ContractModification, GrantBasis
from revrec.selectors import facts
from revrec.sources import SourceType


def _any_of(model: type[Model], kind: SourceType, customer: str) -> Callable[[int], QuerySet[Any]]:
    """List what is not in the books, whether it is approved and has begun or not."""
    return lambda key: model._default_manager.filter(~facts.accounted(kind), **{customer: key})


# Kinds that a step may pass by. The others are read at each run: they come with use and with time.
KINDS: Mapping[SourceType, Callable[[int], QuerySet[Any]]] = {
    SourceType.INVOICE_LINE: facts.unaccounted_lines,
    SourceType.PAYMENT: facts.unaccounted_payments,
    SourceType.CREDIT_NOTE: facts.unaccounted_notes,
    SourceType.CREDIT_NOTE_VOID: facts.unaccounted_note_voids,
    SourceType.INVOICE_VOID: facts.unaccounted_voids,
    SourceType.WRITE_OFF: facts.unaccounted_write_offs,
    SourceType.SHORT_PAYMENT: facts.unaccounted_short_payments,
    SourceType.BALANCE_APPLICATION: facts.unaccounted_applications,
    SourceType.REFUND: facts.unaccounted_refunds,
    SourceType.REFUND_FAILURE: facts.unaccounted_failures,
    SourceType.OVERPAYMENT: facts.unaccounted_overpayments,
    SourceType.PROCESSOR_FEE: facts.unaccounted_fees,
    SourceType.DISPUTE: facts.unaccounted_disputes,
    SourceType.DISPUTE_OUTCOME: facts.unaccounted_verdicts,
    SourceType.OUTCOME_DECISION: facts.unaccounted_decisions,
    SourceType.GRANT_BASIS: _any_of(GrantBasis, SourceType.GRANT_BASIS, "grant__customer"),
    SourceType.CONTRACT_ALLOCATION: _any_of(
        ContractAllocation, SourceType.CONTRACT_ALLOCATION, "customer"
    ),
    SourceType.CONTRACT_MODIFICATION: _any_of(
        ContractModification, SourceType.CONTRACT_MODIFICATION, "customer"
    ),
}
ALWAYS_READ = frozenset(
    {
        SourceType.LEDGER_TRANSACTION,
        SourceType.RATED_USAGE,
        SourceType.SCHEDULE_LINE,
    }
)
_SOMEBODY = -(2**40)  # Stands for the customer in the statement that is kept.


def kinds_waiting(customer_id: int) -> frozenset[SourceType]:
    """Return the kinds of which a customer has facts that are not in the books; see KINDS."""
    text, words = _statement()
    with connection.cursor() as cursor:
        cursor.execute(text, [customer_id if word == _SOMEBODY else word for word in words])
        row = cursor.fetchone()
    return frozenset(kind for kind, waits in zip(KINDS, row, strict=True) if waits)


@cache
def _statement() -> tuple[str, tuple[Any, ...]]:
    """Write one EXISTS for each kind, out of the same queries that list the facts."""
    parts: list[str] = []
    words: list[Any] = []
    for unaccounted in KINDS.values():
        rows = unaccounted(_SOMEBODY).order_by().values("pk")
        text, said = rows.query.sql_with_params()
        parts.append(f"EXISTS ({text})")
        words += said
    return f"SELECT {', '.join(parts)}", tuple(words)
