"""Propose the packages of the price list: a monthly commit with a pool of included credits."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.models import User
from credits.models import RateCard
from invoicing.items import Item
from invoicing.models import PlanVersion
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version


@dataclass(frozen=True)
class Package:
    """A month's minimum, the credits in it, and what a credit beyond them costs."""

    code: str
    name: str
    commit_minor: int  # US cents.
    included_credits: Decimal
    overage_price: Decimal


PACKAGES = (
    Package("commit-875", "Commit 875", 87_500, Decimal(20_000), Decimal("0.011")),
    Package("commit-1125", "Commit 1,125", 112_500, Decimal(30_000), Decimal("0.010")),
)


def propose_packages(
    *, rate_card: RateCard, effective_at: datetime, by: User, at: datetime
) -> list[PlanVersion]:
    """Propose both packages in US dollars; what was proposed for a package before is returned.

    Usage beyond the included credits counts toward the commit; what is missing at a month's end is
    claimed.
    """
    return [_propose(package, rate_card, effective_at, by, at) for package in PACKAGES]


def _propose(
    package: Package, rate_card: RateCard, effective_at: datetime, by: User, at: datetime
) -> PlanVersion:
    plan = create_plan(code=package.code, name=package.name, by=by, at=at)
    before = plan.versions.order_by("number").first()
    if before is not None:
        return before
    words = Proposal(
        title=f"{package.name}, version 1",
        product_requirement="A monthly minimum with included credits, overage by the credit",
        engineering_note="Terms only; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
    return propose_plan_version(
        plan=plan, terms=_terms(package, rate_card), proposal=words, by=by, at=at
    )


def _terms(package: Package, rate_card: RateCard) -> PlanTerms:
    commit = Item(
        "commit", "minimum", "Monthly minimum", package.commit_minor, kinds=("overage", "outcome")
    )
    return PlanTerms(
        currency="USD",
        fee_minor=0,
        included_credits=package.included_credits,
        overage_price=package.overage_price,
        rate_card=rate_card,
        interval_unit="month",
        interval_count=1,
        items=(commit,),
    )
