"""Account for credits: sold, used, given back, ended. Credits that cost nothing earn nothing."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter

from billing_project.kernel.period import DAY
from credits.models import CreditGrant, LedgerKind, LedgerTransaction
from credits.selectors.frozen import OF_DISPUTES
from invoicing.selectors.opening import is_opening_grant
from revrec.basis import Movement, Release, releases
from revrec.conditional import prepaid_shortfall
from revrec.models import ObligationKind, PerformanceObligation, UsedCredits
from revrec.posting import (
    About,
    EntryKind,
    Lines,
    credits_expired,
    credits_used,
    opening_credits,
    pack_sold_for_cash,
)
from revrec.selectors.facts import Move, unaccounted_grants, unaccounted_moves
from revrec.selectors.obligations import basis_of, ended_credits, used_so_far
from revrec.services.drafts import Run, about
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.sources import Source, SourceType

_ROLLED = LedgerKind.ROLLED_OVER
_ENDS = {LedgerKind.EXPIRED, LedgerKind.VOIDED, LedgerKind.REINSTATED}


def account_grants(run: Run) -> int:
    """Tie each new paid grant to the promise that it fulfils; return the entries posted.

    A grant from a credit pack joins the promise that its invoice made. One that has a price but no
    invoice counts as paid out of band when it was recorded: Dr 1000 Cr 2100 on that day, whenever
    its credits can be used. A linked grant holds credits that are promised already.
    """
    silent: list[int] = []
    drafts: list[EntryDraft] = []
    for transaction in unaccounted_grants(run.customer_id, run.mark.through_transaction):
        grant = transaction.grant
        if grant.origin_id or not grant.price_minor or _join_invoice(grant):
            silent.append(transaction.pk)
        else:
            drafts.append(_sale(run, transaction))
    note_nothing_to_post(sources=_sources(silent))
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def account_movements(run: Run, until: datetime | None = None) -> int:
    """Earn what was used or ended at each grant's own cost basis; return the entries posted.

    Linked grants share the promise of the first of them: what rolls over moves nothing. Nor does
    what is frozen while its payment is disputed: it stays promised.

    Args:
        until: Leaves later movements for a next call; a credit note comes between.
    """
    rows = unaccounted_moves(run.customer_id, until, run.mark.through_transaction)
    promises = {
        promise.grant_id: promise
        for promise in PerformanceObligation.objects.filter(
            grant__in={row.promised_grant_id for row in rows}
        ).select_related("grant")
    }
    moves: list[Move] = []
    silent: list[int] = []
    for row in rows:
        if row.promised_grant_id in promises and _may_earn(row):
            moves.append(row)
        else:
            silent.append(row.pk)
    drafts: list[EntryDraft] = []
    for grant_id, of_grant in groupby(moves, key=attrgetter("promised_grant_id")):
        for release in _earn(run, promises[grant_id], list(of_grant)):
            if release.amount_minor or release.by_model:
                drafts.append(_draft(run, promises[grant_id], release))
            else:
                silent += release.transaction_ids
    note_nothing_to_post(sources=_sources(silent))
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def end_of_credits(
    obligation: PerformanceObligation, amount_minor: int, dimensions: About
) -> tuple[EntryKind, Lines]:
    """Return what the end of unused credits is: breakage, or the shortfall of a commitment."""
    if obligation.kind == ObligationKind.COMMITMENT:
        return EntryKind.SHORTFALL_EARNED, prepaid_shortfall(amount_minor, dimensions)
    return EntryKind.CREDITS_EXPIRED, credits_expired(amount_minor, dimensions)


def _begin_use(obligation: PerformanceObligation) -> None:
    """Keep that nothing of a new promise is used, so that its grant's ledger is not folded."""
    UsedCredits.objects.bulk_create(
        [UsedCredits(obligation=obligation, credits=0)], ignore_conflicts=True
    )


def _may_earn(row: Move) -> bool:
    """Tell whether a movement may earn: what moves on, or is frozen for a while, does not."""
    return row.kind != _ROLLED and row.reason_code not in OF_DISPUTES


