"""Propose estimates that revenue rests on, and bring the books to the approved ones at a close."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency, settle
from billing_project.kernel.period import DAY
from billing_project.kernel.quantity import plain
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import GrantTerms
from metering.models import Customer
from revrec.breakage import Method, escheated, trued_up
from revrec.losing import loss_expected
from revrec.models import AccountingPeriod, BreakageEstimate, LedgerAccount, VariableEstimate
from revrec.posting import About, Account, EntryKind, Lines
from revrec.selectors.estimates import (
    BREAKAGE,
    VARIABLE,
    Target,
    close_targets,
    content_of_breakage,
    content_of_variable,
)
from revrec.services.journal import EntryDraft, post_entries
from revrec.variable import EstimateMethod, Outcome, included, refund_expected

_LONGEST_CODE = 64
_KINDS = {
    "cohort": EntryKind.BREAKAGE_TRUED_UP,
    "estimate": EntryKind.REFUNDS_ESTIMATED,
    "losses": EntryKind.LOSSES_EXPECTED,
}


@dataclass(frozen=True)
class BreakageTerms:
    """Which cohorts, and how their breakage is recognised.

    Attributes:
        sold_from: First day of a month.
        sold_until: First day of the first month that is no longer meant; None: all later ones.
        rate: Share of the price that is expected never to be used; 0 unless proportional.
        evidence: What the rate rests on, for an auditor to read.
        refundable_terms: Codes of grant terms under which customers may have their money back.
        of_commitments: About credits of commitments that were paid ahead, not bought ones.
    """

    code: str
    currency: str
    sold_from: date
    sold_until: date | None
    method: Method
    rate: Decimal
    evidence: str
    refundable_terms: tuple[str, ...] = ()
    of_commitments: bool = False


@dataclass(frozen=True)
class VariableTerms:
    """What was billed, and what of it may be kept.

    Attributes:
        outcomes: Amounts that may be kept, in major units, with their probabilities.
        confidence: How sure one must be of what is included, above 0 and at most 1.
        revenue_account: Code of the account whose revenue is less for it.
    """

    code: str
    customer: Customer | None
    currency: str
    revenue_account: str
    method: EstimateMethod
    outcomes: Sequence[Outcome]
    confidence: Decimal
    billed_minor: int
    evidence: str


@transaction.atomic
def propose_breakage(
    *, terms: BreakageTerms, proposal: Proposal, by: User, at: datetime
) -> BreakageEstimate:
    """Write a version of a breakage estimate; closes follow it once finance approved it.

    Raises:
        Invalid: a value is out of its bounds, or there is no evidence; with its field.
    """
    _refuse_breakage(terms)
    estimate = BreakageEstimate(
        code=terms.code, number=_next_number(BreakageEstimate, BREAKAGE, terms.code),
        currency=terms.currency, sold_from=terms.sold_from, sold_until=terms.sold_until,
        method=terms.method.value, rate=terms.rate, evidence=terms.evidence,
        refundable_terms=sorted(set(terms.refundable_terms)), of_commitments=terms.of_commitments,
    )  # fmt: skip
    return propose_version(
        estimate,
        kind=BREAKAGE, subject=f"{BREAKAGE}:{terms.code}:{estimate.number}",
        content=content_of_breakage(estimate), proposal=proposal, by=by, at=at,
    )  # fmt: skip


@transaction.atomic
def propose_variable(
    *, terms: VariableTerms, proposal: Proposal, by: User, at: datetime
) -> VariableEstimate:
    """Write a version of an estimate of variable consideration; it governs once approved.

    What may be included is worked out here, with the constraint, and approved with the rest.

    Raises:
        Invalid: a value is out of its bounds, or there is no evidence; with its field.
    """
    _refuse_variable(terms)
    kept = settle(included(terms.outcomes, terms.method, terms.confidence), terms.currency)
    if not 0 <= kept <= terms.billed_minor:
        raise Invalid("no more is kept than was billed, and no less than nothing", field="outcomes")
    estimate = VariableEstimate(
        code=terms.code, number=_next_number(VariableEstimate, VARIABLE, terms.code),
        customer=terms.customer, currency=terms.currency,
        revenue_account_id=terms.revenue_account, method=terms.method.value,
        outcomes=[
            {"amount": plain(one.amount), "probability": plain(one.probability)}
            for one in terms.outcomes
        ],
        confidence=terms.confidence, billed_minor=terms.billed_minor,
        refund_minor=terms.billed_minor - kept, evidence=terms.evidence,
    )  # fmt: skip
    return propose_version(
        estimate,
        kind=VARIABLE, subject=f"{VARIABLE}:{terms.code}:{estimate.number}",
        content=content_of_variable(estimate), proposal=proposal, by=by, at=at,
    )  # fmt: skip


def true_up(*, period: AccountingPeriod, by: User, at: datetime) -> int:
    """Bring 1190, 2190, 2210 and 2400 to what approved estimates say (rules 9, 20, 25).

    Call it under the close's lock, once everything else is in the books.

    Returns:
        The number of entries posted.
    """
    drafts = [_draft(period, target) for target in close_targets(period) if target.change_minor]
    return len(post_entries(drafts=drafts, by=by, at=at))


def _draft(period: AccountingPeriod, target: Target) -> EntryDraft:
    about = About(target.currency, service_start_on=period.start_on, service_end_on=period.end_on)
    return EntryDraft(
        wanted_on=period.end_on - DAY,
        kind=_KINDS[target.key.partition(":")[0]],
        description=target.says,
        customer_id=target.customer_id,
        lines=_told(_lines(target, about), target),
        source_key=f"{target.key}:through:{period}:{target.account.value}",
        entity_id=target.entity_id,
    )


def _lines(target: Target, about: About) -> Lines:
    """Bring an account to what it must hold, by its rule."""
    if target.account is Account.EXPECTED_BREAKAGE:
        return trued_up(target.target_minor, target.held_minor, about, target.revenue)
    if target.account is Account.UNCLAIMED_PROPERTY:
        return escheated(-target.change_minor, about)
    if target.account is Account.LOSS_ALLOWANCE:
        return loss_expected(-target.change_minor, about)
    return refund_expected(-target.held_minor, -target.target_minor, target.revenue, about)


def _told(lines: Lines, target: Target) -> Lines:
    """Say what the lines are worth in the books' own currency, where the target does."""
    book = target.book_change_minor
    if book is None:
        return lines
    return tuple(
        replace(line, functional_minor=book if line.account is target.account else -book)
        for line in lines
    )


