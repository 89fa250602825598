"""The rules of the request path in force for a customer, and how far each limit is used up."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from billing_project.kernel.period import HOUR, Period, hour_of, midnight, month_of
from billing_project.kernel.quantity import plain
from credits.models import (
    ControlPolicy,
    Hold,
    HoldState,
    LimitMode,
    LimitWindow,
    SpendCounter,
    SpendLimit,
)
from credits.selectors.remembered import approved_rules
from credits.spend import Controls, LimitState, ModelRule, Overdraft
from metering.models import Customer

_ZERO = Decimal(0)
_EVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")  # Before any job.
# Rated usage of a limit's scope in a time. A row's hour lies in its billing period, so that a new
# window reads no more than its own time.
RATED_IN_SCOPE = """
FROM rated_usage r
JOIN usage_window w ON w.id = r.window_id
JOIN rate_card_version v ON v.id = r.rate_card_version_id
JOIN rate_card c ON c.id = v.rate_card_id
WHERE r.billing_period_id IN (
        SELECT id FROM billing_period WHERE customer_id = %(customer)s
           AND start_at < %(end)s AND coalesce(uncut_end_at, end_at) > %(start)s)
  AND r.service_at >= %(start)s AND r.service_at < %(end)s
  AND c.pricing_unit_id = %(unit)s
  AND (%(workspace)s::bigint IS NULL OR w.workspace_id = %(workspace)s)
  AND (%(model)s = '' OR w.dimensions ->> 'model' = %(model)s)
"""
# What it adds to a counter, and through which row it was read.
_RATED_SINCE = f"""
SELECT coalesce(sum(r.charge), 0), coalesce((
    SELECT max(id) FROM rated_usage WHERE customer_id = %(customer)s), 0)
{RATED_IN_SCOPE}
  AND r.customer_id = %(customer)s AND r.id > %(after)s
  AND (%(last)s::bigint IS NULL OR r.id <= %(last)s)
"""  # noqa: S608 - texts of this module
_RATED_IN_PARTS = f"""
SELECT floor(extract(epoch FROM r.service_at - %(start)s) / %(seconds)s)::int, sum(r.charge)
{RATED_IN_SCOPE}
  AND r.customer_id = %(customer)s
GROUP BY 1
"""  # noqa: S608 - texts of this module


@dataclass(frozen=True)
class LimitUse:
    """A limit that applies to a piece of work, the window it falls in, and the state there."""

    limit: SpendLimit
    window: Period | None  # None: a job's whole life.
    state: LimitState
    job: str  # Whose life; "" where there is a window.

    def document(self) -> dict[str, str | None]:
        """Return what is stored and answered of it."""
        return {
            "code": self.limit.code,
            "window": self.limit.window,
            "mode": self.limit.mode,
            "ceiling": plain(self.state.ceiling),
            "spent": plain(self.state.spent),
            "held": plain(self.state.held),
            "left": plain(self.state.left),
            "window_ends_at": _text(self.window.end) if self.window else None,
        }


@dataclass(frozen=True)
class Place:
    """Where work is done: what limits are compared with."""

    workspace_id: int | None
    model: str
    job: str
    api_key_id: int | None


def controls_of(policy: ControlPolicy | None) -> Controls:
    """Return the rules as the decision sees them; without any, credits end at zero."""
    if policy is None:
        return Controls()
    return Controls(
        models=ModelRule(
            frozenset(policy.premium_models),
            policy.instead,
            frozenset(policy.premium_workspaces),
            frozenset(policy.premium_jobs),
            policy.premium_ceiling,
        ),
        retry_max=policy.retry_max,
        overdraft=Overdraft(policy.overdraft),
        overdraft_credits=policy.overdraft_credits or _ZERO,
    )


def applies(limit: SpendLimit, place: Place) -> bool:
    """Tell whether work done there counts against a limit."""
    return (
        limit.workspace_id in (None, place.workspace_id)
        and limit.model in ("", place.model)
        and limit.api_key_id in (None, place.api_key_id)
        and (limit.job in ("", place.job))
        and (limit.window != LimitWindow.JOB or place.job != "")
    )


def window_of(limit: SpendLimit, zone: str, at: datetime) -> Period | None:
    """Return the window of a limit that holds an instant; None: a job's whole life."""
    if limit.window == LimitWindow.JOB:
        return None
    if limit.window == LimitWindow.HOUR:
        start = hour_of(at)
        return Period(start, start + HOUR)
    day = at.astimezone(ZoneInfo(zone)).date()
    if limit.window == LimitWindow.DAY:
        return Period(midnight(day, zone), midnight(day + timedelta(days=1), zone))
    first, following = month_of(day)
    return Period(midnight(first, zone), midnight(following, zone))


def limit_uses(
    limits: Iterable[SpendLimit],
    counters: dict[tuple[int, datetime], SpendCounter],
    customer: Customer,
    place: Place,
    at: datetime,
) -> list[LimitUse]:
    """Return the state of each limit; reads what is held in the scope of each.

    Args:
        counters: Of the limits that count rated usage, brought up to date.
        place: Whose job a limit of every job is asked for.
    """
    found = []
    for limit in limits:
        window = window_of(limit, customer.time_zone, at)
        spent, held = (
            _asked(limit, window, place, at)
            if is_asked(limit)
            else (counters[limit.pk, _start(window)].credits, _held(limit, at))
        )
        state = LimitState(limit.code, limit.mode == LimitMode.HARD, limit.credits, spent, held)
        job = "" if window else limit.job or place.job
        found.append(LimitUse(limit, window, state, job))
    return found


