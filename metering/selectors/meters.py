"""Meters as plain rules: one for each version that is not withdrawn."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby, pairwise

from django.db.models import Prefetch, QuerySet

from billing_project.kernel.errors import NotFound
from metering.aggregation import Filter, MeterRule, Operator
from metering.models import Meter, MeterVersion
from metering.rounding import Rounding, RoundingMode


def meter_rules(event_names: Iterable[str] | None = None) -> list[MeterRule]:
    """Return the rules of all meters, or those that read the given event names.

    Ordered by meter and version; a meter has one rule for each version.
    """
    if event_names is None:
        return _rules(_standing())
    names = set(event_names)
    readers = MeterVersion.objects.filter(event_name__in=names).values("meter_id")
    found = _rules(_standing().filter(meter_id__in=readers))
    return [rule for rule in found if rule.event_name in names]


def rules_by_event_name() -> dict[str, list[MeterRule]]:
    """Return the rules of each event name that has any, in one query."""
    rules: dict[str, list[MeterRule]] = {}
    for rule in meter_rules():
        rules.setdefault(rule.event_name, []).append(rule)
    return rules


def rules_of(meter: Meter) -> list[MeterRule]:
    """Return the rules of a meter, the oldest version first."""
    return _rules(_standing().filter(meter=meter))


def rule_at(meter: Meter, at: datetime) -> MeterRule:
    """Return the rule by which a meter reads events of that instant."""
    return next(rule for rule in rules_of(meter) if rule.governs(at))


def versions_of(meter: Meter) -> QuerySet[MeterVersion]:
    """Return all versions of a meter with who made them, the newest first."""
    rows = MeterVersion.objects.filter(meter=meter).select_related("created_by", "withdrawn_by")
    return rows.order_by("-number")


def meter_called(code: str) -> Meter:
    """Return the meter of a code.

    Raises:
        NotFound: no meter has it.
    """
    meter = Meter.objects.filter(code=code).first()
    if meter is None:
        raise NotFound(f"no meter is called {code}")
    return meter


def meters_with_versions() -> QuerySet[Meter]:
    """Return all meters with their standing versions, the newest first."""
    standing = MeterVersion.objects.filter(withdrawn_at__isnull=True).order_by("-number")
    return Meter.objects.prefetch_related(Prefetch("versions", standing))


def version_in_force(versions: Iterable[MeterVersion], at: datetime) -> MeterVersion:
    """Choose the version by which events of that instant are read; all are of one meter."""
    begun = [
        version
        for version in versions
        if version.withdrawn_at is None
        and (version.effective_at is None or version.effective_at <= at)
    ]
    return max(begun, key=lambda version: version.number)


def deactivation_of(versions: Iterable[MeterVersion]) -> MeterVersion | None:
    """Return the version by which a meter is inactive, or will be; None while it goes on."""
    newest = max(
        (version for version in versions if version.withdrawn_at is None),
        key=lambda version: version.number,
    )
    return None if newest.is_active else newest


def inactive_codes(at: datetime) -> dict[str, datetime]:
    """Return the meters that read no events of an instant, with since when."""
    found = {}
    for _, group in groupby(_standing(), key=lambda version: version.meter_id):
        version = version_in_force(group, at)
        if not version.is_active and version.effective_at is not None:
            found[version.meter.code] = version.effective_at
    return found


def dimensions_by_code() -> dict[str, set[str]]:
    """Return the dimensions that any standing version of each meter splits by."""
    found: dict[str, set[str]] = {}
    for version in _standing():
        found.setdefault(version.meter.code, set()).update(version.dimensions)
    return found


def open_rule(version: MeterVersion) -> MeterRule:
    """Return the rule of a version that nothing ends; it need not be stored."""
    return _rule(version, None)


def _standing() -> QuerySet[MeterVersion]:
    rows = MeterVersion.objects.filter(withdrawn_at__isnull=True)
    return rows.select_related("meter").order_by("meter_id", "number")


def _rules(versions: Iterable[MeterVersion]) -> list[MeterRule]:
    """Give each version its span: it ends where the meter's next one begins.

    An inactive version has no rule; it only ends the one before.
    """
    rules = []
    for _, group in groupby(versions, key=lambda version: version.meter_id):
        for version, following in pairwise([*group, None]):
            assert version is not None, "only the last one is followed by nothing"
            if version.is_active:
                rules.append(_rule(version, following.effective_at if following else None))
    return rules


def _rule(version: MeterVersion, end_at: datetime | None) -> MeterRule:
    meter = version.meter
    return MeterRule(
        id=meter.pk,
        code=meter.code,
        event_name=version.event_name,
        aggregation=meter.aggregation,
        value_property=version.value_property,
        filters=tuple(_filter_of(one) for one in version.filters),
        dimensions=tuple(sorted(version.dimensions)),
        first_event_id=meter.first_event_id,
        version=version.number,
        start_at=version.effective_at,
        end_at=end_at,
        constant=version.constant_value,
        rounding=Rounding(RoundingMode(version.rounding_mode), version.rounding_decimals),
    )


def _filter_of(content: dict[str, str | list[str]]) -> Filter:
    value = content.get("value", [])
    values = [value] if isinstance(value, str) else value
    return Filter(str(content["property"]), Operator(str(content["operator"])), tuple(values))