def _join_invoice(grant: CreditGrant) -> bool:
    """Give a pack's grant to the promise of its invoice line ("invoice_line:9:pack")."""
    line_key, _, suffix = grant.source_key.rpartition(":")
    if suffix != "pack" or not line_key.startswith("invoice_line:"):
        return False
    obligation = PerformanceObligation.objects.get(source_key=line_key)
    obligation.grant = grant
    obligation.save(update_fields=["grant"])
    _begin_use(obligation)
    return True


def _sale(run: Run, transaction: LedgerTransaction) -> EntryDraft:
    grant = transaction.grant
    obligation = PerformanceObligation.objects.create(
        customer_id=grant.customer_id,
        kind=ObligationKind.CREDITS,
        grant=grant,
        currency=grant.currency,
        price_minor=grant.price_minor,
        source_key=f"credit_grant:{grant.pk}",
    )
    _begin_use(obligation)
    is_opening = is_opening_grant(grant)
    rule = opening_credits if is_opening else pack_sold_for_cash
    how = "before these books" if is_opening else "out of band"
    return EntryDraft(
        wanted_on=run.day_of(grant.created_at),
        kind=EntryKind.OPENING_BALANCE if is_opening else EntryKind.CREDITS_SOLD,
        description=f"Credits sold {how}, grant {grant.pk}",
        customer_id=run.customer_id,
        lines=rule(grant.price_minor, about(obligation)),
        source_key=f"{obligation.source_key}:sold",
        sources=_sources([transaction.pk]),
    )


def _earn(run: Run, obligation: PerformanceObligation, rows: Sequence[Move]) -> list[Release]:
    """Work out what a grant's new movements release, and let its promise follow."""
    movements = [
        Movement(
            row.pk, _service_day(run, obligation, row), row.credits, row.kind in _ENDS, row.model
        )
        for row in rows
    ]
    used = used_so_far(obligation)
    is_ending = any(movement.ends_grant for movement in movements)
    ended = ended_credits(obligation) if is_ending else Decimal(0)
    steps = list(
        releases(basis_of(obligation), used.credits, obligation.recognised_minor, movements, ended)
    )
    used.credits -= sum((move.credits for move in movements if not move.ends_grant), Decimal(0))
    used.save()
    obligation.recognised_minor += sum(step.amount_minor for step in steps)
    obligation.save(update_fields=["recognised_minor"])
    return steps


def _service_day(run: Run, obligation: PerformanceObligation, row: Move) -> date:
    """Return the day of a movement; what ends with a commitment's term, does on its last day."""
    on = run.day_of(row.effective_at)
    ends_at = row.expires_at
    if obligation.kind == ObligationKind.COMMITMENT and row.kind in _ENDS and ends_at is not None:
        return min(on, run.day_of(ends_at) - DAY)
    return on


def _draft(run: Run, obligation: PerformanceObligation, release: Release) -> EntryDraft:
    """Write what a release earns, on its service day, but never before the credits were sold."""
    assert obligation.grant is not None, "a promise of credits that move has its grant"
    word = "ended" if release.is_breakage else "used"
    dimensions = about(obligation, release.service_on)
    lines = credits_used(release.amount_minor, dimensions, release.by_model)
    kind = EntryKind.CREDITS_USED
    if release.is_breakage:
        kind, lines = end_of_credits(obligation, release.amount_minor, dimensions)
    return EntryDraft(
        wanted_on=max(release.service_on, run.day_of(obligation.grant.created_at)),
        kind=kind,
        description=f"Credits {word} on {release.service_on}, grant {obligation.grant_id}",
        customer_id=run.customer_id,
        lines=lines,
        source_key=f"grant:{obligation.grant_id}:{word}:through:{max(release.transaction_ids)}",
        sources=_sources(release.transaction_ids),
    )


def _sources(transaction_ids: Iterable[int]) -> tuple[Source, ...]:
    return tuple(Source(SourceType.LEDGER_TRANSACTION, pk) for pk in transaction_ids)
