"""What the controls did in a week: what they stopped, what they said, and what is still open."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Q

from billing_project.kernel.canonical import canonical_json, sha256_hex
from billing_project.kernel.models import AuditEntry, PolicyChange, PolicyStatus
from billing_project.kernel.money import settle
from billing_project.kernel.period import DAY, midnight
from billing_project.kernel.quantity import plain
from credits.models import (
    Alert,
    Anomaly,
    Authorization,
    ControlCheckpoint,
    Feedback,
    Incident,
    IncidentState,
    ModelException,
    PlannedActivity,
)
from credits.spend import Reason
from metering.models import Customer

MOST = 500  # Rows that a list of a week has; how many there are stands beside it.
_EXCEPTION = "model_exception"  # The kind of change.
_STOPPED = (
    Reason.RETRY_CAP,
    Reason.MODEL_NOT_ALLOWED,
    Reason.LIMIT_REACHED,
    Reason.INSUFFICIENT_BALANCE,
)
_List = tuple[list[dict[str, Any]], int]  # Rows, and how many there are.
Price = Callable[[Customer, str, datetime], tuple[Decimal, str] | None]


def checkpoint_document(start_on: date, price_of: Price, at: datetime) -> dict[str, Any]:
    """Gather a week from a Monday on; figures are text or whole numbers.

    Args:
        price_of: What a credit of a unit, beyond the included ones, costs a customer at an instant.
    """
    start, end = midnight(start_on), midnight(start_on + 7 * DAY)
    found = {
        "unresolved_anomalies": _unresolved(end),
        "planned_activities": _planned(start, end),
        "open_incidents": _incidents(end),
    }
    lists = {name: rows for name, (rows, _) in found.items()}
    counts = {name: count for name, (_, count) in found.items()}
    return {
        "prevented": _prevented(start, end, price_of),
        "alerts": _alerts(start, end),
        **lists,
        "counts": counts,  # Of each list, also where it is cut.
        "premium_exceptions": _exceptions(start, end),
        "computed_at": at.astimezone(UTC).isoformat(),
    }


def judges_of_own_work(checkpoint: ControlCheckpoint) -> dict[int, str]:
    """Say who may not sign a week, and why: it tells of what they themselves let pass.

    Returns:
        By user: who planned what raised no anomaly, and who decided on an exception that was in
        force, or was decided on, in the week.
    """
    start, end = midnight(checkpoint.start_on), midnight(checkpoint.end_on)
    planned = PlannedActivity.objects.filter(start_at__lt=end, end_at__gt=start)
    found = dict.fromkeys(
        planned.values_list("planned_by", flat=True), "planned what raised no anomaly"
    )
    changes = PolicyChange.objects.filter(kind=_EXCEPTION)
    in_force = Q(status=PolicyStatus.APPROVED, effective_at__lt=end) & (
        Q(expires_at__isnull=True) | Q(expires_at__gt=start)
    )
    changes = changes.filter(in_force | Q(decided_at__gte=start, decided_at__lt=end))
    for name in ("decided_by", "approvals__by"):
        people = changes.exclude(**{name: None}).values_list(name, flat=True)
        found |= dict.fromkeys(people, "decided on an exception")
    return found


def sha256_of(document: object) -> str:
    """Return the hash that a person signs."""
    return sha256_hex(canonical_json(document))


def unlike_signed() -> Iterator[tuple[int, str]]:
    """Yield checkpoints that are not what was prepared, or not what their signer signed."""
    signed = {
        entry.subject: entry
        for entry in AuditEntry.objects.filter(action="sign_checkpoint").order_by("pk")
    }
    for row in ControlCheckpoint.objects.order_by("pk"):
        if sha256_of(row.document) != row.document_sha256:
            yield row.pk, "its document is another one"
        entry = signed.get(f"controlcheckpoint:{row.pk}")
        said = (entry.by_id, entry.facts.get("sha256")) if entry else None
        if row.signed_by_id is not None and said != (row.signed_by_id, row.document_sha256):
            yield row.pk, f"user {row.signed_by_id} did not sign it"


def _prevented(start: datetime, end: datetime, price_of: Price) -> list[dict[str, Any]]:
    """Sum what refused requests would have cost; the same request asked again counts once.

    Without a name each request is one of its own. Credits of a unit that no plan prices have no
    money.
    """
    refused = Authorization.objects.filter(
        decided_at__gte=start, decided_at__lt=end, is_allowed=False, reason__in=_STOPPED,
        pricing_unit__isnull=False,
    )  # fmt: skip
    names = ("customer_id", "pricing_unit__code", "reason")
    once = refused.exclude(request="").order_by().values(*names, "job", "request")
    rows = [
        *once.annotate(most=Max("credits"), asked=Count("pk"), last=Max("decided_at")),
        *refused.filter(request="")
        .order_by()
        .values(*names, "pk")
        .annotate(most=Max("credits"), asked=Count("pk"), last=Max("decided_at")),
    ]
    sums: dict[tuple[int, str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0), start])
    for row in rows:
        one = sums[tuple(row[name] for name in names)]
        one[0] += row["asked"]
        one[1] += row["most"]
        one[2] = max(one[2], row["last"])
    customers = Customer.objects.in_bulk({customer_id for customer_id, _, _ in sums})
    found = []
    for (customer_id, unit, reason), (count, credit_count, last_at) in sorted(sums.items()):
        customer = customers[customer_id]
        price = price_of(customer, unit, last_at)  # By the end of the week it may have no plan.
        said: dict[str, Any] = {
            "customer": customer.external_id, "reason": reason, "requests": count,
            "credits": plain(credit_count), "unit": unit, "amount_minor": None, "currency": "",
        }  # fmt: skip
        if price is not None:
            said["amount_minor"] = settle(credit_count * price[0], price[1])
            said["currency"] = price[1]
        found.append(said)
    return found


def _alerts(start: datetime, end: datetime) -> list[dict[str, Any]]:
    rows = Alert.objects.filter(raised_at__gte=start, raised_at__lt=end).order_by("kind")
    sums = rows.values_list("kind").annotate(
        Count("pk"), seen=Count("pk", filter=Q(acknowledged_at__isnull=False))
    )
    return [{"kind": kind, "raised": raised, "acknowledged": seen} for kind, raised, seen in sums]


def _unresolved(end: datetime) -> _List:
    """List anomalies of which nobody said what they were, by owner; with the oldest's day."""
    rows = Anomaly.objects.filter(feedback=Feedback.NONE, detected_at__lt=end)
    rows = rows.select_related("owner", "customer").order_by("owner__username", "start_at")
    said = [
        {
            "owner": row.owner.username, "anomaly": row.pk, "what": str(row),
            "impact_minor": row.impact_minor, "currency": row.currency,
        }
        for row in rows[:MOST]
    ]  # fmt: skip
    return said, rows.count()


