"""Tell other systems when usage is not counted in time, in the transaction that finds it."""

from datetime import datetime

from billing_project.kernel.webhooks.announcing import announce, register_webhook
from metering.models import LagEpisode

LAGGING = register_webhook("usage.lagging", "Usage is counted too late.")
CAUGHT_UP = register_webhook("usage.caught_up", "Usage is counted in time again.")


def announce_lagging(episode: LagEpisode, at: datetime) -> None:
    """Tell of an episode that opened just now."""
    announce(LAGGING, key=f"lag:{episode.pk}:opened", data=_said(episode), at=at)


def announce_caught_up(episode: LagEpisode, at: datetime) -> None:
    """Tell that an episode is over."""
    announce(CAUGHT_UP, key=f"lag:{episode.pk}:closed", data=_said(episode), at=at)


def _said(episode: LagEpisode) -> dict[str, object]:
    return {
        "episode": str(episode.pk),
        "opened_at": episode.opened_at,
        "closed_at": episode.closed_at,
        "worst_lag_seconds": episode.worst_lag_seconds,
        "worst_at": episode.worst_at,
    }
