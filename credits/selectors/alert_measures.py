"""What the rules that raise alerts look at: who is past a threshold at an instant, and how far.

Each kind is one statement over all customers, so that a rule for everybody costs as one for one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Sum

from billing_project.kernel import outbox
from billing_project.kernel.models import in_force
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.quantity import plain
from credits.forecast import runs_out_before
from credits.models import AlertRule, UnratedEpisode, Watched
from credits.selectors.lag import rating_waits_by_customer
from credits.selectors.paces import DAY, balance_paces
from credits.selectors.unrated import BLOCKED, without_rate_by_customer
from metering.models import QuarantinedEvent
from metering.models.event import QuarantineState
from metering.selectors.lag import aggregation_state, seconds_between
from metering.selectors.quarantine import waiting_of_customers

_MOST_ROWS = 2**62  # That PostgreSQL's LIMIT takes.
_LONGEST = Decimal(10**9)  # Seconds, of which nothing waits longer: 31 years.
BEFORE = 7  # Windows that a change is measured against.
_LENGTHS = {"hour": HOUR, "day": DAY}
_OURS = """
    c.closed_at IS NULL AND (%(customer)s::bigint IS NULL OR c.id = %(customer)s)
"""
# A window begins in the customer's own time; an hour is everybody's.
_SINCE = """
FROM customer c CROSS JOIN LATERAL (
    SELECT CASE WHEN %(window)s = 'hour' THEN 'UTC' ELSE c.time_zone END AS name) z
CROSS JOIN LATERAL (
    SELECT date_trunc(%(window)s, %(at)s::timestamptz AT TIME ZONE z.name)
           AT TIME ZONE z.name AS at) since
"""
_SPEND = f"""
SELECT c.id, sum(r.charge), since.at {_SINCE}
JOIN billing_period b ON b.customer_id = c.id AND b.start_at <= %(at)s
     AND coalesce(b.uncut_end_at, b.end_at) > since.at
JOIN rate_card k ON k.id = b.rate_card_id AND k.pricing_unit_id = %(unit)s
JOIN rated_usage r ON r.billing_period_id = b.id
     AND r.service_at >= since.at AND r.service_at <= %(at)s
WHERE {_OURS} GROUP BY c.id, since.at HAVING sum(r.charge) >= %(threshold)s ORDER BY c.id
"""
_USAGE = f"""
SELECT c.id, sum(u.quantity), since.at {_SINCE}
JOIN usage_window u ON u.customer_id = c.id AND u.meter_id = %(meter)s
     AND u.start_at >= since.at AND u.start_at <= %(at)s
WHERE {_OURS} GROUP BY c.id, since.at HAVING sum(u.quantity) >= %(threshold)s ORDER BY c.id
"""
# What is held is as good as used, and what has expired is gone, entered or not.
_BALANCE = f"""
SELECT c.id, sum(CASE WHEN g.effective_at <= %(at)s
                       AND (g.expires_at IS NULL OR g.expires_at > %(at)s)
                      THEN g.remaining ELSE 0 END) - coalesce(max(h.credits), 0) AS has, NULL
FROM customer c JOIN credit_grant g ON g.customer_id = c.id AND g.pricing_unit_id = %(unit)s
LEFT JOIN (
    SELECT customer_id, sum(credits) AS credits FROM hold
    WHERE pricing_unit_id = %(unit)s
      AND ((state = 'open' AND expires_at > %(at)s)
           OR (state = 'settled' AND counted_at IS NULL))
    GROUP BY customer_id) h ON h.customer_id = c.id
WHERE {_OURS} GROUP BY c.id
HAVING sum(CASE WHEN g.effective_at <= %(at)s
                 AND (g.expires_at IS NULL OR g.expires_at > %(at)s)
                THEN g.remaining ELSE 0 END) - coalesce(max(h.credits), 0) < %(threshold)s
ORDER BY c.id
"""  # noqa: S608 - texts of this module
_CHANGE = f"""
SELECT id, round((spent / before - 1) * 100, 2), NULL, spent, before FROM (
    SELECT c.id, coalesce(sum(r.charge) FILTER (WHERE r.service_at >= %(since)s), 0) AS spent,
           coalesce(sum(r.charge) FILTER (WHERE r.service_at < %(since)s), 0) / {BEFORE} AS before
    FROM customer c
    JOIN billing_period b ON b.customer_id = c.id AND b.start_at < %(until)s
         AND coalesce(b.uncut_end_at, b.end_at) > %(before)s
    JOIN rate_card k ON k.id = b.rate_card_id AND k.pricing_unit_id = %(unit)s
    JOIN rated_usage r ON r.billing_period_id = b.id
         AND r.service_at >= %(before)s AND r.service_at < %(until)s
    WHERE {_OURS} GROUP BY c.id
) s WHERE before > 0 AND spent >= %(floor)s AND spent >= before * (1 + %(threshold)s / 100)
ORDER BY id
"""  # noqa: S608 - texts of this module


@dataclass(frozen=True)
class Measure:
    """Somebody who is past a rule's threshold; nobody where a rule is about all usage."""

    customer_id: int | None
    value: Decimal  # In the threshold's unit.
    since: datetime | None = None  # When its window began.
    facts: dict[str, str] = field(default_factory=dict)


