"""Claims that come to less than nothing: they settle without a payment.

Source: IFRS 15.105-108.
"""

from revrec.posting import About, Account, Lines, pair


def credited_to_balance(amount_minor: int, about: About) -> Lines:
    """Turn a claim below zero into what is owed back to the customer."""
    return pair(Account.RECEIVABLE, Account.CUSTOMER_BALANCE, amount_minor, about)
