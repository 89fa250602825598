"""Approved estimates: their content, which of them governs a close, and what it must then hold."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus, in_force
from billing_project.kernel.quantity import plain
from invoicing.models import MAIN_ENTITY
from revrec.breakage import Cohort, Method, contra_target, never_used
from revrec.fx import Carried
from revrec.models import (
    PREPAID_CREDITS,
    AccountingPeriod,
    BreakageEstimate,
    LossEstimate,
    ObligationKind,
    Posting,
    VariableEstimate,
)
from revrec.posting import Account, EntryKind
from revrec.selectors.losses import expected_losses
from revrec.selectors.tables.ledger import REVENUE_CODES
from revrec.selectors.tables.promises import PromiseState, promise_states
from revrec.selectors.zone import end_of

BREAKAGE, VARIABLE = "breakage", "variable_estimate"
register_kind(Kind(BREAKAGE, "Breakage estimate"))
register_kind(Kind(VARIABLE, "Variable consideration"))
_NOTHING = Carried(0, 0)
_INSTANT = timedelta(microseconds=1)
Version = TypeVar("Version", BreakageEstimate, VariableEstimate, LossEstimate)


@dataclass(frozen=True)
class Target:
    """What an account must hold for a cohort or an estimate, and what it holds; minor units.

    `key` names it in the source keys of its entries.
    """

    key: str
    account: Account
    currency: str
    target_minor: int  # Debit positive.
    held_minor: int
    says: str
    revenue: Account
    customer_id: int | None = None
    entity_id: int = MAIN_ENTITY
    book_change_minor: int | None = None  # In the currency of its books, where that is another.

    @property
    def change_minor(self) -> int:
        """What is to be posted."""
        return self.target_minor - self.held_minor


def content_of_breakage(estimate: BreakageEstimate) -> dict[str, object]:
    """Return a version of a breakage estimate."""
    content: dict[str, object] = {
        "code": estimate.code,
        "number": estimate.number,
        "currency": estimate.currency,
        "sold_from": estimate.sold_from.isoformat(),
        "sold_until": estimate.sold_until.isoformat() if estimate.sold_until else None,
        "method": str(estimate.method),
        "rate": plain(estimate.rate),
        "evidence": estimate.evidence,
    }
    if estimate.refundable_terms:  # Versions of before say nothing of it.
        content["refundable_terms"] = estimate.refundable_terms
    if estimate.of_commitments:
        content["of_commitments"] = True
    return content


def content_of_variable(estimate: VariableEstimate) -> dict[str, object]:
    """Return a version of an estimate of variable consideration."""
    return {
        "code": estimate.code,
        "number": estimate.number,
        "customer": estimate.customer.external_id if estimate.customer else None,
        "currency": estimate.currency,
        "revenue_account": estimate.revenue_account_id,
        "method": str(estimate.method),
        "outcomes": estimate.outcomes,
        "confidence": plain(estimate.confidence),
        "billed_minor": estimate.billed_minor,
        "refund_minor": estimate.refund_minor,
        "evidence": estimate.evidence,
    }


@dataclass(frozen=True, order=True)
class CohortName:
    """Credits of one kind that one entity sold in one month, in one currency."""

    currency: str
    sold: str  # "2026-01"
    is_commitment: bool = False
    entity_id: int = MAIN_ENTITY

    @property
    def key(self) -> str:
        """Name it in source keys; what is usual is left out."""
        kind = ":commitments" if self.is_commitment else ""
        entity = "" if self.entity_id == MAIN_ENTITY else f":{self.entity_id}"
        return f"cohort:{self.currency}:{self.sold}{kind}{entity}"

    @classmethod
    def read(cls, key: str, entity_id: int) -> "CohortName":
        """Read it from a key of an entry in an entity's books; those of before name no entity."""
        _, currency, sold, *kind = key.split(":")
        return cls(currency, sold, "commitments" in kind, entity_id)


@content_of(BREAKAGE)
def _breakage_content(change: PolicyChange) -> object:
    return content_of_breakage(BreakageEstimate.objects.get(policy_change=change))


@content_of(VARIABLE)
def _variable_content(change: PolicyChange) -> object:
    found = VariableEstimate.objects.select_related("customer").get(policy_change=change)
    return content_of_variable(found)


def close_targets(period: AccountingPeriod) -> list[Target]:
    """List what 1190, 2190, 2210 and 2400 must hold at a month's end by estimates in force then."""
    return [
        target
        for target in (*breakage_targets(period), *variable_targets(period), *loss_targets(period))
        if target.target_minor or target.held_minor
    ]


