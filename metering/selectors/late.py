"""Which events are late, and what their customer's policy makes of them.

An event is late whose time of use lies in a span whose usage is invoiced already; a span that still
waits for its invoice may lie before it. An event is judged when it arrives, by what is committed
then.
"""

import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from django.db.models import F, Q, QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange, in_force
from billing_project.kernel.period import Period
from metering.models import Customer, InvoicedUsage, LateEventPolicy
from metering.models.late import LateTreatment

BUILT_IN = LateTreatment.NEXT_INVOICE  # What governs where nobody approved anything.
_EVER = datetime.min.replace(tzinfo=UTC)


def late_quarantine(customer_ids: Collection[int], at: datetime) -> dict[int, tuple[Period, ...]]:
    """Return, for customers whose late events wait for a person, the spans that are invoiced.

    Worth asking only where some policy says so (see `standing`).
    """
    treatments = late_treatments(customer_ids, at)
    return invoiced_spans(
        key for key, treatment in treatments.items() if treatment == LateTreatment.QUARANTINE
    )


def invoiced_spans(customer_ids: Iterable[int]) -> dict[int, tuple[Period, ...]]:
    """Return the spans whose usage is invoiced, the oldest first; who has none is left out.

    Spans that touch are one; between two of them lies usage that is still to be invoiced.
    """
    rows = InvoicedUsage.objects.filter(customer_id__in=set(customer_ids)).order_by(
        "customer_id", F("start_at").asc(nulls_first=True), "end_at"
    )
    found = rows.values_list("customer_id", "start_at", "end_at")
    return {
        customer_id: tuple(_merged((start or _EVER, end) for _, start, end in group))
        for customer_id, group in groupby(found, key=itemgetter(0))
    }


def late_treatments(customer_ids: Collection[int], at: datetime) -> dict[int, LateTreatment]:
    """Return what governs for each customer: their own version, the default one, or next_invoice.

    Of the versions in effect the one with the latest effective date governs.
    """
    rows = _governing_until(at).filter(Q(customer__isnull=True) | Q(customer__in=customer_ids))
    ordered = rows.order_by("policy_change__effective_at", "number")
    said: dict[int | None, str] = dict(ordered.values_list("customer_id", "treatment"))
    default = said.get(None, BUILT_IN)
    return {key: LateTreatment(said.get(key, default)) for key in customer_ids}


def content_of_late_policy(policy: LateEventPolicy) -> dict[str, object]:
    """Return the whole content of a version."""
    return {
        "customer": policy.customer.external_id if policy.customer else None,
        "number": policy.number,
        "treatment": policy.treatment,
    }


def late_policy_subject(customer: Customer | None) -> str:
    """Name the rule that versions for a customer, or the default ones, belong to."""
    return f"late_events:{'default' if customer is None else f'customer.{customer.pk}'}"


def _governing_until(at: datetime) -> QuerySet[LateEventPolicy]:
    """List the approved versions that have begun and not expired."""
    return LateEventPolicy.objects.filter(in_force(at, "policy_change__"))


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> list[Period]:
    """Join spans that touch or overlap; they come in the order of their starts."""
    found: list[Period] = []
    for start, end in spans:
        if found and start <= found[-1].end:
            found[-1] = Period(found[-1].start, max(found[-1].end, end))
        else:
            found.append(Period(start, end))
    return found


@effect_of("late_events")
def _late_effect(change: PolicyChange) -> Effect:
    """Count the customers whose late events would go elsewhere; their events are still to come."""
    content = json.loads(change.content)
    customers = Customer.objects.all()
    if content["customer"] is not None:
        customers = customers.filter(external_id=content["customer"])
    ids = set(customers.values_list("pk", flat=True))
    before = late_treatments(ids, change.effective_at)
    if content["customer"] is None:  # Who has a rule of their own keeps it.
        own = _governing_until(change.effective_at).exclude(customer=None)
        ids -= set(own.values_list("customer_id", flat=True))
    rows = [
        EffectRow(
            subject=f"Customers whose late events go to {treatment.label}",
            customer_id=None,
            before=Decimal(sum(said == treatment for said in before.values())),
            after=Decimal(
                sum(
                    (content["treatment"] if key in ids else said) == treatment
                    for key, said in before.items()
                )
            ),
            unit="customer",
        )
        for treatment in LateTreatment
    ]
    basis = "Customers under the rule when it begins; it changes no event that was received before"
    return Effect(basis, tuple(rows), customers=len(ids), grants=0)


@content_of("late_events")
def _late_events(change: PolicyChange) -> dict[str, object]:
    policies = LateEventPolicy.objects.select_related("customer")
    return content_of_late_policy(policies.get(policy_change=change))
