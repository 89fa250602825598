"""Watch that usage is counted in time: an episode opens once, is told once, and closes by itself.

Anybody may look at any time: the worker each minute, and the web server whenever it is asked for
its metrics, because a dead worker cannot watch itself.
"""

import logging
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from metering.models import LagEpisode
from metering.selectors.lag import aggregation_state, open_episode

log = logging.getLogger(__name__)

_OPEN = """
INSERT INTO lag_episode (opened_at, worst_lag_seconds, worst_at, note)
VALUES (%(at)s, %(lag)s, %(at)s, '') ON CONFLICT DO NOTHING RETURNING id
"""


def watch_lag(*, at: datetime) -> LagEpisode | None:
    """Open, worsen or close the episode by what the lag is now; return the one that is open.

    The one who opens it logs an error; mail is sent once, after the commit.
    """
    lag = aggregation_state(at).lag_seconds
    if lag > settings.AGGREGATION_LAG_LIMIT_SECONDS:
        _open_or_worsen(lag, at)
    else:
        LagEpisode.objects.filter(closed_at=None, opened_at__lte=at).update(closed_at=at)
    episode = open_episode()
    if episode is not None and episode.told_at is None:
        transaction.on_commit(partial(_tell, episode, at))  # No network inside a transaction.
    return episode


@transaction.atomic
def acknowledge_lag(*, episode: LagEpisode, note: str, by: User, at: datetime) -> LagEpisode:
    """Say that somebody knows and looks after it; once.

    Raises:
        Invalid: no note. Conflict: somebody else did.
    """
    if not note.strip():
        raise Invalid("an acknowledgement says what is being done")
    locked = LagEpisode.objects.select_for_update(no_key=True).get(pk=episode.pk)
    if locked.acknowledged_by_id is not None:
        raise Conflict("somebody acknowledged it already")
    locked.acknowledged_by, locked.acknowledged_at, locked.note = by, at, note
    locked.save(update_fields=["acknowledged_by", "acknowledged_at", "note"])
    audit.record(by=by, at=at, action="acknowledge_lag", subject=locked, reason=note)
    return locked


def _open_or_worsen(lag: Decimal, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"at": at, "lag": lag})
        is_new = cursor.fetchone() is not None
    if is_new:
        log.error("aggregation lags", extra={"lag_seconds": plain(lag)})
        return
    worse = LagEpisode.objects.filter(closed_at=None, worst_lag_seconds__lt=lag)
    worse.update(worst_lag_seconds=lag, worst_at=at)


def _tell(episode: LagEpisode, at: datetime) -> None:
    """Mail the people of the settings; it is told once the mail is out, however one ends before.

    A lock of the connection keeps others from telling at the same time; it ends with its holder.
    """
    people = list(settings.ALERT_EMAILS)
    if not people:
        return
    key = [f"lag_episode:{episode.pk}"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key)
        if not cursor.fetchone()[0]:
            return
        try:
            _tell_once(episode, people, at)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


def _tell_once(episode: LagEpisode, people: list[str], at: datetime) -> None:
    untold = LagEpisode.objects.filter(pk=episode.pk, told_at=None)
    if not untold.exists():
        return
    lag = plain(episode.worst_lag_seconds.quantize(Decimal(1)))
    text = (
        f"Usage stored since {episode.opened_at:%Y-%m-%d %H:%M} UTC is not counted: aggregation is"
        f" {lag} seconds behind. Balances, limits and invoices do not include it yet.\n"
        "Look at the worker first: is it running, and what does its log say?\n"
    )
    try:
        send_mail("Billing: aggregation lags", text, None, people)
    except OSError as error:  # Refused, unreachable, timed out; smtplib's errors are OSErrors.
        log.error("alert not sent", extra={"reason": str(error)})
        return
    untold.update(told_at=at)
