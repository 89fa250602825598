"""The page of usage that waits unrated: why, how much, whose, and what makes it move."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from billing_project.console.navigation import may_read
from billing_project.kernel.backoffice.display import moment_html, number_text, object_url
from billing_project.kernel.backoffice.related import list_url
from credits.models import BillingPeriod, CreditPolicy, UnratedEpisode
from credits.selectors.unrated import (
    MOST_WINDOWS,
    Reason,
    UnratedGroup,
    open_unrated_episodes,
    unrated_usage,
)
from metering.models import Customer

_CUSTOMERS_NAMED = 3
# Why, in words; what makes it move.
_WORDS = {
    Reason.NO_RATE: (
        "No rate",
        "No approved rate matches the meter and its dimensions. Propose a version of the rate card"
        " with this rate; once finance approved it, the usage is rated by itself.",
    ),
    Reason.NO_PERIOD: (
        "No billing period",
        "The customer had no subscription at that time. Subscribe them from an earlier day, or"
        " leave it: usage before the first period is never charged.",
    ),
    Reason.NO_BURN_ORDER: (
        "No burn order",
        "No approved burn order governs that time: propose one that is in effect from then on.",
    ),
    Reason.IS_NEXT: ("Next", "Nothing is missing. The worker rates it within seconds."),
}


@dataclass(frozen=True)
class Row:
    """One group as the table shows it."""

    reason: str
    tone: str
    remedy: str
    remedy_url: str
    meter: str
    says: str
    windows: str
    quantity: str
    customers: tuple[tuple[str, str], ...]  # Name, address.
    more: int
    first_used: str
    episode: UnratedEpisode | None
    episode_url: str


@require_safe
def unrated_page(request: HttpRequest) -> HttpResponse:
    """List what waits, by reason."""
    if not may_read(request):
        raise PermissionDenied
    found = unrated_usage()
    return TemplateResponse(
        request,
        "console/unrated.html",
        {
            **admin.site.each_context(request),
            "title": "Unrated usage",
            "rows": _rows(found.groups),
            "is_cut": found.is_cut,
            "most": f"{MOST_WINDOWS:,}",
        },
    )


def banner() -> dict[str, Any]:
    """Return what the home page says of models without a rate; nothing where all have one."""
    names = [f"{one.model or 'no model'} ({one.meter.code})" for one in open_unrated_episodes()[:4]]
    return {
        "unrated_names": names[:3],
        "unrated_more": len(names) > 3,
        "unrated_url": reverse("console:unrated"),
        "burn_table_url": reverse("console:burn_table"),
    }


def _rows(groups: tuple[UnratedGroup, ...]) -> list[Row]:
    episodes = {(one.meter_id, one.model): one for one in open_unrated_episodes()}
    named = {pk for group in groups for pk in _first_customers(group)}
    customers = Customer.objects.in_bulk(named)
    return [_row(group, episodes, customers) for group in groups]


def _row(
    group: UnratedGroup,
    episodes: dict[tuple[int, str], UnratedEpisode],
    customers: dict[int, Customer],
) -> Row:
    reason, remedy = _WORDS[group.reason]
    key = (group.meter.pk, group.model)
    episode = episodes.get(key) if group.reason == Reason.NO_RATE else None
    shown = [customers[pk] for pk in _first_customers(group)]
    return Row(
        reason=reason,
        tone="bad" if group.reason == Reason.NO_RATE else "wait",
        remedy=remedy,
        remedy_url=_remedy_url(group),
        meter=group.meter.code,
        says=", ".join(f"{name} {value}" for name, value in sorted(group.dimensions.items())),
        windows=f"{group.window_count:,}",
        quantity=f"{number_text(group.quantity)} {group.meter.unit}s",
        customers=tuple((one.name, object_url(one)) for one in shown),
        more=len(group.customer_ids) - len(shown),
        first_used=moment_html(group.first_used_at),
        episode=episode,
        episode_url=object_url(episode) if episode else "",
    )


def _first_customers(group: UnratedGroup) -> list[int]:
    return sorted(group.customer_ids)[:_CUSTOMERS_NAMED]


def _remedy_url(group: UnratedGroup) -> str:
    match group.reason:
        case Reason.NO_RATE:
            wanted = {"model": group.model} if group.model else {}
            return f"{reverse('console:burn_table')}?{urlencode(wanted)}"
        case Reason.NO_PERIOD:
            return list_url(BillingPeriod, {})
        case Reason.NO_BURN_ORDER:
            return list_url(CreditPolicy, {})
    return ""
