"""Who may decide on which quarantined events: finance on those of closed periods, and only it."""

from django.db.models import Q, QuerySet

from billing_project.kernel.errors import NotAllowed
from billing_project.kernel.models import User
from metering.models import QuarantinedEvent
from metering.models.event import QuarantineReason

MAY_REPLAY = "metering.replay_quarantinedevent"
MAY_DECIDE_LATE = "metering.decide_lateevent"
_NAMED = 3  # Events that a refusal lists.
_LATE = Q(reason=QuarantineReason.PERIOD_CLOSED)
_NOT_FINANCES = "Finance decides on events of closed periods; {} for another reason."
_FINANCES = "Finance alone decides on events of closed periods; {} for that."


def refusal_of_reason(by: User, reason: str) -> str:
    """Say why a person may not replay or dismiss what waits for a reason, or return ""."""
    if reason == QuarantineReason.PERIOD_CLOSED:
        return "" if _may(by, MAY_DECIDE_LATE) else _FINANCES.format("these wait")
    return "" if _may(by, MAY_REPLAY) else _NOT_FINANCES.format("these wait")


def refusal_of_rows(by: User, rows: QuerySet[QuarantinedEvent]) -> str:
    """Say which of the rows a person may not replay or dismiss, or return ""."""
    if not _may(by, MAY_DECIDE_LATE) and (named := _names(rows.filter(_LATE))):
        return _FINANCES.format(named)
    if not _may(by, MAY_REPLAY) and (named := _names(rows.exclude(_LATE))):
        return _NOT_FINANCES.format(named)
    return ""


def ensure_may_decide(by: User, rows: QuerySet[QuarantinedEvent]) -> None:
    """Refuse a person who may not replay or dismiss all of the rows; services may.

    Raises:
        NotAllowed: names the rows.
    """
    if refusal := refusal_of_rows(by, rows):
        raise NotAllowed(refusal)


def ensure_may_decide_reason(by: User, reason: str) -> None:
    """Refuse a person who may not replay or dismiss what waits for a reason; services may.

    Raises:
        NotAllowed: says who may.
    """
    if refusal := refusal_of_reason(by, reason):
        raise NotAllowed(refusal)


def _may(by: User, permission: str) -> bool:
    return by.is_service or by.has_perm(permission)


def _names(rows: QuerySet[QuarantinedEvent]) -> str:
    """Name the first of the rows as what waits ("e1, e2 and 7 more wait"), or return ""."""
    names = list(rows.order_by("id").values_list("identifier", flat=True)[: _NAMED + 1])
    if len(names) > _NAMED:
        names, more = names[:_NAMED], rows.count() - _NAMED
        return f"{', '.join(names)} and {more:,} more wait"
    return f"{', '.join(names)} {'waits' if len(names) == 1 else 'wait'}" if names else ""
