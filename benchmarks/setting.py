"""A small market to measure in: three meters, approved rates, and customers with a grant each."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

from django.contrib.auth.models import Group
from django.core.management import call_command

from billing_project.console.demo.database import make_fresh_database
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import Period
from credits.models import GrantCategory, PricingUnit, RateCard
from credits.services.grants import issue_grant
from credits.services.periods import open_billing_period
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from metering.models import Aggregation, Customer
from metering.services.customers import create_customer
from metering.services.meters import create_meter

METERS = ("input_tokens", "cached_input_tokens", "output_tokens")
MODELS = ("gpt-5.4", "claude-haiku-4-5")
EVENT_NAME = "llm_request"
CREDITS, PRICE_MINOR = Decimal(10) ** 12, 10**9
UNIT_PRICE = Decimal("0.001")  # Credits a token.


def make_meters(external_ids: Sequence[str]) -> list[Customer]:
    """Make a fresh database with three sum meters by model, and customers."""
    make_fresh_database()
    at = datetime.now(UTC)
    call_command("setup_roles", stdout=StringIO())
    engineer = User.objects.create_user("bench")
    for code in METERS:
        create_meter(
            code=code, name=code, event_name=EVENT_NAME, aggregation=Aggregation.SUM,
            value_property=code, dimensions=("model",), unit="token", by=engineer, at=at,
        )  # fmt: skip
    return [
        create_customer(external_id=name, name=name, currency="USD", by=engineer, at=at)
        for name in external_ids
    ]


def make_market(external_ids: Sequence[str]) -> None:
    """Give the customers approved rates, a billing period around now, and a paid grant."""
    customers = make_meters(external_ids)
    at = datetime.now(UTC)
    maker, approver = User.objects.get(username="bench"), User.objects.create_user("approver")
    approver.groups.add(Group.objects.get(name="finance_approver"))
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=at)
    card = create_rate_card(code="standard", name="Standard", pricing_unit=unit, by=maker, at=at)
    begin = (at - timedelta(days=10)).replace(hour=0, minute=0, second=0, microsecond=0)
    for change in (_rates(card, maker, begin, at), _burn_order(maker, begin, at)):
        approve(change=change, by=approver, reason="to be measured", at=at)
    for customer in customers:
        _equip(customer, unit, card, maker, Period(begin, begin + timedelta(days=30)), at)


def _rates(card: RateCard, maker: User, begin: datetime, at: datetime) -> PolicyChange:
    rates = [
        RateInput(meter_code=meter, dimensions={"model": model}, unit_price=UNIT_PRICE)
        for meter in METERS
        for model in MODELS
    ]
    version = propose_rate_card_version(
        rate_card=card, rates=rates, proposal=_words(begin), by=maker, at=at
    )
    return version.policy_change


def _burn_order(maker: User, begin: datetime, at: datetime) -> PolicyChange:
    return propose_credit_policy(proposal=_words(begin), by=maker, at=at).policy_change


def _words(effective_at: datetime) -> Proposal:
    return Proposal("A version", "To be measured", "No code change", "launch", effective_at)


def _equip(
    customer: Customer, unit: PricingUnit, card: RateCard, by: User, period: Period, at: datetime
) -> None:
    key = f"bench:{customer.external_id}"
    open_billing_period(customer=customer, rate_card=card, period=period, source_key=key, at=at)
    issue_grant(
        customer=customer, category=GrantCategory.PAID, amount=CREDITS, pricing_unit=unit,
        reason_code="bench", source_key=key, by=by, at=at, effective_at=period.start,
        price_minor=PRICE_MINOR,
    )  # fmt: skip