def breakage_targets(
    period: AccountingPeriod, proposed: BreakageEstimate | None = None
) -> list[Target]:
    """Work out each cohort of paid credits: by currency, month of sale, kind and entity.

    Args:
        proposed: Governs before those that are approved, as if it were the newest.
    """
    estimates = list(_in_force(BreakageEstimate.objects.all(), period))
    if proposed is not None:
        estimates.insert(0, proposed)
    held: dict[tuple[CohortName, str], Carried] = {}
    for (key, entity_id, account), left in _held(period, EntryKind.BREAKAGE_TRUED_UP).items():
        whose = CohortName.read(key, entity_id), account
        held[whose] = _sum(held.get(whose, _NOTHING), left)
    cohorts: dict[CohortName, list[PromiseState]] = {name: [] for name, _ in held}
    for promise in promise_states(period):
        if promise.kind in PREPAID_CREDITS:
            cohorts.setdefault(_cohort_of(promise), []).append(promise)
    return [
        target
        for name, promises in sorted(cohorts.items())
        for target in _cohort_targets(name, promises, _governing(estimates, name), held)
    ]


def _cohort_of(promise: PromiseState) -> CohortName:
    is_commitment = promise.kind == ObligationKind.COMMITMENT
    return CohortName(
        promise.currency, f"{promise.sold_on:%Y-%m}", is_commitment, promise.entity_id
    )


def _cohort_targets(
    name: CohortName,
    promises: list[PromiseState],
    estimate: BreakageEstimate | None,
    held: Mapping[tuple[CohortName, str], Carried],
) -> Iterator[Target]:
    what = "Commitments" if name.is_commitment else "Credits"
    revenue = Account.SHORTFALL_REVENUE if name.is_commitment else Account.BREAKAGE_REVENUE
    promises = _without_refundable(promises, estimate)
    for account, amount in _of_cohort(promises, estimate).items():
        before = held.get((name, account.value), _NOTHING)
        yield Target(
            name.key, account, name.currency, amount, before.amount_minor,
            f"{what} sold in {name.sold}, {estimate or 'remote'}", revenue,
            entity_id=name.entity_id,
            book_change_minor=_book_change(account, amount, promises, before),
        )  # fmt: skip


def variable_targets(
    period: AccountingPeriod, proposed: VariableEstimate | None = None
) -> list[Target]:
    """List what is expected to be given back, by estimate; a later version replaces.

    Nothing is any more once an estimate's time is over, or it ran out without a later version.

    Args:
        proposed: Replaces the approved versions of its code.
    """
    held: dict[str, int] = defaultdict(int)
    for (key, _, account), left in _held(period, EntryKind.REFUNDS_ESTIMATED).items():
        if account == Account.REFUND_LIABILITY.value:
            held[key.partition(":")[2]] += left.amount_minor
    governing = {} if proposed is None else {proposed.code: proposed}
    for estimate in _in_force(VariableEstimate.objects.all(), period):
        governing.setdefault(estimate.code, estimate)
    targets = [
        _variable_target(estimate, -estimate.refund_minor, held[code], f"{estimate}")
        for code, estimate in sorted(governing.items())
    ]
    over = VariableEstimate.objects.filter(
        code__in=[code for code, minor in held.items() if minor and code not in governing],
        policy_change__status=PolicyStatus.APPROVED,
    )
    for estimate in over.order_by("code", "-number").distinct("code"):
        targets.append(_variable_target(estimate, 0, held[estimate.code], f"{estimate} is over"))
    return targets


def _variable_target(
    estimate: VariableEstimate, target_minor: int, held_minor: int, says: str
) -> Target:
    return Target(
        f"estimate:{estimate.code}", Account.REFUND_LIABILITY, estimate.currency, target_minor,
        held_minor, f"Expected to be given back, {says}", Account(estimate.revenue_account_id),
        estimate.customer_id,
    )  # fmt: skip


def _without_refundable(
    promises: list[PromiseState], estimate: BreakageEstimate | None
) -> list[PromiseState]:
    """Leave out credits that customers may have their money back for: their price is not kept yet.

    The law claims what is left of them nevertheless.
    """
    if estimate is None or estimate.method != Method.PROPORTIONAL:
        return promises
    return [one for one in promises if one.terms not in estimate.refundable_terms]


