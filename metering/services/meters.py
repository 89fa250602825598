"""Make meters, and give them new versions. What was counted by a version stays counted by it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Unpack, cast

from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import HOUR, Period, hour_of
from billing_project.kernel.sessions import wait_for
from metering.aggregation import LEVEL
from metering.models import Meter, MeterVersion
from metering.selectors.meters import rules_by_event_name
from metering.selectors.reading_effect import ReadingEffect, reading_effect
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
        raise Conflict(f"meter {code} exists with another rule", field="code")
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
    _refuse_empty(reason, "a new version needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=meter.pk)
    newest = _newest(meter)
    is_same = newest.is_active and _reading(newest) == checked
    if is_same and newest.effective_at == effective_at:
        return newest
    _refuse_bad_instant(effective_at, newest, at)
    if is_same:
        raise Conflict(f"meter {meter.code} reads events so already")
    _refuse_other_levels(meter, checked, _reading(newest))
    version = _add_version(meter, effective_at, reason, by, at, checked)
    audit.record(
        by=by, at=at, action="create_meter_version", subject=meter, reason=reason,
        number=version.number, effective_at=effective_at.isoformat(),
    )  # fmt: skip
    return version


def preview_meter_version(
    *, meter: Meter, at: datetime, period: Period | None = None, **reading: Unpack[ReadingInput]
) -> ReadingEffect:
    """Say what a version would have made of stored events, beside what was counted; read only.

    Args:
        period: Whole UTC hours that are over; the last whole month if None.

    Raises:
        Invalid, Conflict: the version would be refused, or the period: see `reading_effect`.
    """
    checked = checked_reading(meter.aggregation, **reading)
    _refuse_other_levels(meter, checked, _reading(_newest(meter)))
    number = _last_number(meter) + 1
    return reading_effect(MeterVersion(meter=meter, number=number, **checked), at, period)


@transaction.atomic
def withdraw_meter_version(
    *, version: MeterVersion, reason: str, by: User, at: datetime
) -> MeterVersion:
    """Take back a version before it takes effect; withdrawing again returns the same row.

    Raises:
        Invalid: no reason.
        Conflict: events may have been counted by it.
    """
    _refuse_empty(reason, "a withdrawal needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=version.meter_id)
    found = MeterVersion.objects.get(pk=version.pk)
    if found.withdrawn_at is not None:
        return found
    if found.effective_at is None or found.effective_at <= earliest_instant(at):
        raise Conflict(f"version {found.number} is in effect; make a new one")
    _withdraw(found, reason, by, at)
    audit.record(
        by=by, at=at, action="withdraw_meter_version", subject=found.meter, reason=reason,
        number=found.number,
    )  # fmt: skip
    return found


@transaction.atomic
def deactivate_meter(
    *, meter: Meter, reason: str, by: User, at: datetime, effective_at: datetime | None = None
) -> MeterVersion:
    """Let a meter count nothing from an instant on; what was counted before stays.

    An event of its name that no other meter reads then is kept in quarantine (unknown event name,
    with the reason in words), so that nothing is lost: it is stored once the meter is reactivated
    without a gap, or its name is mapped to another meter, and it is replayed. An event that
    another meter reads too is stored for that one. No new rates are proposed for the meter. A
    level goes on meanwhile, but its hours count nothing.

    Args:
        effective_at: A whole UTC hour that no event can have reached; None: the next one. Until
            then the returned version can be withdrawn.

    Raises:
        Invalid: no reason, an instant too early or inside an hour.
        Conflict: it ends at another instant already. The same again returns the same row.
    """
    _refuse_empty(reason, "a deactivation needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=meter.pk)
    newest = _newest(meter)
    if not newest.is_active:
        if effective_at in (None, newest.effective_at):
            return newest
        since = f"{newest.effective_at:%Y-%m-%d %H:%M}"
        raise Conflict(f"meter {meter.code} is deactivated from {since} on")
    moment = effective_at or next_instant(at)
    _refuse_bad_instant(moment, newest, at)
    version = _add_version(meter, moment, reason, by, at, _reading(newest), is_active=False)
    audit.record(
        by=by, at=at, action="deactivate_meter", subject=meter, reason=reason,
        number=version.number, effective_at=moment.isoformat(),
    )  # fmt: skip
    return version


@transaction.atomic
def reactivate_meter(
    *, meter: Meter, reason: str, by: User, at: datetime, effective_at: datetime | None = None
) -> MeterVersion:
    """Let a deactivated meter count again, as it did before.

    Args:
        effective_at: From this instant on (a whole UTC hour that no event can have reached): what
            happened in between is never counted by it. None: as if it had not been deactivated;
            what waits in quarantine can be replayed.

    Returns:
        The version that reads events from then on. A meter that is active returns its newest.

    Raises:
        Invalid: no reason, an instant too early or inside an hour.
        Conflict: without a gap, but another meter reads the event name since, so that events of
            the gap may be stored; or a time-weighted sum in effect, whose hours were written.
    """
    _refuse_empty(reason, "a reactivation needs its reason")
    Meter.objects.select_for_update(no_key=True).get(pk=meter.pk)
    newest = _newest(meter)
    if newest.is_active:
        return newest
    if effective_at is None:
        version = _take_back(newest, reason, by, at)
    else:
        _refuse_bad_instant(effective_at, newest, at)
        version = _add_version(meter, effective_at, reason, by, at, _reading(newest))
    audit.record(
        by=by, at=at, action="reactivate_meter", subject=meter, reason=reason,
        number=version.number, effective_at=effective_at and effective_at.isoformat(),
    )  # fmt: skip
    return version


def next_instant(at: datetime) -> datetime:
    """Return the first whole hour at which a version can take effect."""
    return hour_of(earliest_instant(at)) + HOUR


def earliest_instant(at: datetime) -> datetime:
    """Return the instant after which no event can be stored yet."""
    return at + timedelta(minutes=settings.EVENT_MINUTES_AHEAD) + _ON_ITS_WAY


def _refuse_bad_instant(effective_at: datetime, newest: MeterVersion, at: datetime) -> None:
    if hour_of(effective_at) != effective_at:
        raise Invalid("a version takes effect at a whole hour (UTC)", field="effective_at")
    earliest = earliest_instant(at)
    if effective_at <= earliest:
        raise Invalid(
            f"a version takes effect after {earliest:%Y-%m-%d %H:%M} (UTC)", field="effective_at"
        )
    if newest.effective_at is not None and effective_at <= newest.effective_at:
        raise Conflict(
            f"version {newest.number} takes effect at {newest.effective_at:%Y-%m-%d %H:%M};"
            " withdraw it, or choose a later hour",
            field="effective_at",
        )


def _add_version(
    meter: Meter,
    effective_at: datetime,
    reason: str,
    by: User,
    at: datetime,
    reading: Reading,
    *,
    is_active: bool = True,
) -> MeterVersion:
    return MeterVersion.objects.create(
        meter=meter,
        number=_last_number(meter) + 1,
        is_active=is_active,
        effective_at=effective_at,
        reason=reason,
        created_by=by,
        created_at=at,
        **reading,
    )


def _refuse_other_levels(meter: Meter, reading: Reading, before: Reading) -> None:
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


def _take_back(deactivation: MeterVersion, reason: str, by: User, at: datetime) -> MeterVersion:
    """Withdraw a deactivation, in effect or not; PostgreSQL refuses the same and more."""
    meter, since = deactivation.meter, deactivation.effective_at
    assert since is not None, "only a meter's first version has no instant"
    if since <= earliest_instant(at):
        if meter.aggregation == LEVEL:
            raise Conflict("the hours since were written without its levels; name an hour to come")
        others = rules_by_event_name().get(deactivation.event_name, [])
        for rule in others:
            if rule.id != meter.pk and (rule.end_at is None or rule.end_at > since):
                raise Conflict(
                    f"meter {rule.code} reads {rule.event_name} since, so events of the gap may be"
                    " stored; name an hour to come"
                )
    _withdraw(deactivation, reason, by, at)
    return _newest(meter)


def _withdraw(version: MeterVersion, reason: str, by: User, at: datetime) -> None:
    version.withdrawn_at, version.withdrawn_by, version.withdrawal_reason = at, by, reason
    version.save(update_fields=["withdrawn_at", "withdrawn_by", "withdrawal_reason"])


def _refuse_empty(reason: str, words: str) -> None:
    if not reason.strip():
        raise Invalid(words)


def _reading(version: MeterVersion) -> Reading:
    return cast(Reading, _values(version, Reading.__annotations__))


def _values(row: Meter | MeterVersion, fields: Mapping[str, object]) -> dict[str, Any]:
    return {field: getattr(row, field) for field in fields}


def _lock_code(code: str) -> None:
    wait_for(f"meter:{code}")


def _next_event_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('meter_event_id_seq')")
        event_id: int = cursor.fetchone()[0]
    return event_id
