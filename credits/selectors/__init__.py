"""Reads of the credits app: what governs, what was rated, what a customer has."""

from credits.selectors.balances import Expiring, UnitBalance, balance, balance_now, ledger_history
from credits.selectors.governing import governing_credit_policy, governing_rate_card_version
from credits.selectors.lag import RatingState, rating_state
from credits.selectors.usage import drawn_of_period, overage_of_period, unrated_windows
from credits.selectors.waiting import why_unrated

__all__ = [
    "Expiring",
    "RatingState",
    "UnitBalance",
    "balance",
    "balance_now",
    "drawn_of_period",
    "governing_credit_policy",
    "governing_rate_card_version",
    "ledger_history",
    "overage_of_period",
    "rating_state",
    "unrated_windows",
    "why_unrated",
]
