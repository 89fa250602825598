"""A customer with rates, a burn order and a billing period, and usage to rate; all by services."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import Period
from billing_project.kernel.quantity import plain
from credits.drawdown import STRIPE_ORDER
from credits.models import (
    BillingPeriod,
    CreditGrant,
    CreditPolicy,
    PricingUnit,
    RateCard,
    RateCardVersion,
)
from credits.services.grants import issue_grant
from credits.services.periods import open_billing_period
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.services.rating import rate_customer
from metering.events import EventInput
from metering.models import Customer, UsageWindow, Workspace
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from metering.services.customers import create_customer, create_workspace
from metering.services.meters import create_meter

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
DAY_10 = datetime(2026, 11, 10, 9, 30, tzinfo=UTC)
_numbers = count(1)


@dataclass
class Shop:
    """Who sells to whom at which rates; two meters, `input` and `output`."""

    customer: Customer
    unit: PricingUnit
    card: RateCard
    maker: User
    approver: User
    at: datetime

    def period(self, period: Period = NOVEMBER) -> BillingPeriod:
        """Open a billing period, or return it."""
        return open_billing_period(
            customer=self.customer,
            rate_card=self.card,
            period=period,
            source_key=f"test:{self.customer.pk}:{period.start.isoformat()}",
            at=self.at,
        )

    def workspace(self, name: str) -> Workspace:
        """Make a workspace."""
        return create_workspace(
            customer=self.customer, external_id=name, name=name, by=self.maker, at=self.at
        )

    def grant(self, amount: str, **words: object) -> CreditGrant:
        """Give credits, promotional and in force for ever unless `words` say otherwise."""
        wanted: dict[str, object] = {
            "category": "promotional",
            "effective_at": NOVEMBER.start,
            "source_key": f"test:grant:{next(_numbers)}",
            "reason_code": "welcome",
            **words,
        }
        return issue_grant(
            customer=self.customer, amount=Decimal(amount), pricing_unit=self.unit,
            by=self.maker, at=self.at, **wanted,  # type: ignore[arg-type]
        )  # fmt: skip

    def use(
        self,
        timestamp: datetime = DAY_10,
        *,
        workspace: str = "",
        model: str = "small",
        **value: str,
    ) -> str:
        """Report one event, named as its value, aggregate it, and return its identifier."""
        identifier = f"event-{next(_numbers)}"
        event = EventInput(
            event_name=next(iter(value)),
            identifier=identifier,
            customer=self.customer.external_id,
            workspace=workspace,
            timestamp=timestamp,
            properties={"model": model, **value},
        )
        result = capture_events(items=[event], sender="test", at=self.at)
        assert result.accepted == 1, result
        aggregate_batches(at=self.at)
        return identifier

    def rate(self, at: datetime | None = None) -> int:
        """Rate what waits."""
        return rate_customer(customer_id=self.customer.pk, by=self.maker, at=at or self.at)

    def version(
        self,
        rates: Sequence[RateInput],
        effective_at: datetime = NOVEMBER.start,
        stays: Sequence[Customer] = (),
    ) -> RateCardVersion:
        """Propose and approve a version of the rate card."""
        version = self.proposed(rates, effective_at, stays)
        self.approve(version.policy_change)
        return version

    def proposed(
        self,
        rates: Sequence[RateInput],
        effective_at: datetime = NOVEMBER.start,
        stays: Sequence[Customer] = (),
    ) -> RateCardVersion:
        """Propose a version of the rate card."""
        return propose_rate_card_version(
            rate_card=self.card, rates=rates, proposal=words(effective_at),
            by=self.maker, at=self.at, stays=stays,
        )  # fmt: skip

    def policy(
        self,
        burn_order: Sequence[str] = STRIPE_ORDER,
        effective_at: datetime = NOVEMBER.start - timedelta(days=365),
    ) -> CreditPolicy:
        """Propose and approve a burn order."""
        policy = propose_credit_policy(
            burn_order=burn_order, proposal=words(effective_at), by=self.maker, at=self.at
        )
        self.approve(policy.policy_change)
        return policy

    def approve(self, change: PolicyChange) -> None:
        """Let somebody else approve a change."""
        approve(change=change, by=self.approver, reason="fits", at=self.at)


def figures(*values: Decimal) -> str:
    """Write exact numbers in a row, to compare with a literal."""
    return " ".join(plain(value) for value in values)


def words(effective_at: datetime, expires_at: datetime | None = None) -> Proposal:
    """Return a proposal with all its words."""
    text = "A version", "Wanted by product", "No code change", "launch"
    return Proposal(*text, effective_at, expires_at)


def rate(meter_code: str, unit_price: str, **dimensions: str) -> RateInput:
    """Write a rate in short."""
    return RateInput(meter_code, dimensions, Decimal(unit_price))


def tiered(
    meter_code: str, model: str, *tiers: tuple[str | None, str], **words: object
) -> RateInput:
    """Write a graduated or volume rate in short: where each tier ends, and its unit price."""
    rows = [{"up_to": end, "unit_price": price} for end, price in tiers]
    return RateInput(meter_code, {}, model=model, terms={"tiers": rows}, **words)  # type: ignore[arg-type]


def make_customer(external_id: str, by: User, at: datetime) -> Customer:
    """Make a customer that pays in dollars."""
    return create_customer(external_id=external_id, name="Acme", currency="USD", by=by, at=at)


def make_shop(maker: User, approver: User, at: datetime) -> Shop:
    """Set up meters, a rate card, a burn order and a customer in November 2026.

    One input token costs 0.5 credits and one output token 2 credits, whatever the model.
    """
    for code in ("input", "output"):
        create_meter(
            code=code, name=code, event_name=code, aggregation="sum", unit="token",
            value_property=code, dimensions=("model",), by=maker, at=at,
        )  # fmt: skip
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=at)
    card = create_rate_card(code="standard", name="Standard", pricing_unit=unit, by=maker, at=at)
    shop = Shop(make_customer("acme", maker, at), unit, card, maker, approver, at)
    shop.version([rate("input", "0.5"), rate("output", "2")], NOVEMBER.start - timedelta(days=1))
    shop.policy()
    shop.period()
    return shop


def window_of(customer: Customer) -> UsageWindow:
    """Return the customer's only usage window."""
    return UsageWindow.objects.get(customer=customer)
