"""Set windows right that a replay found wrong: proposed, approved by somebody else, then applied.

An applied repair gives each window a new revision, so that what was rated of it is rated again.
Windows of levels are settled anew from their events, under their keys' locks, and have to come to
what was approved: a level goes on, so that a number set by hand would be wrong an hour later.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from billing_project.kernel import audit, outbox
from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.canonical import canonical_json
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import PolicyStatus, User
from billing_project.kernel.period import HOUR
from billing_project.kernel.quantity import how_many
from billing_project.kernel.sessions import wait_for
from metering.aggregation import LEVEL
from metering.models import AppliedRepair, WindowRepair, WindowRepairItem
from metering.reading_sql import Params
from metering.selectors.archive import refuse_archived
from metering.selectors.repairs import content_of_repair, standing_repair
from metering.services.aggregate import USAGE_CHANGED
from metering.services.levels import lock_levels, settle_locked
from metering.services.replaying import Difference
from metering.services.retrying import atomic_with_retries

MOST = 10_000  # Windows of one repair; more than that is no case for a repair.
_PERMISSION = "metering.repair_usagewindow"

_LOCK = """
SELECT i.id, w.id, w.quantity IS NOT DISTINCT FROM i.stored_quantity
   AND w.event_count IS NOT DISTINCT FROM i.stored_count AS is_unchanged
FROM window_repair_item i
LEFT JOIN usage_window w
  ON w.customer_id = i.customer_id AND w.meter_id = i.meter_id AND w.start_at = i.start_at
 AND w.workspace_id IS NOT DISTINCT FROM i.workspace_id AND w.dimensions_key = i.dimensions_key
WHERE i.repair_id = %(repair)s AND {kind}
"""
_HOLD = """
SELECT w.id FROM usage_window w JOIN window_repair_item i
  ON w.customer_id = i.customer_id AND w.meter_id = i.meter_id AND w.start_at = i.start_at
 AND w.workspace_id IS NOT DISTINCT FROM i.workspace_id AND w.dimensions_key = i.dimensions_key
WHERE i.repair_id = %(repair)s AND {kind}
ORDER BY w.customer_id, w.meter_id, w.workspace_id, w.dimensions_key, w.start_at
FOR UPDATE OF w
"""
_SET = """
UPDATE usage_window w
SET quantity = i.quantity, event_count = i.event_count, revision = w.revision + 1,
    updated_at = %(at)s
FROM window_repair_item i
WHERE i.repair_id = %(repair)s AND i.stored_count IS NOT NULL AND {kind}
  AND w.customer_id = i.customer_id AND w.meter_id = i.meter_id AND w.start_at = i.start_at
  AND w.workspace_id IS NOT DISTINCT FROM i.workspace_id AND w.dimensions_key = i.dimensions_key
"""
# A window that was missing cannot be locked: who makes it first keeps what he counted in it.
_MAKE = """
INSERT INTO usage_window (customer_id, meter_id, workspace_id, dimensions, dimensions_key, start_at,
                          quantity, event_count, revision, updated_at)
SELECT customer_id, meter_id, workspace_id, dimensions, dimensions_key, start_at,
       quantity, event_count, 1, %(at)s
FROM window_repair_item i WHERE repair_id = %(repair)s AND stored_count IS NULL AND {kind}
ORDER BY customer_id, meter_id, workspace_id, dimensions_key, start_at
ON CONFLICT ON CONSTRAINT usage_window_once DO NOTHING
"""
_IS_LEVEL = "i.meter_id IN (SELECT id FROM meter WHERE aggregation = %(level)s)"
_IS_NO_LEVEL = f"NOT {_IS_LEVEL}"
_KEYS = """
SELECT i.meter_id, i.customer_id, i.workspace_id, i.dimensions, i.dimensions_key,
       array_agg(i.start_at ORDER BY i.start_at) AS hours
FROM window_repair_item i
JOIN meter m ON m.id = i.meter_id AND m.aggregation = %(level)s
WHERE i.repair_id = %(repair)s
GROUP BY i.meter_id, i.customer_id, i.workspace_id, i.dimensions, i.dimensions_key
"""
# A window of nothing may be missing; one that is there says what was approved.
_UNSETTLED = """
SELECT count(*) FROM window_repair_item i
JOIN meter m ON m.id = i.meter_id AND m.aggregation = %(level)s
LEFT JOIN usage_window w
  ON w.customer_id = i.customer_id AND w.meter_id = i.meter_id AND w.start_at = i.start_at
 AND w.workspace_id IS NOT DISTINCT FROM i.workspace_id AND w.dimensions_key = i.dimensions_key
WHERE i.repair_id = %(repair)s
  AND (coalesce(w.quantity, 0), coalesce(w.event_count, 0))
      IS DISTINCT FROM (i.quantity, i.event_count)
