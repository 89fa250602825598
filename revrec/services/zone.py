"""Propose in which time zone the days of the books begin, before anything is posted."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.period import DAY, HOUR
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.models import BooksZone
from revrec.selectors.zone import BOOKS_ZONE, content_of_zone, kept_by_entries

_LOOKED_BACK, _LOOKED_AHEAD = 20 * 366, 20 * 366  # Days in which clocks stand at whole hours.


@transaction.atomic
def propose_zone(*, zone: str, proposal: Proposal, by: User, at: datetime) -> BooksZone:
    """Write a choice of the zone; it holds once finance approved it, for all that is posted.

    Usage is counted by hours of UTC: a zone whose days begin within one would cut it.

    Raises:
        Invalid: no zone, one that is not at whole hours of UTC, or one that begins or ends later.
        Conflict: something is posted already.
    """
    if zone not in available_timezones():
        raise Invalid(f"{zone} is no time zone: Europe/Berlin is one", field="zone")
    if not _is_at_whole_hours(zone, at):
        raise Invalid(f"{zone} is not at whole hours of UTC, by which usage is counted",
                      field="zone")  # fmt: skip
    if proposal.effective_at > at or proposal.expires_at is not None:
        raise Invalid("the zone holds from its approval on, for good", field="effective_at")
    wait_for(BOOKS_ZONE)
    if said := kept_by_entries():
        raise Conflict(said, code="too_late")
    chosen = BooksZone(number=next_number(BooksZone.objects.all()), zone=zone)
    return propose_version(
        chosen,
        kind=BOOKS_ZONE,
        subject=f"{BOOKS_ZONE}:{chosen.number}",
        content=content_of_zone(chosen),
        proposal=proposal,
        by=by,
        at=at,
    )


def _is_at_whole_hours(zone: str, at: datetime) -> bool:
    local, months = ZoneInfo(zone), range(-_LOOKED_BACK, _LOOKED_AHEAD, 7)
    offsets = {(at + DAY * days).astimezone(local).utcoffset() or timedelta(0) for days in months}
    return not any(offset % HOUR for offset in offsets)


@materialise(BOOKS_ZONE, {"zone": "Europe/Berlin"})
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "zone")
    propose_zone(zone=text_in(content, "zone"), proposal=proposal, by=by, at=at)
