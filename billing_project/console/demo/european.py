"""A second legal entity: it sells to a customer in Germany, in euros, with value added tax.

A pack beyond what a run may issue by itself waits for an approver.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal

from billing_project.console.demo.cast import Cast
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.period import Period
from credits.models import PricingUnit, RateCard
from invoicing.models import Invoice
from invoicing.services.entities import (
    EntityTerms,
    assign_entity,
    propose_legal_entity,
    record_address,
)
from invoicing.services.holds import propose_invoice_policy
from invoicing.services.invoices import finalize_invoice
from invoicing.services.markets import (
    Checklist,
    propose_market_gate,
    propose_tax_rate,
    record_tax_id,
)
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from metering.services.customers import create_customer

_ENTITY = EntityTerms(
    code="de", series_prefix="DE", legal_name="Beispiel KI GmbH", country="DE", currency="EUR",
    address="Hafenstraße 1\n20457 Hamburg\nDeutschland", tax_number="DE811128135",
)  # fmt: skip
_MARKET = Checklist(
    country="DE", currency="EUR", tax_registration="registered", tax_number="DE811128135",
    settlement_currency="EUR", bank_country="DE", payout_days=3,
    threshold_minor=10_000_00, registered_on=date(2025, 1, 2), entity=_ENTITY.code,
)  # fmt: skip
_APPROVED_ABOVE = 400_00
_SUPPORT_CREDITS = 250_00
_PACK = (Decimal(5_000), 500_00)


def add_european_customer(
    cast: Cast, card: RateCard, unit: PricingUnit, period: Period, at: datetime
) -> None:
    """Found the entity, open its market, and sell a plan that is paid and a pack that waits."""
    start_at = period.start
    entity = propose_legal_entity(
        terms=_ENTITY, proposal=_words("Sell in Germany by our own company", start_at),
        by=cast.maker, at=at,
    )  # fmt: skip
    _approve(cast, entity.policy_change, "entered in the commercial register", at)
    _open_market(cast, start_at, at)
    customer = create_customer(
        external_id="cust-23", name="Kunde 23 AG", currency="EUR", country="DE",
        time_zone="Europe/Berlin", email="rechnung@cust-23.example", by=cast.support, at=at,
    )  # fmt: skip
    assign_entity(customer=customer, entity=entity.entity, by=cast.maker, at=start_at)
    record_address(
        customer=customer, address="Deichstraße 9\n20459 Hamburg", by=cast.maker, at=start_at
    )
    record_tax_id(customer=customer, kind="eu_vat", value="DE136695976", by=cast.maker, at=at)
    _sell_plan(cast, customer, card, start_at, at)
    _limit_runs(cast, start_at, at)
    amount, price_minor = _PACK
    sell_credit_pack(
        customer=customer, pricing_unit=unit, amount=amount, price_minor=price_minor,
        key="demo-pack-de", by=cast.maker, at=start_at + timedelta(days=6),
    )  # fmt: skip


def _open_market(cast: Cast, start_at: datetime, at: datetime) -> None:
    gate = propose_market_gate(
        checklist=_MARKET, proposal=_words("Sell in Germany", start_at), by=cast.maker, at=at
    )
    _approve(cast, gate.policy_change, "registered; bank and payouts ready", at)
    rate = propose_tax_rate(
        country="DE", name="VAT", rate=Decimal("0.19"), is_inclusive=False,
        has_reverse_charge=True, proposal=_words("German VAT", start_at), by=cast.maker, at=at,
    )  # fmt: skip
    _approve(cast, rate.policy_change, "as the law says", at)


def _sell_plan(
    cast: Cast, customer: Customer, card: RateCard, start_at: datetime, at: datetime
) -> None:
    plan = create_plan(code="starter-eur", name="Starter (EUR)", by=cast.product, at=at)
    terms = PlanTerms(
        currency="EUR", fee_minor=49_00, included_credits=Decimal(500),
        overage_price=Decimal("0.012"), rate_card=card, interval_unit="day", interval_count=30,
        grace_hours=0,
    )  # fmt: skip
    version = propose_plan_version(
        plan=plan, terms=terms, proposal=_words("Starter in euros", start_at), by=cast.product,
        at=at,
    )  # fmt: skip
    _approve(cast, version.policy_change, "price list of the year", at)
    subscription = subscribe(
        customer=customer, plan_version=version, start_at=start_at, by=cast.support, at=at
    )
    for draft in Invoice.objects.filter(subscription=subscription):
        invoice = finalize_invoice(invoice=draft, by=cast.maker, at=start_at)
        record_payment(
            invoice=invoice, amount_minor=invoice.total_minor, method="bank_transfer",
            reference="demo-transfer-de", paid_at=start_at, by=cast.maker, at=start_at,
        )  # fmt: skip


def _limit_runs(cast: Cast, start_at: datetime, at: datetime) -> None:
    """Let nobody but an approver issue what is large in euros."""
    policy = propose_invoice_policy(
        approval_above={"EUR": _APPROVED_ABOVE}, approves_first=False,
        notes_above={"USD": _SUPPORT_CREDITS, "EUR": _SUPPORT_CREDITS},
        most_lines=1_000, most_drafts=100,
        proposal=_words("Large invoices in euros are looked at", start_at), by=cast.maker, at=at,
    )  # fmt: skip
    _approve(cast, policy.policy_change, "until the new company is settled in", at)


def _approve(cast: Cast, change: PolicyChange, reason: str, at: datetime) -> None:
    approve(change=change, by=cast.approver, reason=reason, at=at)


def _words(title: str, effective_at: datetime) -> Proposal:
    return Proposal(
        title=title,
        product_requirement="Customers in Germany buy from a German company",
        engineering_note="Rows only; no code change",
        reason_code="launch",
        effective_at=effective_at,
    )
