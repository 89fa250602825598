"""Divide the price of a contract over its promises by what each would cost alone.

A plan and a pack that are sold together at one price are one contract, whatever each invoice line
claims (IFRS 15.17, 76). Finance approves which lines these are and what each is worth alone; the
promises then take their shares, and what was earned of them is caught up. A note that takes a line
off whole, one on credits, or a void ends the contract: its shares go back first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from invoicing.models import PREPAID, InvoiceLine, InvoiceStatus, LineKind
from metering.models import Customer
from metering.services.customers import lock_customer
from revrec.allocation import Part, allocate_price
from revrec.basis import CostBasis, repriced
from revrec.crediting import Reason, split_credit
from revrec.models import (
    PREPAID_CREDITS,
    AllocatedShare,
    ContractAllocation,
    GrantBasis,
    ObligationKind,
    PerformanceObligation,
)
from revrec.posting import EntryKind, Lines, PostingLine, balanced, credits_used, fee_earned
from revrec.selectors.allocations import (
    ALLOCATION,
    UNDONE,
    content_of_allocation,
    held_shares,
    shares_of,
    standing_shares,
)
from revrec.selectors.obligations import basis_of, ended_credits, progress_of, used_so_far
from revrec.services.drafts import Run, about
from revrec.services.grants import end_of_credits
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.schedules import LIABILITIES, revise_schedule
from revrec.sources import Source, SourceType

_OPEN = (PolicyStatus.SUBMITTED, PolicyStatus.APPROVED)
_FEES = (LineKind.RECURRING, LineKind.SEAT, LineKind.ONE_OFF)
_STEP, _MOST_LINES = Decimal("0.000000000001"), 50


@dataclass(frozen=True)
class Alone:
    """What a line's promise would cost alone, in major units, net."""

    line: InvoiceLine
    ssp: Decimal


@dataclass(frozen=True)
class _Move:
    """A promise that takes a share of the others' price, or, negative, gives them of its own."""

    promise: PerformanceObligation
    shift_minor: int


@transaction.atomic
def propose_allocation(
    *, customer: Customer, parts: Sequence[Alone], evidence: str, proposal: Proposal, by: User,
    at: datetime,
) -> ContractAllocation:  # fmt: skip
    """Propose that lines are one contract, whose price divides by what each would cost alone.

    Args:
        parts: Issued lines in advance of this customer, each with something deferred by kind: fees
            and credits.

    Raises:
        Invalid: no evidence, a price out of bounds, lines that are no contract, or one in which
            everything is claimed at its share already; with its field.
        Conflict: a line was credited, void, or stands in another contract.
    """
    if not evidence.strip():
        raise Invalid("an allocation needs its evidence", field="evidence")
    locked = lock_customer(customer.pk)
    lines = _lines_of(locked, parts)
    _refuse_taken(lines)
    prices = allocate_price(sum(line.amount_minor for line in lines), [Part(p.ssp) for p in parts])
    if min(prices) <= 0:
        raise Invalid("a share that rounds to nothing is no promise", field="shares")
    if prices == [line.amount_minor for line in lines]:
        raise Invalid("each line claims its share already", field="shares")
    allocation = ContractAllocation(
        customer=locked, currency=lines[0].invoice.currency, evidence=evidence.strip()
    )
    shares = [
        AllocatedShare(
            allocation=allocation, invoice_line=line, ssp=part.ssp, allocated_minor=minor
        )
        for line, part, minor in zip(lines, parts, prices, strict=True)
    ]
    number = ContractAllocation.objects.filter(customer=locked).count() + 1
    allocation.policy_change = propose(
        kind=ALLOCATION, subject=f"{ALLOCATION}:{locked.external_id}:{number}",
        content=content_of_allocation(allocation, shares), proposal=proposal, by=by, at=at,
    )  # fmt: skip
    allocation.save(force_insert=True)
    AllocatedShare.objects.bulk_create(shares)
    return allocation