def loss_targets(period: AccountingPeriod) -> list[Target]:
    """List what 1190 must hold, by currency and entity; what was written off is open no more.

    Nothing is expected to be lost in a currency whose estimate no longer governs.
    """
    held = _held(period, EntryKind.LOSSES_EXPECTED)
    governing: dict[str, LossEstimate] = {}
    for estimate in _in_force(LossEstimate.objects.all(), period):
        governing.setdefault(estimate.currency, estimate)
    account = Account.LOSS_ALLOWANCE
    before = {_whose(key): left for (key, _, name), left in held.items() if name == account.value}
    expected = expected_losses(period, list(governing.values()))
    return [
        Target(
            f"losses:{currency}" + (f":{entity_id}" if entity_id != MAIN_ENTITY else ""),
            account, currency, -expected.get((currency, entity_id), 0),
            before.get((currency, entity_id), _NOTHING).amount_minor,
            f"Expected credit losses, {governing.get(currency, 'no estimate governs')}",
            Account.IMPAIRMENT, entity_id=entity_id,
        )
        for currency, entity_id in sorted({*expected, *before})
    ]  # fmt: skip


def _whose(key: str) -> tuple[str, int]:
    """Read currency and entity from what names an allowance; the main entity's has none."""
    _, currency, *entity = key.split(":")
    return currency, int(entity[0]) if entity else MAIN_ENTITY


def _of_cohort(
    promises: Iterable[PromiseState], estimate: BreakageEstimate | None
) -> Mapping[Account, int]:
    """Return what 2190 (debit) and 2400 (credit) must hold for a cohort."""
    of = list(promises)
    open_minor = sum(p.closing_minor for p in of)
    broken_minor = sum(p.broken_minor for p in of)
    price_minor = sum(p.price_minor for p in of)
    consumed_minor = max(price_minor - open_minor - broken_minor, 0)
    contra = unclaimed = 0
    if estimate is not None and estimate.method == Method.PROPORTIONAL:
        cohort = Cohort(consumed_minor, open_minor)
        unused = never_used(cohort, price_minor, estimate.rate)
        contra = contra_target(consumed_minor, open_minor - unused, unused)
    elif estimate is not None and estimate.method == Method.ESCHEAT:
        unclaimed = -broken_minor
    return {Account.EXPECTED_BREAKAGE: contra, Account.UNCLAIMED_PROPERTY: unclaimed}


def _book_change(
    account: Account, target_minor: int, promises: Iterable[PromiseState], held: Carried
) -> int | None:
    """Return what 2190 moves by in the books' currency: at the rates of the cohort's own sales."""
    of = list(promises)
    open_ = Carried(sum(p.closing_minor for p in of), sum(p.book_minor for p in of))
    if account is not Account.EXPECTED_BREAKAGE or not (open_.book_minor or held.book_minor):
        return None
    return (open_.part(target_minor) if target_minor else 0) - held.book_minor


def _governing(
    estimates: Iterable[BreakageEstimate], cohort: CohortName
) -> BreakageEstimate | None:
    sold = date.fromisoformat(f"{cohort.sold}-01")
    for estimate in estimates:
        covers = estimate.sold_from <= sold and (
            estimate.sold_until is None or sold < estimate.sold_until
        )
        is_about = estimate.currency, estimate.of_commitments
        if covers and is_about == (cohort.currency, cohort.is_commitment):
            return estimate
    return None


def _in_force(estimates: QuerySet[Version], period: AccountingPeriod) -> QuerySet[Version]:
    """List approved versions in force at a month's end, the one that governs first.

    Of a closed month only those that were approved before its close.
    """
    at: datetime = end_of(period) - _INSTANT
    found = estimates.filter(in_force(at, "policy_change__"))
    if period.closed_at is not None:
        found = found.filter(policy_change__decided_at__lte=period.closed_at)
    return found.order_by("-policy_change__effective_at", "-policy_change_id")


def _held(period: AccountingPeriod, kind: EntryKind) -> Mapping[tuple[str, int, str], Carried]:
    """Sum what entries of a kind left by a month's end, by name, entity and account."""
    rows = (
        Posting.objects.filter(entry__kind=kind.value, entry__effective_on__lt=period.end_on)
        .exclude(account_id__in=REVENUE_CODES)
        .values_list("entry__source_key", "entry__entity_id", "account_id")
        .annotate(total=Sum("amount_minor"), book=Coalesce(Sum("functional_minor"), 0))
        .order_by()
    )
    held: dict[tuple[str, int, str], Carried] = defaultdict(lambda: _NOTHING)
    for source_key, entity_id, account, total, book in rows:
        key = source_key.rpartition(":through:")[0], entity_id, account
        held[key] = _sum(held[key], Carried(total, book))
    return held


def _sum(one: Carried, other: Carried) -> Carried:
    return Carried(one.amount_minor + other.amount_minor, one.book_minor + other.book_minor)
