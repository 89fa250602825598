"""What product looks at before it changes a price, and how a supplier's bill is checked."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing_project.console.demo.embeddings import embeddings_rate
from billing_project.console.demo.setting import Setting
from billing_project.console.demo.traffic import MODELS, credit_prices
from billing_project.console.scenarios import compare
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.drafts import draft
from billing_project.kernel.evidence import attach_evidence
from billing_project.kernel.period import Period, midnight, month_of
from credits.mixes import presets
from credits.models import RateCard
from credits.selectors.supplier_costs import costs_by_model
from credits.services.rates import RateInput, propose_rate_card_version
from credits.services.supplier_bills import import_supplier_bill
from invoicing.models import Plan

_SHARES = (20, 30, 50)  # Of the demo's traffic, in the order of MODELS.
_SUPPLIER, _OVERBILLED, _TOO_MUCH = "openai", "gpt-5.4", Decimal("7.50")
_CENT = Decimal("0.01")
_CACHED_DISCOUNT = Decimal("0.9")
_DEARER: dict[str, Any] = {
    "plan": "scale", "rate_card": "standard", "currency": "USD", "fee_minor": 112_500,
    "included_credits": "150000", "overage_price": "0.01", "interval": "30 days",
    "anchor": "start", "grace_hours": 0, "payment_days": 30, "items": [],
}  # fmt: skip


def propose_next_rates(setting: Setting, at: datetime) -> None:
    """Leave a proposal in the queue that the month has an effect for: a tenth off cached input."""
    rates = [
        RateInput(
            meter_code=meter,
            dimensions={"model": model},
            unit_price=price * _CACHED_DISCOUNT if meter == "cached_input_tokens" else price,
        )
        for meter, model, price in credit_prices()
    ] + [embeddings_rate()]
    words = Proposal(
        title="Standard rates, version 2",
        product_requirement="Reward prompts that reuse their prefix: cached input 10 % cheaper",
        engineering_note="Three of ten rates change; no code change",
        reason_code="supplier_price",
        effective_at=at + timedelta(days=7),
    )
    propose_rate_card_version(
        rate_card=RateCard.objects.get(code="standard"), rates=rates, proposal=words,
        by=setting.cast.product, at=at,
    )  # fmt: skip


def draft_a_dearer_plan(setting: Setting, at: datetime) -> None:
    """Keep a draft of the Scale plan at USD 1,125, with low, medium and heavy use as evidence.

    Its 150,000 included credits cost the supplier's 160th part of a dollar each: used up, they
    leave less than a fifth of the fee, which the evidence says.
    """
    author = setting.cast.product
    words = Proposal(
        title="Scale at USD 1,125",
        product_requirement="Heavy users ask for one price that a usual month cannot exceed",
        engineering_note="Terms only; no code change",
        reason_code="price",
        effective_at=at + timedelta(days=30),
    )
    change = draft(kind="plan", content=_DEARER, proposal=words, by=author, at=at)
    standing = Plan.objects.get(code="scale").versions.latest("number").policy_change
    models = tuple(zip(MODELS, map(Decimal, _SHARES), strict=True))
    report = compare([standing, change], None, presets(models), None, at)
    attach_evidence(change=change, kind="scenario", document=report.document, by=author, at=at)


def reconcile_a_bill(setting: Setting, at: datetime) -> None:
    """Hold a supplier's bill of the first month against what its usage costs.

    One model is billed more than it should be: a difference that engineering has to explain.
    """
    start_on, end_on = month_of(setting.period.start.date())
    if at < midnight(end_on):
        return  # The month goes on.
    costs = costs_by_model(Period(midnight(start_on), midnight(end_on)), "USD", _SUPPLIER)
    billed = {model: cost.quantize(_CENT) for model, cost in costs.items()}
    billed[_OVERBILLED] = billed.get(_OVERBILLED, Decimal(0)) + _TOO_MUCH
    rows = [f"{model},{amount}" for model, amount in sorted(billed.items())]
    import_supplier_bill(
        text="\n".join(["model,amount", *rows]), supplier=_SUPPLIER, month_on=start_on,
        currency="USD", source=f"{_SUPPLIER}-{start_on:%Y-%m}.csv", owner=setting.cast.engineer,
        by=setting.cast.maker, at=at,
    )  # fmt: skip
