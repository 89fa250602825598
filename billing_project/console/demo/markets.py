"""Markets that the demo sells into, opened by two people of finance."""

from datetime import datetime

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import User
from invoicing.services.markets import Checklist, propose_market_gate


def open_market(
    *, currency: str, effective_at: datetime, maker: User, approver: User, at: datetime
) -> None:
    """Open a currency to customers without a country, where no tax is due."""
    gate = propose_market_gate(
        checklist=Checklist(
            country="",
            currency=currency,
            tax_registration="not_required",
            settlement_currency=currency,
            bank_country="US",
            payout_days=2,
        ),
        proposal=Proposal(
            title=f"Sell in {currency}",
            product_requirement="Customers of the launch pay in this currency",
            engineering_note="A checklist only; no code change",
            reason_code="launch",
            effective_at=effective_at,
        ),
        by=maker,
        at=at,
    )
    approve(change=gate.policy_change, by=approver, reason="bank and payouts ready", at=at)
