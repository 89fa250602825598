"""How fresh the figures are: what a page of usage or balances says above them."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from billing_project.console.waiting import age_text
from billing_project.kernel.backoffice.display import moment_html, object_url
from credits.selectors.lag import rating_state
from metering.models import LagEpisode
from metering.selectors.lag import aggregation_state, open_episode


@dataclass(frozen=True)
class Freshness:
    """Until when usage is counted, and until when it is in the balances."""

    counted: str  # "2026-11-24 10:15:30"
    balanced: str
    lag: str  # "3 s"
    is_lagging: bool  # Aggregation is beyond its limit.
    episode: LagEpisode | None
    episode_url: str


def freshness_of(at: datetime) -> Freshness:
    """Read how far aggregation and rating came; looks at the clock's lag, not at the watcher."""
    counted = aggregation_state(at)
    balanced = rating_state(at, counted)
    episode = open_episode()
    return Freshness(
        counted=moment_html(counted.as_of),
        balanced=moment_html(balanced.as_of),
        lag=age_text(balanced.as_of, at),
        is_lagging=counted.lag_seconds > settings.AGGREGATION_LAG_LIMIT_SECONDS,
        episode=episode,
        episode_url=object_url(episode) if episode else "",
    )
