"""Customers who buy more than a fee and credits: a commit that falls short, seats, outcomes."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing_project.console.demo.cast import Cast
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.period import DAY, Period
from credits.models import RateCard
from invoicing.items import Item
from invoicing.models import Invoice, PlanVersion, Subscription
from invoicing.services.coupons import CouponTerms, propose_coupon
from invoicing.services.invoices import finalize_invoice
from invoicing.services.outcomes import decide_outcome, record_outcome
from invoicing.services.packages import propose_packages
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import subscribe
from metering.services.customers import create_customer

# A commit's month begins so early that it has ended, with its grace, when the demo invoices.
_COMMITTED_BEFORE = timedelta(days=5)
_COUPON = "LAUNCH20"
_ITEMS = (
    Item("seat", "seats", "Team seats", 2_000),
    Item("outcome", "resolved", "Resolved ticket", 99),
    Item("one_off", "setup", "Set-up", 30_000, periods=3),
)
_SEATS = 5
_SEAT_CHANGES = ((12, 3), (24, -2))  # (days after the start, seats)
# (identifier, day, what was decided on it)
_TICKETS = (
    ("ticket-1001", 4, ("accepted",)),
    ("ticket-1002", 9, ("disputed", "accepted")),
    ("ticket-1003", 15, ("rejected",)),
    ("ticket-1004", 21, ("accepted",)),
    ("ticket-1005", 28, ()),
)


def add_hybrid_customers(cast: Cast, card: RateCard, period: Period, at: datetime) -> None:
    """Sell the packages, one of them to a customer who uses nothing, and a team's plan."""
    _sell_commit(cast, card, period.start - _COMMITTED_BEFORE, at)
    team = _sell_team(cast, card, period, at)
    for days, seats in _SEAT_CHANGES:
        changed_at = period.start + DAY * days
        change_seats(
            subscription=team, seats=seats, effective_at=changed_at, reason="the team changed",
            key=f"day-{days}", by=cast.support, at=changed_at,
        )  # fmt: skip
    _report_tickets(cast, team, period)


def _sell_commit(cast: Cast, card: RateCard, start_at: datetime, at: datetime) -> None:
    packages = propose_packages(rate_card=card, effective_at=start_at, by=cast.product, at=at)
    for version in packages:
        _approve(cast, version, at)
    _sold(cast, "cust-21", "Customer 21", packages[0], start_at, at)


def _sell_team(cast: Cast, card: RateCard, period: Period, at: datetime) -> Subscription:
    plan = create_plan(code="team", name="Team", by=cast.product, at=at)
    terms = PlanTerms(
        currency="USD", fee_minor=19_900, included_credits=Decimal(1_000),
        overage_price=Decimal("0.011"), rate_card=card, interval_unit="day", interval_count=30,
        grace_hours=0, items=_ITEMS,
    )  # fmt: skip
    version = propose_plan_version(
        plan=plan, terms=terms, proposal=_words("Team plan, version 1", period.start),
        by=cast.product, at=at,
    )  # fmt: skip
    _approve(cast, version, at)
    _offer_coupon(cast, period.start, at)
    return _sold(
        cast, "cust-22", "Customer 22", version, period.start, at, seats=_SEATS, coupon=_COUPON
    )


def _offer_coupon(cast: Cast, start_at: datetime, at: datetime) -> None:
    terms = CouponTerms(
        code=_COUPON, name="Launch offer", kinds=("recurring", "seat"), starts_at=start_at,
        percent=Decimal(20), periods=3, expires_at=at + 90 * DAY, max_redemptions=100,
    )  # fmt: skip
    coupon = propose_coupon(
        terms=terms, proposal=_words("Launch offer", start_at), by=cast.product, at=at
    )
    approve(change=coupon.policy_change, by=cast.approver, reason="launch budget", at=at)


def _sold(
    cast: Cast,
    external_id: str,
    name: str,
    version: PlanVersion,
    start_at: datetime,
    at: datetime,
    **more: Any,
) -> Subscription:
    """Make a customer, sell them a plan and issue what it claims in advance."""
    customer = create_customer(
        external_id=external_id, name=name, currency="USD",
        email=f"billing@{external_id}.example", by=cast.support, at=at,
    )  # fmt: skip
    subscription = subscribe(
        customer=customer, plan_version=version, start_at=start_at, by=cast.support, at=at, **more
    )
    for draft in Invoice.objects.filter(subscription=subscription):
        finalize_invoice(invoice=draft, by=cast.maker, at=start_at)
    return subscription


def _report_tickets(cast: Cast, team: Subscription, period: Period) -> None:
    for identifier, days, decisions in _TICKETS:
        occurred_at = period.start + DAY * days
        outcome = record_outcome(
            customer=team.customer, code="resolved", identifier=identifier,
            occurred_at=occurred_at, note="", by=cast.support, at=occurred_at,
        )  # fmt: skip
        for hours, state in enumerate(decisions, start=1):
            decide_outcome(
                outcome=outcome, state=state, reason="the customer looked at it",
                by=cast.support, at=occurred_at + timedelta(hours=hours),
            )  # fmt: skip


def _approve(cast: Cast, version: PlanVersion, at: datetime) -> None:
    approve(change=version.policy_change, by=cast.approver, reason="price list of the year", at=at)


def _words(title: str, effective_at: datetime) -> Proposal:
    return Proposal(
        title=title,
        product_requirement="Teams pay for seats and for tickets that were resolved",
        engineering_note="Terms only; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
