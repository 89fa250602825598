"""Rules for late events and invoiced periods, made by the services that make them in life."""

from datetime import datetime, timedelta

from django.contrib.auth.models import Group

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.users import ensure_roles
from metering.models import Customer, LateEventPolicy
from metering.services.late import propose_late_event_policy, record_invoiced_usage


def a_person(username: str, role: str) -> User:
    """Return somebody with one role."""
    ensure_roles()
    user, _ = User.objects.get_or_create(username=username, defaults={"is_staff": True})
    user.groups.add(Group.objects.get(name=role))
    return user


def a_late_policy(
    treatment: str,
    effective_at: datetime,
    customer: Customer | None = None,
    *,
    is_approved: bool = True,
) -> LateEventPolicy:
    """Propose a version and let somebody else approve it."""
    words = Proposal("Late events", "Finance asked", "Judged at receipt", "late", effective_at)
    policy = propose_late_event_policy(
        treatment=treatment, proposal=words, customer=customer, at=effective_at,
        by=a_person("paula.late", "product"),
    )  # fmt: skip
    if is_approved:
        approve(
            change=policy.policy_change, reason="agreed", at=effective_at,
            by=a_person("anna.late", "finance_approver"),
        )  # fmt: skip
    return policy


def invoice_span(customer: Customer, start_at: datetime, end_at: datetime) -> None:
    """Say that a customer's usage of a span is invoiced."""
    record_invoiced_usage(
        customer_id=customer.pk, period=Period(start_at, end_at), at=end_at,
        source_key=f"test:{customer.pk}:{end_at}",
    )  # fmt: skip


def invoice_until(customer: Customer, end_at: datetime) -> None:
    """Say that a customer's usage is invoiced up to an instant, for a hundred days."""
    invoice_span(customer, end_at - timedelta(days=100), end_at)