def limits_now(customer: Customer, at: datetime) -> list[LimitUse]:
    """Return how far each limit in force is used up, by code; counts on from the kept counters.

    Of a limit by job that names none, nothing is used: each job has its own life.
    """
    limits = approved_rules().limits_of(customer.pk, at)
    pairs = counted_limits(limits, customer.time_zone, at)
    kept = SpendCounter.objects.filter(limit_id__in=[limit.pk for limit, _ in pairs])
    known = {
        (row.limit_id, row.start_at, row.end_at): row
        for row in kept.filter(start_at__in={window.start for _, window in pairs})
    }
    counters = {}
    for limit, window in pairs:
        row = known.get((limit.pk, window.start, window.end)) or SpendCounter(credits=_ZERO)
        added, _ = rated_since(limit, window, row.through_id)
        row.credits += added  # For show: whoever has the customer's lock keeps it.
        counters[limit.pk, window.start] = row
    return limit_uses(limits, counters, customer, Place(None, "", "", None), at)


def is_asked(limit: SpendLimit) -> bool:
    """Tell whether a limit counts what work asked for, because usage does not know its scope."""
    return bool(limit.job or limit.api_key_id or limit.window == LimitWindow.JOB)


def rated_since(limit: SpendLimit, window: Period, through_id: int) -> tuple[Decimal, int]:
    """Sum what was rated in a limit's scope and window after a row; return it with the last row."""
    return _rated(limit, window, after=through_id, last=None)


def drifted_counters() -> Iterator[tuple[int, Decimal, Decimal]]:
    """Yield the counters that are not what was rated as far as they have read: both figures."""
    for counter in SpendCounter.objects.select_related("limit").order_by("pk"):
        window = Period(counter.start_at, counter.end_at)
        rated, _ = _rated(counter.limit, window, after=0, last=counter.through_id)
        if rated != counter.credits:
            yield counter.pk, counter.credits, rated


def _rated(
    limit: SpendLimit, window: Period, *, after: int, last: int | None
) -> tuple[Decimal, int]:
    with connection.cursor() as cursor:
        cursor.execute(_RATED_SINCE, {**_scope(limit, window), "after": after, "last": last})
        added, reached = cursor.fetchone()
    return added, reached


def rated_in_parts(limit: SpendLimit, span: Period, count: int) -> tuple[Decimal, ...]:
    """Sum what was rated in a limit's scope in each of so many equal parts of a time."""
    seconds = (span.end - span.start) // timedelta(seconds=count)
    with connection.cursor() as cursor:
        cursor.execute(_RATED_IN_PARTS, {**_scope(limit, span), "seconds": seconds})
        found = dict(cursor.fetchall())
    return tuple(found.get(part, _ZERO) for part in range(count))


def _scope(limit: SpendLimit, span: Period) -> dict[str, Any]:
    """Return whose and which usage `RATED_IN_SCOPE` reads."""
    return {
        "customer": limit.customer_id,
        "unit": limit.pricing_unit_id,
        "workspace": limit.workspace_id,
        "model": limit.model,
        "start": span.start,
        "end": span.end,
    }


def outstanding(at: datetime) -> Q:
    """Match the holds whose credits are not free."""
    return Q(state=HoldState.OPEN, expires_at__gt=at) | Q(
        state=HoldState.SETTLED, counted_at__isnull=True
    )


def _held(limit: SpendLimit, at: datetime) -> Decimal:
    """Sum what is held in the scope of a limit of usage."""
    holds = Hold.objects.filter(
        outstanding(at), customer_id=limit.customer_id, pricing_unit_id=limit.pricing_unit_id
    )
    if limit.workspace_id is not None:
        holds = holds.filter(workspace_id=limit.workspace_id)
    if limit.model:
        holds = holds.filter(model=limit.model)
    return _sum(holds)


def _asked(
    limit: SpendLimit, window: Period | None, place: Place, at: datetime
) -> tuple[Decimal, Decimal]:
    """Sum what work of a limit's scope used, and what is held for it.

    Nobody says what became of work whose hold lapsed, and its usage names no job: it counts as it
    was asked for, until it is released.
    """
    holds = Hold.objects.filter(
        customer_id=limit.customer_id, pricing_unit_id=limit.pricing_unit_id
    )
    if limit.window == LimitWindow.JOB or limit.job:
        holds = holds.filter(job=limit.job or place.job)
    if limit.api_key_id is not None:
        holds = holds.filter(api_key_id=limit.api_key_id)
    if limit.workspace_id is not None:
        holds = holds.filter(workspace_id=limit.workspace_id)
    if limit.model:
        holds = holds.filter(model=limit.model)
    if window is not None:
        holds = holds.filter(made_at__gte=window.start, made_at__lt=window.end)
    is_held = Q(state=HoldState.OPEN, expires_at__gt=at)
    sums = (
        holds.order_by()
        .exclude(state=HoldState.RELEASED)
        .aggregate(used=Sum("credits", filter=~is_held), held=Sum("credits", filter=is_held))
    )
    return sums["used"] or _ZERO, sums["held"] or _ZERO


def _sum(holds: QuerySet[Hold]) -> Decimal:
    return holds.order_by().aggregate(total=Sum("credits"))["total"] or _ZERO


def _start(window: Period | None) -> datetime:
    return window.start if window else _EVER


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def counted_limits(
    limits: Sequence[SpendLimit], zone: str, at: datetime
) -> list[tuple[SpendLimit, Period]]:
    """Return the limits that count rated usage, each with its window."""
    pairs = [(limit, window_of(limit, zone, at)) for limit in limits if not is_asked(limit)]
    return [(limit, window) for limit, window in pairs if window is not None]
