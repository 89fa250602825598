"""Balances, credit grants, the ledger and rate cards over REST."""

from credits.api import ending, grants, ledger, rates

urlpatterns = [
    *grants.urlpatterns,
    *ending.urlpatterns,
    *ledger.urlpatterns,
    *rates.urlpatterns,
]
