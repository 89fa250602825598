"""What a trace from a month of the books says besides the graph: its sums, its close, its seal."""

from datetime import datetime

from billing_project.console.lineage import Month
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import UtcDateTimeField
from revrec.models import CloseException, LedgerSeal
from revrec.reporting import amount_text
from revrec.selectors.month_entries import KindTotal

_instant = UtcDateTimeField().to_representation
_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
_MAYBE_AT = {**_MAYBE, "format": "date-time"}
_AT = {**_TEXT, "format": "date-time"}
_TOTAL = {
    "type": "object",
    "required": ["kind", "currency", "entry_count", "amount"],
    "properties": {
        "kind": _TEXT,
        "currency": _TEXT,
        "entry_count": {"type": "integer"},
        "amount": {
            **_TEXT,
            "description": "What the amounts of the nodes of all these entries come to.",
        },
    },
}
_EXCEPTION = {
    "type": "object",
    "required": ["item", "step", "says", "reason", "signed_at", "signed_by"],
    "properties": {
        **dict.fromkeys(("item", "step", "says", "reason", "signed_by"), _TEXT),
        "signed_at": _AT,
    },
}
_SEAL = {
    "type": ["object", "null"],
    "required": ["entity", "head_position", "head_sha256", "sealed_at", "sealed_by"],
    "properties": {
        **dict.fromkeys(("entity", "head_sha256", "sealed_by"), _TEXT),
        "head_position": {"type": "integer"},
        "sealed_at": _AT,
    },
}
MONTH = {
    "type": "object",
    "description": "Of a trace that starts at a period: all its entries by kind (with the first"
    " page alone), its close and who signed. The entries of the graph are a page of them.",
    "required": [
        *("period", "status", "proposed_at", "proposed_by", "closed_at", "closed_by"),
        *("totals", "exceptions", "seal", "next_cursor"),
    ],
    "properties": {
        "period": _TEXT,
        "status": {**_TEXT, "enum": ["open", "soft", "closed"]},
        "proposed_at": _MAYBE_AT,
        "proposed_by": _MAYBE,
        "closed_at": _MAYBE_AT,
        "closed_by": _MAYBE,
        "totals": {"type": "array", "items": _TOTAL},
        "exceptions": {"type": "array", "items": _EXCEPTION},
        "seal": _SEAL,
        "next_cursor": {**_MAYBE, "description": "For the entries that follow, as `cursor`."},
    },
}


def month_texts(month: Month) -> dict[str, object]:
    """Write a month as the schema says."""
    period = month.period
    return {
        "period": str(period),
        "status": period.status,
        "proposed_at": _at(period.soft_closed_at),
        "proposed_by": _name(period.soft_closed_by),
        "closed_at": _at(period.closed_at),
        "closed_by": _name(period.closed_by),
        "totals": [_total(total) for total in month.totals],
        "exceptions": [_exception(one) for one in month.exceptions],
        "seal": _seal(month.seal) if month.seal else None,
        "next_cursor": None if month.next_id is None else str(month.next_id),
    }


def _total(total: KindTotal) -> dict[str, object]:
    return {
        "kind": total.kind,
        "currency": total.currency,
        "entry_count": total.entry_count,
        "amount": amount_text(total.amount_minor, total.currency),
    }


def _exception(one: CloseException) -> dict[str, object]:
    words = {"item": one.item, "step": one.step, "says": one.says, "reason": one.reason}
    return {**words, "signed_at": _at(one.signed_at), "signed_by": str(one.signed_by)}


def _seal(seal: LedgerSeal) -> dict[str, object]:
    return {
        "entity": seal.entity,
        "head_position": seal.head_position,
        "head_sha256": seal.head_sha256,
        "sealed_at": _at(seal.sealed_at),
        "sealed_by": str(seal.sealed_by),
    }


def _at(instant: datetime | None) -> str | None:
    return _instant(instant) if instant else None


def _name(person: User | None) -> str | None:
    return str(person) if person else None
