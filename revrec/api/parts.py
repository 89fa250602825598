"""GET /v1/journal_entries/{id}/parts: what an entry is made of, paged and summed."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.views import ApiView
from revrec.models import JournalEntry
from revrec.reporting import amount_text
from revrec.selectors.parts import Part, parts_of_entry

_instant = UtcDateTimeField().to_representation
_TEXT = serializers.CharField
_WINDOW = inline_serializer(
    "PartWindow",
    {
        "id": serializers.IntegerField(),
        "meter": _TEXT(),
        "unit": _TEXT(),
        "dimensions": serializers.DictField(),
        "event_count": serializers.IntegerField(help_text="all events that count in the window"),
    },
    allow_null=True,
)
_PART = inline_serializer(
    "EntryPart",
    {
        "fact": _TEXT(help_text="kind and id, as a trace names it: ledger_transaction:55"),
        "role": _TEXT(),
        "credits": _TEXT(allow_null=True),
        "quantity": _TEXT(allow_null=True, help_text="of usage, in the meter's unit"),
        "service_at": UtcDateTimeField(allow_null=True),
        "amount": _TEXT(help_text="its share of the entry's amount"),
        "total": _TEXT(help_text="of all parts through this one; of the last: the amount"),
        "window": _WINDOW,
    },
    many=True,
)
_PARTS = inline_serializer(
    "EntryParts",
    {
        "entry": serializers.IntegerField(),
        "amount": _TEXT(help_text="what the entry moves; negative where it takes revenue back"),
        "currency": _TEXT(),
        "part_count": serializers.IntegerField(),
        "data": _PART,
        "next_cursor": _TEXT(allow_null=True),
    },
)


class EntryPartsView(ApiView):
    """The facts that an entry accounts for, each with its share of the amount."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(
        operation_id="journal_entry_parts",
        parameters=[OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=_PARTS,
    )
    def get(self, request: Request, entry_id: int) -> Response:
        """Page through an entry's parts in the order of their accounting; they sum to its amount.

        Cumulative shares: each part is what the amount comes to through it, less what it came to
        before. `parts/{fact}/events` pages through the events behind a part; `/v1/trace` draws
        its lineage.
        """
        page = Page.of(request)
        entry = JournalEntry.objects.filter(pk=entry_id).first()
        if entry is None:
            raise NotFound(f"no journal entry has the id {entry_id}")
        parts = parts_of_entry(entry, after_id=page.before_id or 0, limit=page.limit + 1)
        rows = parts.rows[: page.limit]
        has_more = len(parts.rows) > page.limit
        return Response(
            {
                "entry": entry.pk,
                "amount": amount_text(parts.amount_minor, parts.currency),
                "currency": parts.currency,
                "part_count": parts.count,
                "data": [_part(part, parts.currency) for part in rows],
                "next_cursor": str(rows[-1].id) if has_more else None,
            }
        )


def _part(part: Part, currency: str) -> dict[str, Any]:
    window = part.window
    return {
        "fact": part.fact,
        "role": part.role,
        "credits": None if part.credits is None else plain(part.credits),
        "quantity": None if part.quantity is None else plain(part.quantity),
        "service_at": _instant(part.service_at) if part.service_at else None,
        "amount": amount_text(part.amount_minor, currency),
        "total": amount_text(part.total_minor, currency),
        "window": window
        and {
            "id": window.id,
            "meter": window.meter,
            "unit": window.unit,
            "dimensions": window.dimensions,
            "event_count": window.event_count,
        },
    }
