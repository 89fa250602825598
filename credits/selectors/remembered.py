"""Every approved rule that prices or stops work, remembered by the process.

A decision in the request path has no time to read hundreds of rates. What governs changes only by
an approval or a new meter version, and both only ever add rows: as long as their counts stand, what
was read before is what would be read now.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from django.db import connection

from billing_project.kernel.models import PolicyStatus
from credits.models import ControlPolicy, ModelException, SpendLimit
from credits.selectors.governing import is_in_force
from credits.selectors.prices import Prices
from metering.aggregation import MeterRule
from metering.selectors.meters import rules_by_event_name

Stamp = tuple[int, ...]
# Ids alone would miss an approval that commits after a later one; counts see it.
STAMP = """
(SELECT count(*) FROM policy_approval), (SELECT coalesce(max(id), 0) FROM policy_approval),
(SELECT count(*) FROM meter_version), (SELECT count(withdrawn_at) FROM meter_version),
(SELECT count(*) FROM meter)
"""
_NEWEST_FIRST = ("-policy_change__effective_at", "-number")


@dataclass(frozen=True)
class Approved:
    """All approved rules, whenever they govern; of versions the one that governs last first.

    Attributes:
        readers: Meters by the event name that they read.
        controls: Rules of the request path by customer; None: of all who have none.
        limits: Spend limits by customer.
        exceptions: By customer.
    """

    prices: Prices
    readers: dict[str, list[MeterRule]]
    controls: dict[int | None, list[ControlPolicy]]
    limits: dict[int, list[SpendLimit]]
    exceptions: dict[int, list[ModelException]]

    def controls_of(self, customer_id: int, at: datetime) -> ControlPolicy | None:
        """Return the customer's own rules in force, or those of all customers."""
        for key in (customer_id, None):
            for policy in self.controls.get(key, ()):
                if is_in_force(policy.policy_change, at):
                    return policy
        return None

    def limits_of(self, customer_id: int, at: datetime) -> list[SpendLimit]:
        """Return the governing version of each of a customer's limits, by code."""
        found: dict[str, SpendLimit] = {}
        for limit in self.limits.get(customer_id, ()):
            if limit.code not in found and is_in_force(limit.policy_change, at):
                found[limit.code] = limit
        return [found[code] for code in sorted(found)]

    def exception_for(
        self, customer_id: int, workspace_id: int | None, model: str, job: str, at: datetime
    ) -> ModelException | None:
        """Find an exception that lets this work use a model now."""
        for row in self.exceptions.get(customer_id, ()):
            if (
                row.model == model
                and row.workspace_id in (None, workspace_id)
                and row.job in ("", job)
                and is_in_force(row.policy_change, at)
            ):
                return row
        return None


_lock = Lock()
_known: tuple[Stamp, Approved] | None = None


def approved_rules(stamp: Stamp | None = None) -> Approved:
    """Return all approved rules, read anew only where something was approved since.

    Args:
        stamp: What `STAMP` reads, where the caller has read it with other things just now.
    """
    global _known
    stamp = stamp or _stamp()
    known = _known
    if known is not None and known[0] == stamp:
        return known[1]
    with _lock:
        approved = _read()
        if _stamp() == stamp:  # Otherwise it may hold more than the stamp says: not remembered.
            _known = stamp, approved
    return approved


def forget_rules() -> None:
    """Read all of it at the next question: another database may have the same counts."""
    global _known
    _known = None


def _stamp() -> Stamp:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {STAMP}")
        row: Stamp = cursor.fetchone()
    return row


def _read() -> Approved:
    approved = {"policy_change__status": PolicyStatus.APPROVED}
    controls: dict[int | None, list[ControlPolicy]] = defaultdict(list)
    policies = ControlPolicy.objects.filter(**approved).select_related("policy_change")
    for policy in policies.order_by(*_NEWEST_FIRST):
        controls[policy.customer_id].append(policy)
    limits: dict[int, list[SpendLimit]] = defaultdict(list)
    versions = SpendLimit.objects.filter(**approved).select_related(
        "policy_change", "workspace", "pricing_unit"
    )
    for limit in versions.order_by("code", *_NEWEST_FIRST):
        limits[limit.customer_id].append(limit)
    exceptions: dict[int, list[ModelException]] = defaultdict(list)
    rows = ModelException.objects.filter(**approved).select_related("policy_change")
    for exception in rows.order_by("pk"):
        exceptions[exception.customer_id].append(exception)
    return Approved(
        Prices.of_all(), rules_by_event_name(), dict(controls), dict(limits), dict(exceptions)
    )
