"""Balances, credit grants, the ledger, rate cards and the request path over REST."""

from credits.api import (
    alerts,
    anomalies,
    authorizations,
    checkpoints,
    controls,
    ending,
    grants,
    incidents,
    ledger,
    rates,
)

urlpatterns = [
    *grants.urlpatterns,
    *ending.urlpatterns,
    *ledger.urlpatterns,
    *rates.urlpatterns,
    *authorizations.urlpatterns,
    *controls.urlpatterns,
    *alerts.urlpatterns,
    *anomalies.urlpatterns,
    *incidents.urlpatterns,
    *checkpoints.urlpatterns,
]
