"""The life of one grant: its ledger with what was left after each entry, and its picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum, Window
from django.db.models.functions import TruncHour

from credits.grant_picture import Move, Picture, picture_of
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.why import why_these_grants

PAGE = 20
_MOST_EXPLAINED = 20_000  # Entries of a customer; each explanation folds all of them.
_OF_USAGE = (LedgerKind.DRAWN, LedgerKind.RETURNED)


@dataclass(frozen=True)
class Entry:
    """One entry, with what the grant had left after it and why it was burned."""

    row: LedgerTransaction
    left: Decimal
    why: str


@dataclass(frozen=True)
class GrantLife:
    """A page of a grant's ledger, the newest entry first."""

    entries: Sequence[Entry]
    page: int
    has_newer: bool
    has_older: bool
    is_explained: bool  # Whether it says why each burn took this grant.


def life_of(grant: CreditGrant, page: int = 1) -> GrantLife:
    """Return a page of a grant's entries as they became known, the first page the newest.

    Args:
        page: From 1 on; beyond the last one is empty.
    """
    rows = (
        LedgerTransaction.objects.filter(grant=grant)
        .select_related("rated_usage__window__meter", "credit_policy", "recorded_by")
        .annotate(left=Window(Sum("credits"), order_by="position"))
        .order_by("-position")
    )
    start = (page - 1) * PAGE
    found = list(rows[start : start + PAGE + 1])
    is_explained = _is_short(grant)
    why = why_these_grants([row.pk for row in found[:PAGE]]) if is_explained else {}
    entries = [Entry(row, row.left, why.get(row.pk, "")) for row in found[:PAGE]]
    return GrantLife(entries, page, page > 1, len(found) > PAGE, is_explained)


def picture_of_grant(grant: CreditGrant, at: datetime) -> Picture | None:
    """Draw what the grant had left over time, by when its entries took effect."""
    rows = LedgerTransaction.objects.filter(grant=grant).order_by()
    hours = (
        rows.filter(kind__in=_OF_USAGE)
        .values_list(TruncHour("effective_at"))
        .annotate(total=Sum("credits"))
    )
    moves = [Move(max(hour, grant.effective_at), total) for hour, total in hours]
    moves += [
        Move(row.effective_at, row.credits, row.kind) for row in rows.exclude(kind__in=_OF_USAGE)
    ]
    # What was granted comes first of all at its instant.
    moves.sort(key=lambda move: (move.at, move.kind != LedgerKind.GRANTED))
    return picture_of(moves, at, grant.expires_at)


def _is_short(grant: CreditGrant) -> bool:
    entries = LedgerTransaction.objects.filter(customer_id=grant.customer_id).order_by()
    return len(entries.values_list("pk")[: _MOST_EXPLAINED + 1]) <= _MOST_EXPLAINED
