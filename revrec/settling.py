"""Payments as they come: with a fee taken off, too much, a little short; and tax beside the price.

Source: IFRS 15.47, 105-108; accounting.md rules 1-3, 10, 11, 32.
"""

from revrec.posting import About, Account, Lines, PostingLine, balanced, pair


def paid_net_of_fee(amount_minor: int, fee_minor: int, about: About) -> Lines:
    """Rule 2: the processor passes on the payment less its fee."""
    return balanced(
        [
            PostingLine(Account.CASH, amount_minor - fee_minor, about),
            PostingLine(Account.PROCESSOR_FEES, fee_minor, about),
            PostingLine(Account.RECEIVABLE, -amount_minor, about),
        ]
    )


def overpaid(excess_minor: int, about: About) -> Lines:
    """Rule 3: what nobody claimed is owed back."""
    return pair(Account.CASH, Account.CUSTOMER_BALANCE, excess_minor, about)


def credited_to_balance(amount_minor: int, about: About) -> Lines:
    """Turn a claim below zero into what is owed back to the customer."""
    return pair(Account.RECEIVABLE, Account.CUSTOMER_BALANCE, amount_minor, about)


def tax_charged(tax_minor: int, about: About) -> Lines:
    """Rules 1, 10, 11: tax is claimed for the state, and is no part of any price."""
    return pair(Account.RECEIVABLE, Account.TAX_PAYABLE, tax_minor, about)


def short_paid(missing_minor: int, about: About) -> Lines:
    """Rule 32: the last minor units of a claim, within the tolerance that finance has set."""
    return pair(Account.ROUNDING, Account.RECEIVABLE, missing_minor, about)
