"""GET /v1/journal_entries/{id}/parts/{fact}/events: the raw events behind one part of an entry."""

from typing import Any, ClassVar

from django.db.models import Count, Sum
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.views import ApiView
from credits.models import RatedUsage
from metering.models import UsageWindow
from metering.selectors.window_events import CountedEvent, Key, page_of_window
from revrec.models import JournalEntry
from revrec.selectors.parts import window_of_part

_instant = UtcDateTimeField().to_representation
_TEXT = serializers.CharField
_WINDOW = inline_serializer(
    "CountedWindow",
    {
        "id": serializers.IntegerField(),
        "meter": _TEXT(),
        "aggregation": _TEXT(),
        "unit": _TEXT(),
        "dimensions": serializers.DictField(),
        "start_at": UtcDateTimeField(help_text="of the hour"),
        "quantity": _TEXT(help_text="now; of sums and counts: all events' quantities together"),
        "event_count": serializers.IntegerField(),
        "rated_quantity": _TEXT(
            help_text="of all its ratings, this part's among them; the quantity, once it is rated"
        ),
        "rating_count": serializers.IntegerField(),
    },
)
_EVENT = inline_serializer(
    "CountedEvent",
    {
        "identifier": _TEXT(),
        "event_name": _TEXT(),
        "timestamp": UtcDateTimeField(),
        "received_at": UtcDateTimeField(),
        "is_adjusted": serializers.BooleanField(help_text="amended; cancelled ones do not count"),
        "properties": serializers.DictField(help_text="what governs: amended, or as sent"),
        "value": _TEXT(help_text="what the meter reads from it"),
        "quantity": _TEXT(
            allow_null=True,
            help_text="what it adds to the window; null where the meter does not add values up",
        ),
    },
    many=True,
)
_EVENTS = inline_serializer(
    "EventsOfPart",
    {
        "entry": serializers.IntegerField(),
        "fact": _TEXT(),
        "quantity": _TEXT(help_text="of this part: the change of the window that it accounts for"),
        "window": _WINDOW,
        "data": _EVENT,
        "next_cursor": _TEXT(allow_null=True, help_text="null: that was all"),
    },
)


class PartEventsView(ApiView):
    """The last step of the way down: from a part of an entry to what was sent."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}
    reads_one_state = True

    @extend_schema(
        operation_id="journal_entry_part_events",
        parameters=[OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=_EVENTS,
    )
    def get(self, request: Request, entry_id: int, fact: str) -> Response:
        """Page through the events that count in the part's usage window, by time, then by id.

        A window that changed after it was rated is rated again, by the difference: `quantity` is
        the part's own, `rated_quantity` that of all its ratings, which the events add up to. A page
        reads a bounded stretch of the hour and may be short, even empty: go on while there is a
        cursor.
        """
        entry = JournalEntry.objects.filter(pk=entry_id).first()
        if entry is None:
            raise NotFound(f"no journal entry has the id {entry_id}")
        window, rated = window_of_part(entry, fact)
        after, limit = Key.of(request.query_params.get("cursor", "")), Page.limit_of(request)
        events, following = page_of_window(window, after=after, limit=limit)
        return Response(
            {
                "entry": entry.pk,
                "fact": fact,
                "quantity": plain(rated.quantity),
                "window": _window(window),
                "data": [_event(event) for event in events],
                "next_cursor": following.cursor if following else None,
            }
        )


def _window(window: UsageWindow) -> dict[str, Any]:
    ratings = RatedUsage.objects.filter(window=window)
    rated = ratings.aggregate(quantity=Sum("quantity"), count=Count("pk"))
    return {
        "id": window.pk,
        "meter": window.meter.code,
        "aggregation": window.meter.aggregation,
        "unit": window.meter.unit,
        "dimensions": window.dimensions,
        "start_at": _instant(window.start_at),
        "quantity": plain(window.quantity),
        "event_count": window.event_count,
        "rated_quantity": plain(rated["quantity"]),
        "rating_count": rated["count"],
    }


def _event(event: CountedEvent) -> dict[str, Any]:
    return {
        "identifier": event.identifier,
        "event_name": event.event_name,
        "timestamp": _instant(event.key.at),
        "received_at": _instant(event.received_at),
        "is_adjusted": event.is_adjusted,
        "properties": event.properties,
        "value": event.value,
        "quantity": None if event.quantity is None else plain(event.quantity),
    }
