"""Credits are no stored value: asking to move them to somebody or to money is refused, and noted.

Credits that can be given away or cashed may be a financial liability or electronic money, which is
not for engineering to decide.
Source: accounting.md 1.3; IAS 32, IFRS 9; Stripe, billing credits are not stored value.
"""

from datetime import datetime

from billing_project.kernel import audit
from billing_project.kernel.errors import NotAllowed
from billing_project.kernel.models import User
from credits.models import CreditGrant

VERBS = ("transfer", "withdraw", "gift", "cash-out")


def refuse_stored_value(*, grant: CreditGrant, verb: str, by: User, at: datetime) -> NotAllowed:
    """Note in the audit log who asked for what, and return the refusal to raise.

    Nothing else is stored. The note must be committed, so that the caller raises, not this.
    """
    audit.record(by=by, at=at, action="refuse_stored_value", subject=grant, verb=verb)
    return NotAllowed(
        f"credits are not stored value: {verb} is not possible. It would need an approved policy"
        " change of kind stored_value, by finance and by legal",
        code="not_stored_value",
    )
