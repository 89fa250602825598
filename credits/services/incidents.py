"""Open incidents, write down what is done about them, and settle them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from credits.models import Anomaly, Incident, IncidentAction, IncidentState
from metering.models import Customer

_LONGEST = timedelta(days=92)
_FIRST_YEAR = 2000  # Nothing was metered before; evidence reads the day before, too.


@dataclass(frozen=True)
class Scope:
    """What an incident is about: whose use, from when until when."""

    customer: Customer | None
    start_at: datetime
    end_at: datetime


@transaction.atomic
def open_incident(
    *, title: str, scope: Scope, owner: User, key: str, by: User, at: datetime,
    anomaly: Anomaly | None = None,
) -> Incident:  # fmt: skip
    """Open an incident, by hand or of an anomaly; the same key again is the same incident.

    Raises:
        Invalid: no title, no active owner, or a span that is none.
        Conflict: the anomaly has an incident already.
    """
    if not 0 < len(title.strip()) <= 200:
        raise Invalid("a title has 1 to 200 characters", field="title")
    if not owner.is_active or owner.is_service:
        raise Invalid(f"{owner} is not an active person", field="owner")
    if not timedelta(0) < scope.end_at - scope.start_at <= _LONGEST:
        raise Invalid("an incident is about more than nothing, and 92 days at most", field="end_at")
    if scope.start_at.year < _FIRST_YEAR:
        raise Invalid(f"an incident began in {_FIRST_YEAR} or later", field="start_at")
    if earlier := Incident.objects.filter(source_key=key).first():
        return earlier
    if anomaly is not None:
        Anomaly.objects.select_for_update(no_key=True, of=("self",)).get(pk=anomaly.pk)
        if Incident.objects.filter(anomaly=anomaly).exists():
            raise Conflict("this anomaly has an incident already")
    incident = Incident.objects.create(
        title=title.strip(), customer=scope.customer, anomaly=anomaly, start_at=scope.start_at,
        end_at=scope.end_at, owner=owner, opened_by=by, opened_at=at, source_key=key,
    )  # fmt: skip
    audit.record(by=by, at=at, action="open_incident", subject=incident, reason=title)
    return incident


@transaction.atomic
def act_on_incident(
    *, incident: Incident, what: str, by: User, at: datetime, is_contained: bool = False,
    owner: User | None = None,
) -> IncidentAction:  # fmt: skip
    """Write down what was done; it may contain the incident, or hand it over.

    Raises:
        Invalid: nothing was done, or the owner is no active person. Conflict: it is resolved.
    """
    if not what.strip():
        raise Invalid("say what was done", field="reason")
    if owner is not None and (not owner.is_active or owner.is_service):
        raise Invalid(f"{owner} is not an active person", field="owner")
    locked = _open(incident)
    row = IncidentAction.objects.create(incident=locked, what=what, by=by, at=at)
    if is_contained:
        locked.state = IncidentState.CONTAINED
    if owner is not None:
        locked.owner = owner
    locked.save(update_fields=["state", "owner"])
    audit.record(by=by, at=at, action="act_on_incident", subject=locked, reason=what)
    return row


@transaction.atomic
def resolve_incident(*, incident: Incident, resolution: str, by: User, at: datetime) -> Incident:
    """Say how an incident ended; once.

    Raises:
        Invalid: no resolution. Conflict: it is resolved already.
    """
    if not resolution.strip():
        raise Invalid("say how it ended", field="reason")
    locked = _open(incident)
    locked.state, locked.resolution = IncidentState.RESOLVED, resolution
    locked.resolved_by, locked.resolved_at = by, at
    locked.save(update_fields=["state", "resolution", "resolved_by", "resolved_at"])
    audit.record(by=by, at=at, action="resolve_incident", subject=locked, reason=resolution)
    return locked


def _open(incident: Incident) -> Incident:
    locked = Incident.objects.select_for_update(no_key=True, of=("self",)).get(pk=incident.pk)
    if locked.state == IncidentState.RESOLVED:
        raise Conflict(f"it was resolved by {locked.resolved_by}")
    return locked
