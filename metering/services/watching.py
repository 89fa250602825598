"""Watch that usage is counted in time: an episode opens once, is told once, and closes by itself.

Anybody may look at any time: the worker each minute, and the web server whenever it is asked for
its metrics, because a dead worker cannot watch itself.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from billing_project.kernel.telling import tell_once
from metering.models import LagEpisode
from metering.selectors.lag import aggregation_state, open_episode
from metering.services.announcing import announce_caught_up, announce_lagging

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
        _close(at)
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


def _close(at: datetime) -> None:
    """Close the episode that is open, if one is; whoever does it tells of it."""
    is_open = LagEpisode.objects.filter(closed_at=None, opened_at__lte=at)
    ids = list(is_open.values_list("pk", flat=True))
    if ids and is_open.filter(pk__in=ids).update(closed_at=at):
        for episode in LagEpisode.objects.filter(pk__in=ids):
            announce_caught_up(episode, at)


def _open_or_worsen(lag: Decimal, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"at": at, "lag": lag})
        opened = cursor.fetchone()
    if opened is not None:
        announce_lagging(LagEpisode.objects.get(pk=opened[0]), at)
        log.error("aggregation lags", extra={"lag_seconds": plain(lag)})
        return
    worse = LagEpisode.objects.filter(closed_at=None, worst_lag_seconds__lt=lag)
    worse.update(worst_lag_seconds=lag, worst_at=at)


def _tell(episode: LagEpisode, at: datetime) -> None:
    tell_once(
        name=f"lag_episode:{episode.pk}",
        untold=LagEpisode.objects.filter(pk=episode.pk, told_at=None),
        people=settings.ALERT_EMAILS,
        subject="Billing: aggregation lags",
        text=_text,
        at=at,
    )


def _text(episodes: Sequence[LagEpisode]) -> str:
    (episode,) = episodes
    lag = plain(episode.worst_lag_seconds.quantize(Decimal(1)))
    return (
        f"Usage stored since {episode.opened_at:%Y-%m-%d %H:%M} UTC is not counted: aggregation is"
        f" {lag} seconds behind. Balances, limits and invoices do not include it yet.\n"
        "Look at the worker first: is it running, and what does its log say?\n"
    )
