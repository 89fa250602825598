"""The life of a grant as its page shows it: words and links for each entry of its ledger."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from billing_project.kernel.backoffice.base import is_id
from billing_project.kernel.backoffice.display import (
    badge_html,
    moment_html,
    moment_text,
    number_text,
    object_link,
    unrounded_text,
)
from billing_project.kernel.clock import now
from credits.admin.usage import KIND_TONES
from credits.models import CreditGrant
from credits.selectors.grant_life import Entry, life_of, picture_of_grant


@dataclass(frozen=True)
class Line:
    """One entry in words."""

    kind: str
    link: str
    credits: str
    left: str
    cost: str
    at: str
    cause: str
    why: str
    policy: str


def context_of(request: HttpRequest, grant: CreditGrant) -> dict[str, Any]:
    """Return what the template of a grant's life needs; a fixed number of queries."""
    said = request.GET.get("entries", "")
    life = life_of(grant, max(int(said), 1) if is_id(said) and len(said) < 6 else 1)
    picture = picture_of_grant(grant, now())
    return {
        "life": life,
        "entries": [_line(entry, grant) for entry in life.entries],
        "newer": life.page - 1,
        "older": life.page + 1,
        "picture": picture,
        "picture_top": f"{number_text(picture.top)} {grant.pricing_unit.code}" if picture else "",
        "picture_start": moment_text(picture.start) if picture else "",
        "picture_end": moment_text(picture.end) if picture else "",
    }


def _line(entry: Entry, grant: CreditGrant) -> Line:
    row = entry.row
    rated = row.rated_usage
    return Line(
        kind=badge_html(row.kind.replace("_", " "), KIND_TONES.get(row.kind, "")),
        link=object_link(row, f"entry {row.pk}"),
        credits=number_text(row.credits),
        left=number_text(entry.left),
        cost=unrounded_text(row.cost_unrounded, grant.currency),
        at=moment_html(row.effective_at),
        cause=object_link(rated, rated.window.meter.code) if rated else row.reason_code,
        why=entry.why,
        policy=object_link(row.credit_policy) if row.credit_policy else "",
    )
