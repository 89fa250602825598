"""Claims that settle in other ways than by a payment: below zero, or a little short.

Source: IFRS 15.105-108; accounting.md rule 32.
"""

from revrec.posting import About, Account, Lines, pair


def credited_to_balance(amount_minor: int, about: About) -> Lines:
    """Turn a claim below zero into what is owed back to the customer."""
    return pair(Account.RECEIVABLE, Account.CUSTOMER_BALANCE, amount_minor, about)


def short_paid(missing_minor: int, about: About) -> Lines:
    """Rule 32: the last minor units of a claim, within the tolerance that finance has set."""
    return pair(Account.ROUNDING, Account.RECEIVABLE, missing_minor, about)
