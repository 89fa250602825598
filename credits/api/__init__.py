"""Balances, credit grants, the ledger and rate cards over REST."""

from credits.api import grants, rates

urlpatterns = [*grants.urlpatterns, *rates.urlpatterns]
