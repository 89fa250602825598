"""Tell by mail of alerts that nobody was told yet: each once, all that wait in one mail."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from billing_project.kernel.quantity import how_many
from billing_project.kernel.telling import tell_once
from credits.models import Alert

_MOST = 100  # In one mail; the next look tells more.


def tell_alerts(*, at: datetime) -> int:
    """Mail the alerts that wait, unless somebody acknowledged them; return how many were new.

    What a rule raised goes to its owner as well. Call it outside a transaction: it waits for the
    network. A mail that fails is left to the next call.
    """
    waiting = Alert.objects.filter(told_at=None, acknowledged_at=None).order_by("pk")
    rows = waiting.values_list("pk", "rule__owner__email")[:_MOST]
    by_address: dict[str, list[int]] = defaultdict(list)
    for pk, address in rows:
        by_address[address or ""].append(pk)
    return sum(_tell(ids, address, at) for address, ids in by_address.items())


def _tell(ids: list[int], address: str, at: datetime) -> int:
    people = list(dict.fromkeys([*settings.ALERT_EMAILS, *([address] if address else [])]))
    if not people:
        return 0
    tell_once(
        name="alerts",
        untold=Alert.objects.filter(pk__in=ids, told_at=None)
        .select_related("customer")
        .order_by("pk"),
        people=people,
        subject=f"Billing: {how_many(len(ids), 'new alert')}",
        text=_text,
        at=at,
    )
    return len(ids)


def _text(alerts: Sequence[Alert]) -> str:
    lines = "\n".join(f"- {_line(alert)}" for alert in alerts)
    return (
        f"{lines}\n\nThey stand in the back office under Credits, Alerts. Acknowledge each there:"
        " say who looks after it and what comes of it.\n"
    )


def _line(alert: Alert) -> str:
    whose = f"{alert.customer}: " if alert.customer else ""
    return f"{whose}{alert.title} (raised {alert.raised_at:%Y-%m-%d %H:%M} UTC)"