def _next_number(
    model: type[BreakageEstimate] | type[VariableEstimate], kind: str, code: str
) -> int:
    wait_for(f"{kind}:{code}")
    return next_number(model.objects.filter(code=code))


def _refuse_breakage(terms: BreakageTerms) -> None:
    _refuse_common(terms.code, terms.currency, terms.evidence)
    if terms.sold_from.day != 1:
        raise Invalid("cohorts are months of sale: it begins on a first", field="sold_from")
    if terms.sold_until is not None and (
        terms.sold_until.day != 1 or terms.sold_until <= terms.sold_from
    ):
        raise Invalid("it ends on a later first", field="sold_until")
    if terms.method is Method.PROPORTIONAL and not 0 < terms.rate < 1:
        raise Invalid("is above 0 and below 1", field="rate")
    if terms.method is not Method.PROPORTIONAL and terms.rate:
        raise Invalid("only the proportional method has a rate", field="rate")
    if terms.of_commitments and terms.method is Method.ESCHEAT:
        raise Invalid("what a commitment's term leaves unused is its shortfall", field="method")
    known = {one.code for one in GrantTerms.objects.filter(code__in=terms.refundable_terms)}
    if unknown := sorted(set(terms.refundable_terms) - known):
        raise Invalid(f"there are no terms {', '.join(unknown)}", field="refundable_terms")
    if terms.rate != terms.rate.quantize(Decimal("0.00000001")):
        raise Invalid("has at most 8 decimals", field="rate")


def _refuse_variable(terms: VariableTerms) -> None:
    _refuse_common(terms.code, terms.currency, terms.evidence)
    account = LedgerAccount.objects.filter(pk=terms.revenue_account).first()
    if account is None or account.is_debit_normal or not account.pk.startswith("4"):
        raise Invalid("is the code of a revenue account", field="revenue_account")
    if not 0 < terms.confidence <= 1:
        raise Invalid("is above 0 and at most 1", field="confidence")
    if not 0 <= terms.billed_minor < 10**15:
        raise Invalid("is at least nothing, and less than 10^15", field="billed_minor")
    if terms.confidence != terms.confidence.quantize(Decimal("0.0001")):
        raise Invalid("has at most 4 decimals", field="confidence")


def _refuse_common(code: str, currency: str, evidence: str) -> None:
    if not 0 < len(code.strip()) <= _LONGEST_CODE or ":" in code or len(code) > _LONGEST_CODE:
        raise Invalid("names the estimate in 64 characters, without a colon", field="code")
    if not is_currency(currency):
        raise Invalid("is not an ISO 4217 currency", field="currency")
    if not evidence.strip():
        raise Invalid("an estimate needs its evidence", field="evidence")
