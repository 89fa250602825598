"""Say which usage is invoiced, and propose what becomes of events that come later."""

from datetime import datetime

from django.db import connection, transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import Period, hour_of
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from metering.models import Customer, LateEventPolicy
from metering.models.late import LateTreatment
from metering.selectors.customers import customer_named
from metering.selectors.late import content_of_late_policy, late_policy_subject

_RECORD = """
INSERT INTO invoiced_usage (customer_id, start_at, end_at, source_key, recorded_at)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


def record_invoiced_usage(
    *, customer_id: int, period: Period, source_key: str, at: datetime
) -> bool:
    """Keep that a customer's usage of a period is invoiced; said again, it changes nothing.

    Call it in the transaction that invoices, under the customer's lock. A period counts the whole
    UTC hour that it begins in (decision 6).

    Returns:
        Whether nobody had said so before.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, (customer_id, hour_of(period.start), period.end, source_key, at))
        return bool(cursor.rowcount)


@transaction.atomic
def propose_late_event_policy(
    *,
    treatment: str,
    proposal: Proposal,
    by: User,
    at: datetime,
    customer: Customer | None = None,
) -> LateEventPolicy:
    """Write a version of the rule for late events; it governs once somebody else approved it.

    Args:
        treatment: One of LateTreatment.
        customer: Whose events; None makes a version of the default, for all without their own.

    Raises:
        Invalid: no such treatment, or a missing word.
    """
    if treatment not in LateTreatment.values:
        raise Invalid(f"late events go to {', '.join(LateTreatment.values)}", field="treatment")
    policy = LateEventPolicy(customer=customer, number=_next_number(customer), treatment=treatment)
    return propose_version(
        policy,
        kind="late_events",
        subject=f"{late_policy_subject(customer)}:{policy.number}",
        content=content_of_late_policy(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise("late_events", {"customer": None, "treatment": "next_invoice"})
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    is_default = content.get("customer") is None
    propose_late_event_policy(
        treatment=text_in(content, "treatment"), proposal=proposal, by=by, at=at,
        customer=None if is_default else customer_named(text_in(content, "customer")),
    )  # fmt: skip


def _next_number(customer: Customer | None) -> int:
    """Take the next number; of two who propose at once, the second waits for the first."""
    wait_for(f"late_event_policy:{customer.pk if customer else ''}")
    return next_number(LateEventPolicy.objects.filter(customer=customer))
