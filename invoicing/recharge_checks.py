"""Checks of balances that are filled by themselves: as agreed to, and paid before granted."""

from collections.abc import Iterator

from billing_project.kernel.books import Finding, check
from invoicing.selectors.recharge_faults import (
    months_beyond_their_limit,
    recharges_off_their_invoices,
)


@check("Recharges stay within the month's limit that their customer agreed to")
def recharges_are_within_limits() -> Iterator[Finding]:
    """Sum each month of each agreement."""
    for row, month, sum_minor, limit_minor in months_beyond_their_limit():
        yield Finding(
            f"auto_recharge:{row}", f"bought {sum_minor} in {month}, its limit is {limit_minor}"
        )


@check("Each recharge is its invoice's pack, and its credits came with the payment")
def recharges_are_their_invoices() -> Iterator[Finding]:
    """Compare each purchase with its invoice, and with what was granted."""
    for one, state, status, granted, wanted in recharges_off_their_invoices():
        yield Finding(
            f"recharge:{one}",
            f"is {state} of {wanted} credits, its invoice is {status}, {granted} were granted",
        )