def account_allocation(run: Run, allocation: ContractAllocation) -> int:
    """Let promises take their approved shares; return the entries posted.

    What was earned or taken off until finance approved must have been accounted for before: what
    was credited by then, or sold with a bonus, is left as it is.
    """
    source, shares = Source(SourceType.CONTRACT_ALLOCATION, allocation.pk), shares_of(allocation)
    moves = _moves(shares)
    if not all(_is_whole(move.promise) for move in moves):
        note_nothing_to_post(sources=[source])
        return 0
    issued = [share.invoice_line.invoice.finalized_at for share in shares]
    known = (allocation.policy_change.effective_at, *issued)
    days = [run.day_of(at) for at in known if at is not None]
    return _post(run, allocation, moves, max(days), "promised", source)


def end_contracts(run: Run, lines: Sequence[InvoiceLine], on: date, cause: str) -> int:
    """Give the shares of contracts back that these lines are in; return the entries posted.

    Nothing goes back that was given up since: a share that is not deferred any more stays.
    """
    posted = 0
    found = standing_shares().filter(invoice_line__in=[line.pk for line in lines])
    for pk in sorted(set(found.values_list("allocation_id", flat=True))):
        allocation = ContractAllocation.objects.get(pk=pk)
        moves = [_Move(m.promise, -m.shift_minor) for m in _moves(shares_of(allocation))]
        if all(_can_bear(move) for move in moves):
            source = Source(SourceType.CONTRACT_ALLOCATION, pk, UNDONE)
            posted += _post(run, allocation, moves, on, f"{UNDONE}:{cause}", source)
    return posted


def is_ended_by(line: InvoiceLine, minor: int) -> bool:
    """Tell whether taking so much off a line ends its contract: all of it, or any of credits."""
    if LineKind(line.kind) in PREPAID or line.credited_minor == line.amount_minor:
        return True
    promise = PerformanceObligation.objects.filter(source_key=f"invoice_line:{line.pk}").first()
    return promise is not None and minor > promise.price_minor


def _post(
    run: Run, allocation: ContractAllocation, moves: Sequence[_Move], on: date, word: str,
    source: Source,
) -> int:  # fmt: skip
    key = f"{ALLOCATION}:{allocation.pk}:{word}"
    shares = [
        PostingLine(LIABILITIES[ObligationKind(m.promise.kind)], -m.shift_minor, about(m.promise))
        for m in moves
    ]
    first = _entry(run, on, EntryKind.PRICE_ALLOCATED, balanced(shares), key, (source,))
    drafts = [first]
    for move in moves:
        for kind, lines, step in _caught_up(move):
            if lines:
                drafts.append(_entry(run, on, kind, lines, f"{key}:{move.promise.pk}:{step}"))
    posted = len(post_entries(drafts=drafts, by=run.by, at=run.at))
    for move in moves:
        if move.promise.kind == ObligationKind.FEE:
            revise_schedule(run, move.promise)
    return posted


def _entry(
    run: Run, on: date, kind: EntryKind, lines: Lines, key: str, sources: tuple[Source, ...] = ()
) -> EntryDraft:
    words = "Price of what was sold together"
    return EntryDraft(on, kind, words, run.customer_id, lines, key, sources)


def _caught_up(move: _Move) -> list[tuple[EntryKind, Lines, str]]:
    """Move a promise's price, and earn or take back what its progress makes of it."""
    promise, dimensions = move.promise, about(move.promise)
    if promise.kind in PREPAID_CREDITS:
        earned, ended = _of_credits(move)
        kind, lines = end_of_credits(promise, ended, dimensions)
        steps = [
            (EntryKind.CREDITS_USED, credits_used(earned, dimensions), "used"),
            (kind, lines, "ended"),
        ]
    else:
        split = split_credit(progress_of(promise), -move.shift_minor, Reason.BILLING_ERROR)
        earned, ended = -split.contra_minor, 0
        steps = [(EntryKind.FEES_EARNED, fee_earned(earned, dimensions), "earned")]
    promise.price_minor += move.shift_minor
    promise.recognised_minor += earned + ended
    promise.save(update_fields=["price_minor", "recognised_minor"])
    return steps


