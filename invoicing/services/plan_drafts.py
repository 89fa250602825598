"""Make versions of plans of what drafts say; see `credits.services.from_drafts`."""

from datetime import datetime
from decimal import Decimal

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import Content, decimal_or_none_in, text_in, whole_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from credits.models import RateCard
from invoicing.models import Plan
from invoicing.services.plans import PlanTerms, propose_plan_version


@materialise("plan")
def plan_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a plan."""
    plan = Plan.objects.filter(code=text_in(content, "plan")).first()
    if plan is None:
        raise Invalid(f"no plan has the code {content['plan']}", field="plan")
    cards = RateCard.objects.select_related("pricing_unit")
    card = cards.filter(code=text_in(content, "rate_card")).first()
    if card is None:
        raise Invalid(f"no rate card has the code {content['rate_card']}", field="rate_card")
    count, unit = _interval(content)
    terms = PlanTerms(
        currency=text_in(content, "currency"),
        fee_minor=_minor(content, "fee_minor"),
        included_credits=decimal_or_none_in(content, "included_credits") or Decimal(0),
        overage_price=decimal_or_none_in(content, "overage_price") or Decimal(0),
        rate_card=card,
        interval_unit=unit,
        interval_count=count,
        grace_hours=whole_in(content, "grace_hours", PlanTerms.grace_hours),
        payment_days=whole_in(content, "payment_days", PlanTerms.payment_days),
    )
    propose_plan_version(plan=plan, terms=terms, proposal=proposal, by=by, at=at)


def _interval(content: Content) -> tuple[int, str]:
    """Read "1 month" as a count and a unit."""
    count, _, unit = text_in(content, "interval").partition(" ")
    if not (count.isascii() and count.isdecimal() and len(count) < 4):
        raise Invalid("an interval reads as 1 month or 30 day", field="interval")
    return int(count), unit


def _minor(content: Content, name: str) -> int:
    """Return an amount in minor units, which may be more than a small whole number."""
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{name.replace('_', ' ')} is a whole number of minor units", field=name)
    return value
