"""Account for contracts that changed, as their answers say (IFRS 15.18-21).

Finance approves which issued fees were the contract, which were added, and the three answers from
which the treatment follows. Prospectively, what is left of all of them is earned evenly from the
first day not yet earned until the last of them ends. Caught up, they are one promise from the first
day on. A separate contract leaves all as it is. Claims never move.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import DAY
from invoicing.models import InvoiceLine, InvoiceStatus, LineKind
from metering.models import Customer
from metering.services.customers import lock_customer
from revrec.models import (
    ContractModification,
    ModifiedLine,
    ObligationKind,
    PerformanceObligation,
)
from revrec.modification import Treatment, blended, caught_up, treatment
from revrec.posting import Account, EntryKind, Lines, PostingLine, balanced, fee_earned
from revrec.schedule import straight_line
from revrec.selectors.facts import accounted
from revrec.selectors.modifications import (
    MODIFICATION,
    content_of_modification,
    heir_of,
    lines_of,
)
from revrec.selectors.obligations import earned_days, newest_schedule
from revrec.services.drafts import Run, about
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.services.schedules import plan_days, revise_schedule
from revrec.sources import Source, SourceType

_FEES = (LineKind.RECURRING, LineKind.SEAT, LineKind.ONE_OFF)
_MOST_LINES = 50


@dataclass(frozen=True)
class Answers:
    """What decides how a change is accounted for; see `revrec.modification.treatment`."""

    adds_distinct: bool
    at_ssp: bool
    rest_is_distinct: bool

    @property
    def treatment(self) -> Treatment:
        """What the change is to the books."""
        return treatment(
            adds_distinct=self.adds_distinct, at_ssp=self.at_ssp,
            rest_is_distinct=self.rest_is_distinct,
        )  # fmt: skip


@dataclass(frozen=True)
class _Fee:
    """A fee of the contract as it stands: what of it is left, and over which days."""

    promise: PerformanceObligation
    start_on: date
    end_on: date
    earned_days: int
    is_added: bool

    @property
    def next_on(self) -> date:
        """The first day that is not earned."""
        return self.start_on + DAY * self.earned_days

    @property
    def left_minor(self) -> int:
        """What is still owed of it."""
        return self.promise.price_minor - self.promise.recognised_minor


@transaction.atomic
def propose_modification(
    *, customer: Customer, before: Sequence[InvoiceLine], added: Sequence[InvoiceLine],
    answers: Answers, evidence: str, proposal: Proposal, by: User, at: datetime,
) -> ContractModification:  # fmt: skip
    """Propose how a change of a contract is accounted for from the proposal's effective date on.

    Raises:
        Invalid: no evidence, or lines that are no fees in advance of this customer in one
            currency; with its field.
        Conflict: a line claims nothing, or is in another change that is not in the books yet.
    """
    if not evidence.strip():
        raise Invalid("a modification needs its evidence", field="evidence")
    locked = lock_customer(customer.pk)
    lines = _read(locked, [*before, *added])
    if not before or not added:
        raise Invalid("a change has lines from before and lines that it adds", field="lines")
    change = ContractModification(
        customer=locked, treatment=answers.treatment.value, adds_distinct=answers.adds_distinct,
        at_ssp=answers.at_ssp, rest_is_distinct=answers.rest_is_distinct,
        evidence=evidence.strip(),
    )  # fmt: skip
    rows = [
        ModifiedLine(modification=change, invoice_line=line, is_added=index >= len(before))
        for index, line in enumerate(lines)
    ]
    number = ContractModification.objects.filter(customer=locked).count() + 1
    change.policy_change = propose(
        kind=MODIFICATION, subject=f"{MODIFICATION}:{locked.external_id}:{number}",
        content=content_of_modification(change, rows), proposal=proposal, by=by, at=at,
    )  # fmt: skip
    change.save(force_insert=True)
    ModifiedLine.objects.bulk_create(rows)
    return change


def account_modification(run: Run, change: ContractModification) -> int:
    """Post one approved change; what was earned until it must have been accounted for before.

    What was taken off whole before is no part of it; without a line on both sides nothing changes.
    """
    source = Source(SourceType.CONTRACT_MODIFICATION, change.pk)
    fees = [fee for fee in _fees(change) if not _is_gone(fee)]
    if change.treatment == Treatment.SEPARATE.value or len({fee.is_added for fee in fees}) < 2:
        note_nothing_to_post(sources=[source])
        return 0
    into = _survivor(fees, Treatment(change.treatment))
    given = [fee for fee in fees if fee is not into and fee.left_minor]
    if not given:
        note_nothing_to_post(sources=[source])
        return 0
    decided = change.policy_change
    effective_on = run.day_of(max(decided.effective_at, decided.decided_at or decided.effective_at))
    start_on = max([effective_on, *(fee.next_on for fee in fees if fee.earned_days)])
    moved = sum(fee.left_minor for fee in given)
    shares = [
        *(_owed(fee.promise, fee.left_minor) for fee in given),
        _owed(into.promise, -moved),
    ]
    key = f"{MODIFICATION}:{change.pk}"
    drafts = [_entry(run, start_on, EntryKind.CONTRACT_MODIFIED, balanced(shares), key, (source,))]
    if change.treatment == Treatment.CATCH_UP.value:
        earned = _catch_up(run, into, given, moved)
        if earned:
            lines = fee_earned(earned, about(into.promise))
            drafts.append(_entry(run, start_on, EntryKind.FEES_EARNED, lines, f"{key}:caught_up"))
    else:
        _blend(run, into, given, start_on)
    for fee in given:
        fee.promise.price_minor = fee.promise.recognised_minor
        fee.promise.save(update_fields=["price_minor"])
        revise_schedule(run, fee.promise)
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def _is_gone(fee: _Fee) -> bool:
    """Tell whether nothing is promised of a fee, and no other promise took it over."""
    return not fee.promise.price_minor and heir_of(fee.promise) is None


def _survivor(fees: Sequence[_Fee], how: Treatment) -> _Fee:
    """Return the promise that goes on: the one that ends last, or the one that was caught up."""
    if how is Treatment.CATCH_UP:
        return min((fee for fee in fees if not fee.is_added), key=lambda fee: fee.start_on)
    return max(fees, key=lambda fee: (fee.end_on, fee.promise.pk))


def _blend(run: Run, into: _Fee, given: Sequence[_Fee], start_on: date) -> None:
    """Let what is left of all be earned evenly until the last of them ends (21a)."""
    old_end = max([start_on, *(fee.end_on for fee in given)])
    blend = blended(
        unrecognised_minor=sum(fee.left_minor for fee in given),
        units_left=Decimal((old_end - start_on).days),
        added_minor=into.left_minor,
        added_units=Decimal((into.end_on - old_end).days),
    )
    end_on = max(start_on + timedelta(days=int(blend.units)), start_on + DAY)
    into.promise.price_minor = into.promise.recognised_minor + blend.price_minor
    into.promise.save(update_fields=["price_minor"])
    began_on = start_on - DAY * into.earned_days
    plan_days(
        run, into.promise, began_on, end_on, straight_line(blend.price_minor, start_on, end_on)
    )


def _catch_up(run: Run, into: _Fee, given: Sequence[_Fee], moved_minor: int) -> int:
    """Let all be one promise from its first day on; return what that earns at once (21b).

    What the others earned by themselves stays with them, and counts as earned of the whole.
    """
    promise, end_on = into.promise, max(fee.end_on for fee in (into, *given))
    elsewhere = sum(fee.promise.recognised_minor for fee in given)
    promise.price_minor += moved_minor
    whole = Decimal((end_on - into.start_on).days)
    done = Decimal(into.earned_days)
    recognised = promise.recognised_minor + elsewhere
    earned = caught_up(promise.price_minor + elsewhere, done, whole, recognised)
    earned = max(earned, -promise.recognised_minor)
    promise.recognised_minor += earned
    promise.save(update_fields=["price_minor", "recognised_minor"])
    left = promise.price_minor - promise.recognised_minor
    next_on = min(into.next_on, end_on - DAY)
    plan_days(run, promise, into.start_on, end_on, straight_line(left, next_on, end_on))
    return earned


def _fees(change: ContractModification) -> list[_Fee]:
    found = []
    for row in lines_of(change):
        promise = PerformanceObligation.objects.get(
            source_key=f"invoice_line:{row.invoice_line_id}", kind=ObligationKind.FEE
        )
        plan = newest_schedule(promise)
        found.append(_Fee(promise, plan.start_on, plan.end_on, earned_days(promise), row.is_added))
    return found


def _owed(promise: PerformanceObligation, minor: int) -> PostingLine:
    return PostingLine(Account.FEES_LIABILITY, minor, about(promise))


def _entry(
    run: Run, on: date, kind: EntryKind, lines: Lines, key: str, sources: tuple[Source, ...] = ()
) -> EntryDraft:
    return EntryDraft(on, kind, "A contract changed", run.customer_id, lines, key, sources)


def _read(customer: Customer, wanted: Sequence[InvoiceLine]) -> list[InvoiceLine]:
    """Read the lines anew, in the order given, and refuse what is no contract of fees."""
    ids = [line.pk for line in wanted]
    if len(ids) > _MOST_LINES or len(set(ids)) < len(ids):
        raise Invalid(f"a change has up to {_MOST_LINES} lines, each once", field="lines")
    found = InvoiceLine.objects.select_related("invoice").in_bulk(ids)
    lines = [found[pk] for pk in ids]
    if any(line.invoice.customer_id != customer.pk for line in lines):
        raise Invalid("a contract is one customer's", field="lines")
    if len({line.invoice.currency for line in lines}) > 1:
        raise Invalid("a contract is in one currency", field="lines")
    if any(LineKind(line.kind) not in _FEES for line in lines):
        raise Invalid("only fees are earned by the day: credits keep what each cost", field="lines")
    waiting = ModifiedLine.objects.filter(
        ~accounted(SourceType.CONTRACT_MODIFICATION, "modification_id"),
        modification__policy_change__status__in=(PolicyStatus.SUBMITTED, PolicyStatus.APPROVED),
    )
    for line in lines:
        name, at = f"line {line.position} of {line.invoice}", line.invoice.finalized_at
        if line.invoice.status not in (InvoiceStatus.FINALIZED, InvoiceStatus.PAID) or at is None:
            raise Conflict(f"{name} claims nothing: its invoice is {line.invoice.status}")
        if line.service_end_at <= at or not line.amount_minor:
            raise Conflict(f"{name} was earned before it was claimed: nothing of it is deferred")
        if waiting.filter(invoice_line=line).exists():
            raise Conflict(f"{name} is in a change that waits")
    return lines