def _planned(start: datetime, end: datetime) -> _List:
    """List hours of the week in which no anomaly was raised because somebody had planned them."""
    rows = PlannedActivity.objects.filter(start_at__lt=end, end_at__gt=start)
    said = [
        {
            "customer": row.customer.external_id, "planned_by": row.planned_by.username,
            "from": row.start_at.astimezone(UTC).isoformat(),
            "until": row.end_at.astimezone(UTC).isoformat(), "reason": row.reason,
        }
        for row in rows.select_related("customer", "planned_by").order_by("start_at", "pk")[:MOST]
    ]  # fmt: skip
    return said, rows.count()


def _incidents(end: datetime) -> _List:
    rows = Incident.objects.filter(opened_at__lt=end).exclude(state=IncidentState.RESOLVED)
    said = [
        {"owner": row.owner.username, "incident": row.pk, "title": row.title, "state": row.state}
        for row in rows.select_related("owner").order_by("owner__username", "pk")[:MOST]
    ]
    return said, rows.count()


def _exceptions(start: datetime, end: datetime) -> list[dict[str, Any]]:
    """List exceptions for premium models that were in force, with what they let in."""
    rows = (
        ModelException.objects.filter(
            policy_change__status=PolicyStatus.APPROVED, policy_change__effective_at__lt=end
        )
        .filter(Q(policy_change__expires_at__isnull=True) | Q(policy_change__expires_at__gt=start))
        .select_related("customer", "policy_change__decided_by", "policy_change__proposed_by")
        .order_by("pk")
    )
    used = dict(
        Authorization.objects.filter(
            decided_at__gte=start, decided_at__lt=end, is_allowed=True, exception__isnull=False
        )
        .order_by()
        .values_list("exception_id")
        .annotate(Count("pk"))
    )
    return [
        {
            "customer": row.customer.external_id, "model": row.model, "job": row.job,
            "asked_by": str(row.policy_change.proposed_by),
            "approved_by": str(row.policy_change.decided_by), "let_in": used.get(row.pk, 0),
        }
        for row in rows
    ]  # fmt: skip