"""


@transaction.atomic
def propose_repair(
    *, differences: Sequence[Difference], reason: str, by: User, at: datetime
) -> WindowRepair:
    """Propose to set windows to what their events say; nothing changes until it is applied.

    Proposed again while it waits for its decision or to be applied, it is the same repair.

    Raises:
        Invalid: no reason, no difference, or too many for anybody to judge.
        NotAllowed: `by` may not propose repairs.
    """
    if not by.has_perm(_PERMISSION):
        raise NotAllowed("only engineering proposes repairs of usage windows")
    if not 1 <= len(differences) <= MOST:
        raise Invalid(f"a repair is of 1 to {MOST} windows, not {len(differences)}")
    if not reason.strip():
        raise Invalid("a repair needs its reason")
    content = sorted((content_of_repair(one) for one in differences), key=canonical_json)
    wait_for("propose_repair")
    if standing := standing_repair(content):
        return standing
    first, last = min(d.start_at for d in differences), max(d.start_at for d in differences)
    pk = _next_id()
    change = propose(
        kind="window_repair",
        subject=f"window_repair:{pk}:1",
        content=content,
        proposal=Proposal(
            title=f"Set {how_many(len(differences), 'usage window')} to what the events say",
            product_requirement=reason,
            engineering_note="found by replaying the raw events",
            reason_code="replay_difference",
            effective_at=at,
        ),
        by=by,
        at=at,
    )
    repair = WindowRepair.objects.create(
        pk=pk, policy_change=change, start_at=first, end_at=last + HOUR, proposed_at=at
    )
    WindowRepairItem.objects.bulk_create(_item(repair, one) for one in differences)
    return repair


@atomic_with_retries
def apply_repair(*, repair: WindowRepair, by: User, at: datetime) -> AppliedRepair:
    """Set the windows of an approved repair, each with a new revision; again, it changes nothing.

    Raises:
        NotAllowed: `by` may not.
        Conflict: nobody approved it, or a window changed since the replay.
    """
    if not by.has_perm(_PERMISSION):
        raise NotAllowed("only engineering applies repairs of usage windows")
    locked = WindowRepair.objects.select_for_update(no_key=True).get(pk=repair.pk)
    if earlier := AppliedRepair.objects.filter(repair=locked).first():
        return earlier
    if locked.policy_change.status != PolicyStatus.APPROVED:
        raise Conflict(f"{locked} is {locked.policy_change.status}; it needs an approval")
    refuse_archived(locked.start_at, locked.end_at)
    _set_windows(locked, at)
    applied = AppliedRepair.objects.create(repair=locked, by=by, at=at)
    customers = WindowRepairItem.objects.filter(repair=locked).values_list("customer_id", flat=True)
    outbox.publish(USAGE_CHANGED, customers, at)
    audit.record(
        by=by, at=at, action="apply_window_repair", subject=locked,
        reason=locked.policy_change.decision_reason, window_count=len(customers),
    )  # fmt: skip
    return applied


def _set_windows(repair: WindowRepair, at: datetime) -> None:
    """Set windows that add up, then those of levels: the order in which every writer locks."""
    params: Params = {"repair": repair.pk, "at": at, "level": LEVEL}
    with connection.cursor() as cursor:
        count = _refuse_changed(cursor, _IS_NO_LEVEL, params)
        cursor.execute(_SET.format(kind=_IS_NO_LEVEL), params)
        count -= cursor.rowcount
        cursor.execute(_MAKE.format(kind=_IS_NO_LEVEL), params)
        _refuse(count - cursor.rowcount)
    spans = lock_levels(_KEYS, params)
    with connection.cursor() as cursor:
        _refuse_changed(cursor, _IS_LEVEL, params)
        settle_locked(spans, at)
        cursor.execute(_UNSETTLED, params)
        _refuse(cursor.fetchone()[0])


def _refuse_changed(cursor: CursorWrapper, kind: str, params: Params) -> int:
    """Hold the windows of a kind and return how many the repair sets; all are as they were."""
    cursor.execute(_HOLD.format(kind=kind), params)
    cursor.execute(_LOCK.format(kind=kind), params)
    items = cursor.fetchall()
    _refuse(sum(not is_unchanged for _, _, is_unchanged in items))
    return len(items)


def _refuse(changed: int) -> None:
    if changed:
        raise Conflict(
            f"{changed} windows changed since the replay; replay and propose again",
            code="windows_changed",
        )


def _item(repair: WindowRepair, one: Difference) -> WindowRepairItem:
    return WindowRepairItem(
        repair=repair,
        customer_id=one.customer_id,
        meter_id=one.meter_id,
        workspace_id=one.workspace_id,
        dimensions=one.dimensions,
        dimensions_key=one.dimensions_key,
        start_at=one.start_at,
        stored_quantity=one.stored_quantity,
        stored_count=one.stored_count,
        quantity=one.quantity,
        event_count=one.event_count,
    )


def _next_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('window_repair', 'id'))")
        pk: int = cursor.fetchone()[0]
    return pk
