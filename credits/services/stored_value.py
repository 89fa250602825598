"""Credits are no stored value: asking to move them to somebody or to money is refused, and noted.

Credits that can be given away or cashed may be a financial liability or electronic money, which is
not for engineering to decide. A policy change that finance and legal both approve decides it; what
it allows is built after that, so that the refusal only says where the decision stands.
Source: accounting.md 1.3; IAS 32, IFRS 9; Stripe, billing credits are not stored value.
"""

import json
from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, content_of, propose
from billing_project.kernel.content import Content, texts_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid, NotAllowed
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.sessions import wait_for
from credits.models import CreditGrant

KIND = "stored_value"
VERBS = ("transfer", "withdraw", "gift", "cash-out")


def refuse_stored_value(*, grant: CreditGrant, verb: str, by: User, at: datetime) -> NotAllowed:
    """Note in the audit log who asked for what, and return the refusal to raise.

    Nothing else is stored. The note must be committed, so that the caller raises, not this.
    """
    audit.record(by=by, at=at, action="refuse_stored_value", subject=grant, verb=verb)
    return NotAllowed(
        f"credits are not stored value: {verb} is not possible. {_decision_on(verb)}",
        code="not_stored_value",
    )


@transaction.atomic
def propose_stored_value(
    *, verbs: Collection[str], proposal: Proposal, by: User, at: datetime
) -> PolicyChange:
    """Propose that credits may be moved in some ways: finance and legal decide on it.

    Raises:
        Invalid: none of the ways, or one that is none.
    """
    if not verbs or not set(verbs) <= set(VERBS):
        raise Invalid(f"credits would {', '.join(VERBS)}", field="verbs")
    wait_for(KIND)
    number = PolicyChange.objects.filter(kind=KIND).exclude(subject="").count() + 1
    return propose(
        kind=KIND, subject=f"{KIND}:{number}",
        content={"verbs": sorted(set(verbs)), "number": number}, proposal=proposal, by=by, at=at,
    )  # fmt: skip


@content_of(KIND)
def _content_of_change(change: PolicyChange) -> object:
    """Return what was proposed: no other row says it, as nothing is built on it."""
    return json.loads(change.content)


@materialise(KIND, {"verbs": ["transfer"]})
def _of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    propose_stored_value(verbs=texts_in(content, "verbs"), proposal=proposal, by=by, at=at)


def _decision_on(verb: str) -> str:
    """Say how far the decision on a way of moving credits is."""
    changes = PolicyChange.objects.filter(kind=KIND).order_by("pk")
    named = [change for change in changes if verb in json.loads(change.content).get("verbs", ())]
    for status, words in (
        (PolicyStatus.APPROVED, "is approved, and not built yet"),
        (PolicyStatus.SUBMITTED, "waits for finance and legal"),
    ):
        if found := [change for change in named if change.status == status]:
            return f"Policy change {found[-1].subject} {words}"
    return "It would need an approved policy change of kind stored_value, by finance and by legal"
