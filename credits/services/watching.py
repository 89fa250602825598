"""Watch that usage finds its rate: an episode for each meter and model that has none.

An episode opens once, is told once, and closes by itself when a rate is approved that takes up what
waited. The usage itself is left alone: it stays unrated, visible, until then.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import connection, transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import how_many, plain
from billing_project.kernel.telling import tell_once
from credits.models import UnratedEpisode
from credits.selectors.unrated import (
    BLOCKED,
    UnratedGroup,
    open_unrated_episodes,
    usage_without_rate,
)

log = logging.getLogger(__name__)

_FOUND = ("seen_at", "window_count", "quantity", "customer_count")


@transaction.atomic
def watch_unrated(*, at: datetime) -> list[UnratedEpisode]:
    """Open, update and close episodes by what waits now; return those that are open.

    Where somebody else looks at this moment, they do the work. Each new episode is an error in the
    log; mail is sent once for it, after the commit.
    """
    if not _looks_alone():
        return list(open_unrated_episodes())
    found = {
        (group.meter.pk, group.model): group
        for group in usage_without_rate(outbox.waiting(BLOCKED))
    }
    known = {(one.meter_id, one.model): one for one in open_unrated_episodes()}
    for key, episode in known.items():
        _follow(episode, found.get(key), at)
    new = [_opened(group, at) for key, group in found.items() if key not in known]
    UnratedEpisode.objects.bulk_create(new)
    for episode in new:
        log.error(
            "usage without a rate", extra={"meter": episode.meter.code, "model": episode.model}
        )
    going_on = list(open_unrated_episodes())
    if untold := [one.pk for one in going_on if one.told_at is None]:
        transaction.on_commit(partial(_tell, untold, at))  # No network inside a transaction.
    return going_on


@transaction.atomic
def acknowledge_unrated(
    *, episode: UnratedEpisode, note: str, by: User, at: datetime
) -> UnratedEpisode:
    """Say that somebody knows and looks after it; once.

    Raises:
        Invalid: no note. Conflict: somebody else did.
    """
    if not note.strip():
        raise Invalid("an acknowledgement says what is being done")
    locked = UnratedEpisode.objects.select_for_update(no_key=True).get(pk=episode.pk)
    if locked.acknowledged_by_id is not None:
        raise Conflict("somebody acknowledged it already")
    locked.acknowledged_by, locked.acknowledged_at, locked.note = by, at, note
    locked.save(update_fields=["acknowledged_by", "acknowledged_at", "note"])
    audit.record(by=by, at=at, action="acknowledge_unrated", subject=locked, reason=note)
    return locked


def _looks_alone() -> bool:
    """Hold the look's lock until the transaction ends, if nobody else does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(0, hashtext('watch_unrated'))")
        is_alone: bool = cursor.fetchone()[0]
    return is_alone


def _follow(episode: UnratedEpisode, group: UnratedGroup | None, at: datetime) -> None:
    """Bring an open episode up to date, or close it: nothing of it waits any more."""
    if at < episode.seen_at:
        return
    if group is None:
        episode.closed_at = at
        episode.save(update_fields=["closed_at"])
        return
    episode.seen_at, episode.window_count = at, group.window_count
    episode.quantity, episode.customer_count = group.quantity, len(group.customer_ids)
    episode.save(update_fields=list(_FOUND))


def _opened(group: UnratedGroup, at: datetime) -> UnratedEpisode:
    return UnratedEpisode(
        meter=group.meter,
        model=group.model,
        dimensions=group.dimensions,
        first_used_at=group.first_used_at,
        opened_at=at,
        seen_at=at,
        window_count=group.window_count,
        quantity=group.quantity,
        customer_count=len(group.customer_ids),
    )


def _tell(episode_ids: Sequence[int], at: datetime) -> None:
    untold = UnratedEpisode.objects.filter(pk__in=episode_ids, told_at=None)
    tell_once(
        name="unrated_episode",
        untold=untold.select_related("meter"),
        people=settings.PRODUCT_EMAILS,
        subject="Billing: usage without a rate",
        text=_text,
        at=at,
    )


def _text(episodes: Iterable[UnratedEpisode]) -> str:
    lines = "\n".join(f"- {_line(episode)}" for episode in episodes)
    return (
        "Usage has no rate. It waits: no balance and no invoice includes it yet, and nothing of it"
        f" is lost.\n\n{lines}\n\n"
        "Open the burn table, propose a version of the rate card with these rates, and let finance"
        " approve it. What waits is then rated by itself.\n"
    )


def _line(episode: UnratedEpisode) -> str:
    said = ", ".join(f"{name} {value}" for name, value in sorted(episode.dimensions.items()))
    windows = how_many(episode.window_count, "usage window")
    customers = how_many(episode.customer_count, "customer")
    return (
        f"{episode.meter.code}{f', {said}' if said else ''}: {windows},"
        f" {plain(episode.quantity)} {episode.meter.unit}s of {customers},"
        f" first used {episode.first_used_at:%Y-%m-%d %H:%M} UTC"
    )
