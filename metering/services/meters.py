"""Make meters, and give them new versions. What was counted by a version stays counted by it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Unpack, cast

from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import hour_of
from metering.aggregation import LEVEL
from metering.models import Meter, MeterVersion
from metering.services.reading import Reading, ReadingInput, checked_reading, refuse_bad_meter

# A request that was judged by the old version has ended by then.
_ON_ITS_WAY = timedelta(minutes=1)


@transaction.atomic
def create_meter(
    *,
    code: str,
    name: str,
    aggregation: str,
    unit: str,
    by: User,
    at: datetime,
    reason: str = "",
    **reading: Unpack[ReadingInput],
) -> Meter:
    """Make a meter with its first version; it counts the events that are stored from then on.

    Events stored before stay uncounted by it (the order of event ids decides, not a clock); what
    waits in quarantine is stored by its replay and so is counted.

    Args:
        reading: Which events, what they count, what splits the quantity: see ReadingInput.

    Raises:
        Invalid: a rule that no event could be read by.
        Conflict: the code has another rule. The same rule again returns the same row.
    """
    fixed = {"name": name, "aggregation": aggregation, "unit": unit}
    refuse_bad_meter(code, fixed)
    checked = checked_reading(aggregation, **reading)
    _lock_code(code)
    existing = Meter.objects.filter(code=code).first()
    if existing is not None:
        as_made = _reading(existing.versions.get(number=1))
        if _values(existing, fixed) == fixed and as_made == checked:
            return existing
        raise Conflict(f"meter {code} exists with another rule")
    meter = Meter.objects.create(code=code, first_event_id=_next_event_id(), created_at=at, **fixed)
    MeterVersion.objects.create(
        meter=meter, number=1, reason=reason, created_by=by, created_at=at, **checked
    )
    audit.record(by=by, at=at, action="create_meter", subject=meter, reason=reason, code=code)
    return meter


@transaction.atomic
def create_meter_version(
    *,
    meter: Meter,
    effective_at: datetime,
    reason: str,
    by: User,
    at: datetime,
    **reading: Unpack[ReadingInput],
) -> MeterVersion:
    """Let a meter read events otherwise from an instant on; aggregation and unit stay.

    Args:
        effective_at: A whole UTC hour so far ahead that no event of it can be stored yet, and
            after every other version. Events are read by their own time.

    Raises:
        Invalid: no reason, an instant too early or inside an hour, a rule that reads nothing.
        Conflict: a later version stands; a time-weighted sum with other filters or dimensions
            (its levels go on from before). The same version again returns the same row.
    """
    checked = checked_reading(meter.aggregation, **reading)
    if not reason.strip():
        raise Invalid("a new version needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=meter.pk)
    newest = _newest(meter)
    if newest.effective_at == effective_at and _reading(newest) == checked:
        return newest
    _refuse_bad_instant(effective_at, newest, at)
    _refuse_senseless(meter, checked, _reading(newest))
    version = MeterVersion.objects.create(
        meter=meter,
        number=_last_number(meter) + 1,
        effective_at=effective_at,
        reason=reason,
        created_by=by,
        created_at=at,
        **checked,
    )
    audit.record(
        by=by, at=at, action="create_meter_version", subject=meter, reason=reason,
        number=version.number, effective_at=effective_at.isoformat(),
    )  # fmt: skip
    return version


@transaction.atomic
def withdraw_meter_version(
    *, version: MeterVersion, reason: str, by: User, at: datetime
) -> MeterVersion:
    """Take back a version before it takes effect; withdrawing again returns the same row.

    Raises:
        Invalid: no reason.
        Conflict: events may have been counted by it.
    """
    if not reason.strip():
        raise Invalid("a withdrawal needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=version.meter_id)
    found = MeterVersion.objects.get(pk=version.pk)
    if found.withdrawn_at is not None:
        return found
    if found.effective_at is None or found.effective_at <= earliest_instant(at):
        raise Conflict(f"version {found.number} is in effect; make a new one")
    found.withdrawn_at, found.withdrawn_by, found.withdrawal_reason = at, by, reason
    found.save(update_fields=["withdrawn_at", "withdrawn_by", "withdrawal_reason"])
    audit.record(
        by=by, at=at, action="withdraw_meter_version", subject=found.meter, reason=reason,
        number=found.number,
    )  # fmt: skip
    return found


def earliest_instant(at: datetime) -> datetime:
    """Return the instant after which no event can be stored yet."""
    return at + timedelta(minutes=settings.EVENT_MINUTES_AHEAD) + _ON_ITS_WAY


def _refuse_bad_instant(effective_at: datetime, newest: MeterVersion, at: datetime) -> None:
    if hour_of(effective_at) != effective_at:
        raise Invalid("a version takes effect at a whole hour (UTC)")
    earliest = earliest_instant(at)
    if effective_at <= earliest:
        raise Invalid(f"a version takes effect after {earliest:%Y-%m-%d %H:%M} (UTC)")
    if newest.effective_at is not None and effective_at <= newest.effective_at:
        raise Conflict(
            f"version {newest.number} takes effect at {newest.effective_at:%Y-%m-%d %H:%M};"
            " withdraw it, or choose a later hour"
        )


def _refuse_senseless(meter: Meter, reading: Reading, before: Reading) -> None:
    if reading == before:
        raise Conflict(f"meter {meter.code} reads events so already")
    same = all(reading[field] == before[field] for field in ("filters", "dimensions"))
    if meter.aggregation == LEVEL and not same:
        raise Conflict(
            "the levels of a time-weighted sum go on from before: other filters or dimensions"
            " are another meter"
        )


def _newest(meter: Meter) -> MeterVersion:
    standing = MeterVersion.objects.filter(meter=meter, withdrawn_at__isnull=True)
    return standing.order_by("-number")[0]


def _last_number(meter: Meter) -> int:
    number: int = MeterVersion.objects.filter(meter=meter).order_by("-number")[0].number
    return number


def _reading(version: MeterVersion) -> Reading:
    return cast(Reading, _values(version, Reading.__annotations__))


def _values(row: Meter | MeterVersion, fields: Mapping[str, object]) -> dict[str, Any]:
    return {field: getattr(row, field) for field in fields}


def _lock_code(code: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('meter:' || %s, 0))", [code])


def _next_event_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('meter_event_id_seq')")
        event_id: int = cursor.fetchone()[0]
    return event_id
