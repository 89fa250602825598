"""Raise alerts: each cause once, and whoever wants to know by webhook is told with it."""

from collections.abc import Sequence

from django.db import transaction

from credits.models import Alert
from credits.services.announcing import announce_alert


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
    for alert in raised.select_related("customer").order_by("pk"):
        announce_alert(alert)
    return len(new)
