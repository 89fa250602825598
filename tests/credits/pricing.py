"""Suppliers' prices that finance approved, in one call."""

from collections.abc import Sequence
from datetime import datetime

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import User
from credits.models import SupplierSheet
from credits.services.supplier_rates import propose_supplier_rates
from credits.supplier_prices import SupplierPrice


def supplier_prices(
    prices: Sequence[SupplierPrice], effective_at: datetime, maker: User, approver: User,
    currency: str = "USD",
) -> SupplierSheet:  # fmt: skip
    """Propose prices, and approve them."""
    words = Proposal("Prices", "Margins follow them", "Rows only", "price", effective_at)
    sheet = propose_supplier_rates(
        prices=prices, currency=currency, source="list", proposal=words, by=maker, at=effective_at
    )
    approve(change=sheet.policy_change, by=approver, reason="as published", at=effective_at)
    return sheet
