"""Propose versions of the terms of grants, and give credits under an approved one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.quantity import LIMIT
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import (
    CreditGrant,
    GrantCategory,
    GrantTerms,
    PricingUnit,
    RecurringGrant,
    RefundRule,
    Rollover,
)
from credits.recurrence import days_after
from credits.selectors.contents import content_of_terms
from credits.selectors.governing import is_in_force
from credits.services.grants import MAX_PRIORITY, issue_grant
from metering.models import Customer, Meter, Workspace

_LONGEST_LIFE = 3_653  # Ten years of days, as for a grant.


@dataclass(frozen=True)
class TermsInput:
    """What a version of grant terms says; see GrantTerms."""

    category: str
    priority: int = 50
    life_days: int | None = None
    is_pooled: bool = True
    meter_codes: Sequence[str] = ()
    rollover: str = Rollover.NONE.value
    rollover_value: Decimal | None = None
    return_days: int | None = None
    refund_rule: str = RefundRule.UNUSED.value


@transaction.atomic
def propose_grant_terms(
    *, code: str, terms: TermsInput, proposal: Proposal, by: User, at: datetime
) -> GrantTerms:
    """Write a version of grant terms; credits are given under it once somebody else approved it.

    Grants that were given stay under the version that they name.

    Raises:
        Invalid: a value out of its bounds; the error names the field.
    """
    _refuse_bad_terms(code, terms)
    version = GrantTerms(
        code=code,
        number=_next_number(code),
        category=terms.category,
        priority=terms.priority,
        life_days=terms.life_days,
        is_pooled=terms.is_pooled,
        meter_codes=sorted(set(terms.meter_codes)),
        rollover=terms.rollover,
        rollover_value=terms.rollover_value,
        return_days=terms.return_days,
        refund_rule=terms.refund_rule,
    )
    return propose_version(
        version,
        kind="grant_terms",
        subject=f"grant_terms:{code}:{version.number}",
        content=content_of_terms(version),
        proposal=proposal,
        by=by,
        at=at,
    )


def issue_under_terms(
    *,
    terms: GrantTerms,
    customer: Customer,
    amount: Decimal,
    pricing_unit: PricingUnit,
    reason_code: str,
    source_key: str,
    by: User,
    at: datetime,
    effective_at: datetime,
    price_minor: int = 0,
    workspace: Workspace | None = None,
    name: str = "",
    rule: RecurringGrant | None = None,
    rule_period_at: datetime | None = None,
) -> CreditGrant:
    """Give credits as an approved version of grant terms says.

    Raises:
        Conflict: nobody approved the terms, or they do not govern yet, or not any more.
        Invalid: see `issue_grant`.
    """
    change = GrantTerms.objects.select_related("policy_change").get(pk=terms.pk).policy_change
    if change.status != PolicyStatus.APPROVED or not is_in_force(change, effective_at):
        raise Conflict(f"{terms} does not govern at {effective_at.isoformat()}", field="terms")
    zone = rule.time_zone if rule else customer.time_zone
    expires_at = days_after(effective_at, terms.life_days, zone) if terms.life_days else None
    return issue_grant(
        customer=customer, category=terms.category, amount=amount, pricing_unit=pricing_unit,
        reason_code=reason_code, source_key=source_key, by=by, at=at, effective_at=effective_at,
        expires_at=expires_at, price_minor=price_minor, priority=terms.priority,
        workspace=workspace, meter_codes=terms.meter_codes, name=name, terms=terms, rule=rule,
        rule_period_at=rule_period_at,
    )  # fmt: skip


def _next_number(code: str) -> int:
    """Take the next number; of two who propose at once, the second waits for the first."""
    wait_for(f"grant_terms:{code}")
    return next_number(GrantTerms.objects.filter(code=code))


def _refuse_bad_terms(code: str, terms: TermsInput) -> None:
    if not code.strip() or len(code) > 64:
        raise Invalid("terms have a code of 1 to 64 characters", field="code")
    if terms.category not in GrantCategory.values:
        raise Invalid(f"{terms.category} is no grant category", field="category")
    if not 0 <= terms.priority <= MAX_PRIORITY:
        raise Invalid(f"a priority is 0 to {MAX_PRIORITY}", field="priority")
    for field in ("life_days", "return_days"):
        days = getattr(terms, field)
        if days is not None and not 0 < days <= _LONGEST_LIFE:
            raise Invalid(f"{field} is 1 to {_LONGEST_LIFE}", field=field)
    known = set(Meter.objects.filter(code__in=terms.meter_codes).values_list("code", flat=True))
    if unknown := sorted(set(terms.meter_codes) - known):
        raise Invalid(f"no meter has the code {', '.join(unknown)}", field="meter_codes")
    if terms.refund_rule not in RefundRule.values:
        raise Invalid(f"{terms.refund_rule} is no refund rule", field="refund_rule")
    _refuse_bad_rollover(terms)


def _refuse_bad_rollover(terms: TermsInput) -> None:
    if terms.rollover not in Rollover.values:
        raise Invalid(f"{terms.rollover} is no rollover", field="rollover")
    if (terms.rollover == Rollover.NONE) != (terms.rollover_value is None):
        raise Invalid("a fraction or a cap has its value", field="rollover_value")
    if terms.rollover_value is None:
        return
    most = Decimal(1) if terms.rollover == Rollover.FRACTION else LIMIT - 1
    if not terms.rollover_value.is_finite() or not 0 < terms.rollover_value <= most:
        raise Invalid("a fraction is up to 1, a cap more than 0", field="rollover_value")
    if terms.life_days is None:
        raise Invalid("what never expires never rolls over", field="life_days")
