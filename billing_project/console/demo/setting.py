"""Who and what is there before the first event: people, meters, rates, plans, customers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.console.demo.cast import Cast
from billing_project.console.demo.embeddings import (
    embeddings_rate,
    give_embeddings_credits,
    make_embeddings_meter,
)
from billing_project.console.demo.european import add_european_customer
from billing_project.console.demo.hybrid import add_hybrid_customers
from billing_project.console.demo.markets import open_market
from billing_project.console.demo.traffic import EVENT_NAME, METERS, PRICES, credit_prices
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import ChainStep, PolicyChange, StepFunction
from billing_project.kernel.ownership import name_owner
from billing_project.kernel.period import Period
from credits.models import CreditGrant, GrantCategory, PricingUnit, RateCard
from credits.services.grants import issue_grant, void_grant
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.services.supplier_rates import propose_supplier_rates
from credits.supplier_prices import read_price_list
from invoicing.models import Invoice, PlanVersion
from invoicing.services.invoices import finalize_invoice
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.subscriptions import subscribe
from metering.models import Aggregation, Customer
from metering.services.customers import create_customer
from metering.services.meters import create_meter

# (code, name, fee in cents, included credits, dollars a credit beyond, its customers)
PLANS = (
    ("starter", "Starter", 4_900, 1_000, "0.012", range(6, 21)),
    ("growth", "Growth", 19_900, 5_000, "0.011", range(2, 6)),
    ("scale", "Scale", 87_500, 10_000, "0.010", range(1, 2)),
)
PERIOD_DAYS = 30
PACK_CREDITS, PACK_PRICE_MINOR, PACK_DAY = Decimal(10_000), 9_000, 10
PROMOTION = Decimal(500)


@dataclass(frozen=True)
class Setting:
    """What the story needs to name again."""

    period: Period
    cast: Cast
    pricing_unit: PricingUnit


def prepare(cast: Cast, period: Period, at: datetime) -> Setting:
    """Make meters, approved rates and plans, subscribed customers and their grants."""
    for code in METERS:
        create_meter(
            code=code, name=code.replace("_", " ").capitalize(), event_name=EVENT_NAME,
            aggregation=Aggregation.SUM, value_property=code, dimensions=("model",),
            unit="token", by=cast.engineer, at=at,
        )  # fmt: skip
    make_embeddings_meter(by=cast.engineer, at=at)
    _name_owners(cast, period.start, at)
    _import_supplier_prices(cast, period.start, at)
    unit = create_pricing_unit(code="credit", name="Credit", by=cast.product, at=at)
    card = _approved_rates(cast, unit, period.start, at)
    _approved_burn_order(cast, period.start, at)
    open_market(
        currency="USD", effective_at=period.start, maker=cast.maker, approver=cast.approver, at=at
    )
    for code, name, fee, included, overage, numbers in PLANS:
        terms = PlanTerms(
            currency="USD", fee_minor=fee, included_credits=Decimal(included),
            overage_price=Decimal(overage), rate_card=card, interval_unit="day",
            interval_count=PERIOD_DAYS, grace_hours=0,
        )  # fmt: skip
        version = _approved_plan(cast, code, name, terms, period.start, at)
        for number in numbers:
            _subscribed(number, version, cast, period, at)
    setting = Setting(period, cast, unit)
    _sell_pack(setting)
    _give_credits(setting, at)
    give_embeddings_credits(pricing_unit=unit, effective_at=period.start, by=cast.support, at=at)
    add_hybrid_customers(cast, card, period, at)
    add_european_customer(cast, card, unit, period, at)
    return setting


def _name_owners(cast: Cast, since_at: datetime, at: datetime) -> None:
    """Let one person of each function answer for every step; in finance, two share them."""
    for step in ChainStep:
        earns = step in {ChainStep.INVOICE, ChainStep.RECOGNISE}
        people = {
            StepFunction.PRODUCT: cast.product,
            StepFunction.ENGINEERING: cast.engineer,
            StepFunction.FINANCE: cast.approver if earns else cast.maker,
        }
        for function, person in people.items():
            name_owner(
                step=step, function=function, person=person, since_at=since_at,
                reason="launch", by=cast.approver, at=at,
            )  # fmt: skip


def _import_supplier_prices(cast: Cast, effective_at: datetime, at: datetime) -> None:
    words = Proposal(
        title="Suppliers' prices, version 1",
        product_requirement="Margins follow what suppliers charge",
        engineering_note="Read from a price list; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
    sheet = propose_supplier_rates(
        prices=read_price_list(PRICES.read_text()).prices, currency="USD", source=PRICES.name,
        proposal=words, by=cast.product, at=at,
    )  # fmt: skip
    _approve(cast, sheet.policy_change, "as published", at)


def _approved_rates(
    cast: Cast, unit: PricingUnit, effective_at: datetime, at: datetime
) -> RateCard:
    card = create_rate_card(
        code="standard", name="Standard", pricing_unit=unit, by=cast.product, at=at
    )
    rates = [
        RateInput(meter_code=meter, dimensions={"model": model}, unit_price=price)
        for meter, model, price in credit_prices()
    ] + [embeddings_rate()]
    words = Proposal(
        title="Standard rates, version 1",
        product_requirement="160 credits per supplier dollar, by model and token kind",
        engineering_note="Nine flat rates on three meters, one in tiers; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
    version = propose_rate_card_version(
        rate_card=card, rates=rates, proposal=words, by=cast.product, at=at
    )
    _approve(cast, version.policy_change, "margin holds at list prices", at)
    return card


def _approved_burn_order(cast: Cast, effective_at: datetime, at: datetime) -> None:
    words = Proposal(
        title="Burn order, version 1",
        product_requirement="Customers lose as little as possible to expiry",
        engineering_note="Priority, expiry, promotional before paid, effective, created",
        reason_code="launch",
        effective_at=effective_at,
    )
    policy = propose_credit_policy(proposal=words, by=cast.product, at=at)
    _approve(cast, policy.policy_change, "matches the terms of sale", at)


def _approved_plan(
    cast: Cast, code: str, name: str, terms: PlanTerms, effective_at: datetime, at: datetime
) -> PlanVersion:
    plan = create_plan(code=code, name=name, by=cast.product, at=at)
    words = Proposal(
        title=f"{name} plan, version 1",
        product_requirement="A base fee with included credits, overage by the credit",
        engineering_note="Terms only; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
    version = propose_plan_version(plan=plan, terms=terms, proposal=words, by=cast.product, at=at)
    _approve(cast, version.policy_change, "price list of the year", at)
    return version


def _approve(cast: Cast, change: PolicyChange, reason: str, at: datetime) -> None:
    approve(change=change, by=cast.approver, reason=reason, at=at)


def _subscribed(
    number: int, version: PlanVersion, cast: Cast, period: Period, at: datetime
) -> None:
    external_id = f"cust-{number:02}"
    customer = create_customer(
        external_id=external_id, name=f"Customer {number:02}", currency="USD",
        email=f"billing@{external_id}.example", by=cast.support, at=at,
    )  # fmt: skip
    subscription = subscribe(
        customer=customer, plan_version=version, start_at=period.start, by=cast.support, at=at
    )
    for draft in Invoice.objects.filter(subscription=subscription):
        finalize_invoice(invoice=draft, by=cast.maker, at=period.start)


def _sell_pack(setting: Setting) -> None:
    sold_at = setting.period.start + timedelta(days=PACK_DAY)
    maker = setting.cast.maker
    invoice = sell_credit_pack(
        customer=Customer.objects.get(external_id="cust-02"),
        pricing_unit=setting.pricing_unit, amount=PACK_CREDITS, price_minor=PACK_PRICE_MINOR,
        key="demo-pack-1", by=maker, at=sold_at,
    )  # fmt: skip
    record_payment(
        invoice=invoice, amount_minor=invoice.total_minor, method="bank_transfer",
        reference="demo-transfer-1", paid_at=sold_at, by=maker, at=sold_at,
    )  # fmt: skip


def _give_credits(setting: Setting, at: datetime) -> None:
    """Give a promotion, and void a grant that went to the wrong customer before it was used."""
    _promotional(setting, "cust-06", PROMOTION, "welcome", at)
    mistaken = _promotional(setting, "cust-20", Decimal(250), "welcome", at)
    void_grant(
        grant=mistaken, reason_code="wrong_customer", by=setting.cast.support,
        at=setting.period.start,
    )  # fmt: skip


def _promotional(
    setting: Setting, external_id: str, amount: Decimal, reason: str, at: datetime
) -> CreditGrant:
    return issue_grant(
        customer=Customer.objects.get(external_id=external_id),
        category=GrantCategory.PROMOTIONAL, amount=amount, pricing_unit=setting.pricing_unit,
        reason_code=reason, source_key=f"demo:{external_id}:{reason}", by=setting.cast.support,
        at=at, effective_at=setting.period.start,
    )  # fmt: skip
