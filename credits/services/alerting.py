"""Raise alerts: each cause once, and whoever wants to know by webhook is told with it."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from credits.models import Alert, AlertKind
from credits.services.announcing import announce_alert, announce_over

# Kinds that say of a state that it goes on; the others are over with their window.
STATES = (
    AlertKind.BALANCE, AlertKind.FORECAST, AlertKind.CHANGE, AlertKind.UNRATED,
    AlertKind.QUARANTINED, AlertKind.LAG,
)  # fmt: skip


@transaction.atomic(savepoint=False)  # Asked on the way of every request, near a limit.
def raise_alerts(alerts: Sequence[Alert]) -> int:
    """Write the alerts whose cause nobody raised yet; return how many."""
    keys = [alert.source_key for alert in alerts]
    known = set(Alert.objects.filter(source_key__in=keys).values_list("source_key", flat=True))
    new = [alert for alert in alerts if alert.source_key not in known]
    if not new:
        return 0
    Alert.objects.bulk_create(new, ignore_conflicts=True)
    raised = Alert.objects.filter(source_key__in=[alert.source_key for alert in new])
    for alert in raised.select_related("customer", "rule", "owner").order_by("pk"):
        announce_alert(alert)
    return len(new)


@transaction.atomic(savepoint=False)
def end_alerts(alerts: QuerySet[Alert], at: datetime) -> None:
    """Write that what alerts said of a state is over, and tell of it; what has ended stays."""
    going_on = alerts.filter(ended_at=None, kind__in=STATES)
    for alert in going_on.select_related("customer", "rule", "owner").order_by("pk"):
        if Alert.objects.filter(pk=alert.pk, ended_at=None).update(ended_at=at):
            alert.ended_at = at
            announce_over(alert)