def _of_credits(move: _Move) -> tuple[int, int]:
    promise = move.promise
    if promise.grant is None:
        return 0, 0
    before = basis_of(promise)
    bound = promise.price_minor + move.shift_minor
    after = CostBasis(before.price_minor + move.shift_minor, before.credits, bound)
    used, ended = used_so_far(promise).credits, ended_credits(promise)
    return repriced(before, after, used, ended, promise.recognised_minor)


def _moves(shares: Sequence[AllocatedShare]) -> list[_Move]:
    keys = {f"invoice_line:{share.invoice_line_id}": share for share in shares}
    promises = PerformanceObligation.objects.select_related("grant").filter(source_key__in=keys)
    return [_Move(one, keys[one.source_key].shift_minor) for one in promises.order_by("pk")]


def _is_whole(promise: PerformanceObligation) -> bool:
    """Tell whether a promise still stands at all that its line claimed."""
    assert promise.invoice_line is not None, "a share is of a line"
    claimed = promise.invoice_line.amount_minor
    bought = promise.grant is None or basis_of(promise).price_minor == claimed
    return bought and promise.price_minor == claimed


def _can_bear(move: _Move) -> bool:
    """Tell whether a promise keeps 0 <= recognised <= price; what was given up is not undone."""
    promise = move.promise
    price = promise.price_minor + move.shift_minor
    if price < 0:
        return False
    if promise.kind in PREPAID_CREDITS:
        recognised = promise.recognised_minor + sum(_of_credits(move))
    else:
        split = split_credit(progress_of(promise), -move.shift_minor, Reason.BILLING_ERROR)
        recognised = promise.recognised_minor - split.contra_minor
    return 0 <= recognised <= price


def _lines_of(customer: Customer, parts: Sequence[Alone]) -> list[InvoiceLine]:
    """Read the lines anew, in the order given, and refuse what is no contract."""
    if not 2 <= len(parts) <= _MOST_LINES or len({p.line.pk for p in parts}) < len(parts):
        raise Invalid(f"a contract has 2 to {_MOST_LINES} lines, each once", field="shares")
    for part in parts:
        is_exact = part.ssp.is_finite() and part.ssp == part.ssp.quantize(_STEP)
        if not is_exact or not 0 < part.ssp <= 10**12:
            raise Invalid("a price alone is above 0 and at most 10^12", field="ssp")
    found = InvoiceLine.objects.select_related("invoice").in_bulk([p.line.pk for p in parts])
    lines = [found[part.line.pk] for part in parts]
    if {line.invoice.customer_id for line in lines} != {customer.pk}:
        raise Invalid("a contract is one customer's", field="shares")
    if len({line.invoice.currency for line in lines}) > 1:
        raise Invalid("a contract is in one currency", field="shares")
    if any(LineKind(line.kind) not in (*_FEES, *PREPAID) for line in lines):
        raise Invalid("only fees and credits are promised ahead", field="shares")
    return lines


def _refuse_taken(lines: Sequence[InvoiceLine]) -> None:
    taken = held_shares()
    for line in lines:
        name, at = f"line {line.position} of {line.invoice}", line.invoice.finalized_at
        if line.invoice.status not in (InvoiceStatus.FINALIZED, InvoiceStatus.PAID) or at is None:
            raise Conflict(f"{name} claims nothing: its invoice is {line.invoice.status}")
        promise = PerformanceObligation.objects.filter(source_key=f"invoice_line:{line.pk}").first()
        is_whole = promise is None or promise.price_minor == line.amount_minor
        if line.credited_minor or not line.amount_minor or not is_whole:
            raise Conflict(f"{name} is no longer at its whole price")
        if LineKind(line.kind) in _FEES and line.service_end_at <= at:
            raise Conflict(f"{name} was earned before it was claimed: nothing of it is deferred")
        if taken.filter(invoice_line=line).exists():
            raise Conflict(f"{name} is in a contract, or in one that waits for approval")
        key = f"invoice_line:{line.pk}:pack"
        bonuses = GrantBasis.objects.filter(
            purchase__source_key=key, policy_change__status__in=_OPEN
        )
        if bonuses.exists():
            raise Conflict(f"{name} shares its price with a bonus")