def rules_in_force(at: datetime) -> list[AlertRule]:
    """Return of each rule the version that governs at an instant."""
    rows = AlertRule.objects.filter(in_force(at, "policy_change__")).select_related(
        "owner", "customer", "pricing_unit", "meter"
    )
    newest: dict[str, AlertRule] = {}
    for rule in rows.order_by("-policy_change__effective_at", "-number"):
        newest.setdefault(rule.code, rule)
    return [newest[code] for code in sorted(newest)]


def measures(rule: AlertRule, at: datetime) -> list[Measure]:
    """Return who is past a rule's threshold at an instant."""
    return _KINDS[Watched(rule.watched)](rule, at)


def _asked(sql: str) -> Callable[[AlertRule, datetime], list[Measure]]:
    def ask(rule: AlertRule, at: datetime) -> list[Measure]:
        words: dict[str, Decimal | datetime | str | int | None] = {
            "at": at, "customer": rule.customer_id, "unit": rule.pricing_unit_id,
            "meter": rule.meter_id, "window": rule.window, "threshold": rule.threshold,
        }  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(sql, words)
            return [Measure(*row) for row in cursor.fetchall()]

    return ask


def _change(rule: AlertRule, at: datetime) -> list[Measure]:
    until, length = hour_of(at), _LENGTHS[rule.window]
    words: dict[str, Decimal | datetime | int | None] = {
        "customer": rule.customer_id, "unit": rule.pricing_unit_id, "threshold": rule.threshold,
        "floor": rule.floor, "until": until, "since": until - length,
        "before": until - (BEFORE + 1) * length,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_CHANGE, words)
        return [
            Measure(pk, percent, since, {"spent": plain(spent), "before": _short(before)})
            for pk, percent, since, spent, before in cursor.fetchall()
        ]


def _forecast(rule: AlertRule, at: datetime) -> list[Measure]:
    """Find balances that surely run out within the threshold's days; see `credits.forecast`."""
    seconds = int(rule.threshold * (DAY // timedelta(seconds=1)))
    found = []
    for one in balance_paces(at):
        is_meant = rule.customer_id in (None, one.customer_id)
        if not is_meant or rule.pricing_unit is None or one.unit != rule.pricing_unit.code:
            continue
        out_at = runs_out_before(one.pace, at + timedelta(seconds=seconds) + one.pace.part)
        if out_at is not None:
            days = Decimal((out_at - at) // timedelta(seconds=1)) / 86_400
            facts = {"left": plain(one.pace.left), "runs_out_at": out_at.isoformat()}
            found.append(Measure(one.customer_id, Decimal(_short(days)), None, facts))
    return found


def _unrated(rule: AlertRule, at: datetime) -> list[Measure]:
    if _is_of_all(rule):
        is_open = UnratedEpisode.objects.filter(closed_at=None)
        if rule.meter_id is not None:
            is_open = is_open.filter(meter=rule.meter_id)
        counted = "quantity" if rule.meter_id else "window_count"
        return _of_all(rule, Decimal(is_open.aggregate(sum=Sum(counted))["sum"] or 0))
    waiting = [rule.customer_id] if rule.customer_id else outbox.waiting(BLOCKED)
    found = []
    for pk, one in sorted(without_rate_by_customer(waiting, rule.meter_id).items()):
        value = one.quantity if rule.meter_id else Decimal(one.window_count)
        if value >= rule.threshold:
            facts = {"first_used_at": one.first_used_at.isoformat()}
            found.append(Measure(pk, value, None, facts))
    return found


def _quarantined(rule: AlertRule, at: datetime) -> list[Measure]:
    """Count what waits; of all customers as far as it matters: no more than the threshold."""
    if not _is_of_all(rule):
        return [
            Measure(one.customer_id, Decimal(one.event_count), None, _since(one.since))
            for one in waiting_of_customers(rule.threshold, rule.customer)
        ]
    is_open = QuarantinedEvent.objects.filter(state=QuarantineState.OPEN).order_by()
    most = min(int(rule.threshold) + 1, _MOST_ROWS)
    return _of_all(rule, Decimal(is_open.values("pk")[:most].count()))


def _lag(rule: AlertRule, at: datetime) -> list[Measure]:
    if _is_of_all(rule):
        return _of_all(rule, aggregation_state(at).lag_seconds)
    until = at - timedelta(microseconds=int(min(rule.threshold, _LONGEST) * 1_000_000))
    return [
        Measure(pk, seconds_between(since, at), None, _since(since))
        for pk, since in sorted(rating_waits_by_customer(until, rule.customer_id).items())
    ]


def _since(since: datetime) -> dict[str, str]:
    return {"waits_since": since.isoformat()}


def _is_of_all(rule: AlertRule) -> bool:
    return rule.customer_id is None and not rule.is_by_customer


def _of_all(rule: AlertRule, value: Decimal) -> list[Measure]:
    return [Measure(None, value)] if value >= rule.threshold else []


def _short(value: Decimal) -> str:
    return plain(value.quantize(Decimal("0.01")))


_KINDS: dict[Watched, Callable[[AlertRule, datetime], list[Measure]]] = {
    Watched.BALANCE: _asked(_BALANCE),
    Watched.SPEND: _asked(_SPEND),
    Watched.USAGE: _asked(_USAGE),
    Watched.FORECAST: _forecast,
    Watched.CHANGE: _change,
    Watched.UNRATED: _unrated,
    Watched.QUARANTINED: _quarantined,
    Watched.LAG: _lag,
}
