"""What only somebody who signed in a short while ago may do, and how long that is."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

SIGNED_IN_AT = "signed_in_at"  # Where a session keeps when its person last proved who they are.
# What decides about money for good, or about who may do so; an open browser is not enough for it.
DANGEROUS = frozenset(
    {
        "credits.void_creditgrant",
        "invoicing.approve_invoice",
        "invoicing.record_refund",
        "invoicing.release_billinghold",
        "invoicing.void_creditnote",
        "invoicing.void_invoice",
        "invoicing.write_off_invoice",
        "kernel.approve_policychange",
        "kernel.approve_policychange_legal",
        "kernel.manage_apikey",
        "kernel.manage_signin",
        "revrec.close_accountingperiod",
        "revrec.propose_close",
    }
)


def sign_in_anew(session: Any, at: datetime) -> None:
    """Note in a session that its person proved who they are."""
    session[SIGNED_IN_AT] = at.isoformat()


def is_fresh(session: Any, at: datetime) -> bool:
    """Tell whether a person proved who they are within FRESH_SIGN_IN_MINUTES; 0: always."""
    if not (minutes := settings.FRESH_SIGN_IN_MINUTES):
        return True
    since = session.get(SIGNED_IN_AT)
    return since is not None and at - datetime.fromisoformat(since) < timedelta(minutes=minutes)
