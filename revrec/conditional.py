"""What is earned before it may be claimed, and what a commitment leaves at its end.

A right that depends on more than time is a contract asset, not a receivable. Source: IFRS 15.B46,
105-108; accounting.md 1.2 and 1.5, rules 26 and 27.
"""

from revrec.posting import About, Account, Lines, PostingLine, balanced, pair


def prepaid_shortfall(amount_minor: int, about: About) -> Lines:
    """Rule 26: what a prepaid commitment still carries at the end of its term."""
    return pair(Account.CREDITS_LIABILITY, Account.SHORTFALL_REVENUE, amount_minor, about)


def conditional_earned(amount_minor: int, revenue: Account, about: About) -> Lines:
    """Earn what may be claimed only once something else has happened: a contract asset (107)."""
    return pair(Account.CONTRACT_ASSET, revenue, amount_minor, about)


def became_due(claimed_minor: int, accrued_minor: int, revenue: Account, about: About) -> Lines:
    """Claim what was conditional, with what is earned by the claim itself (rule 27, 108).

    Args:
        claimed_minor: The claim, ex tax.
        accrued_minor: Of it, what stands in 1210.
    """
    return balanced(
        [
            PostingLine(Account.RECEIVABLE, claimed_minor, about),
            PostingLine(Account.CONTRACT_ASSET, -accrued_minor, about),
            PostingLine(revenue, accrued_minor - claimed_minor, about),
        ]
    )
