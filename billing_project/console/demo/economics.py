"""What product looks at before it changes a price: three scenarios of a plan at two fees."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing_project.console.demo.setting import Setting
from billing_project.console.demo.traffic import MODELS
from billing_project.console.scenarios import compare
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.drafts import draft
from billing_project.kernel.evidence import attach_evidence
from credits.mixes import presets
from invoicing.models import Plan

_SHARES = (20, 30, 50)  # Of the demo's traffic, in the order of MODELS.
_DEARER: dict[str, Any] = {
    "plan": "scale", "rate_card": "standard", "currency": "USD", "fee_minor": 112_500,
    "included_credits": "150000", "overage_price": "0.01", "interval": "30 days",
    "anchor": "start", "grace_hours": 0, "payment_days": 30, "items": [],
}  # fmt: skip


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
