"""Balances, credit grants, the ledger, rate cards and the request path over REST."""

from credits.api import alerts, authorizations, controls, ending, grants, incidents, ledger, rates

urlpatterns = [
    *grants.urlpatterns,
    *ending.urlpatterns,
    *ledger.urlpatterns,
    *rates.urlpatterns,
    *authorizations.urlpatterns,
    *controls.urlpatterns,
    *alerts.urlpatterns,
    *incidents.urlpatterns,
]
