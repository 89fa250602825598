"""Streamed exports over HTTP: events, the credit ledger, invoice lines, journal postings.

Rows are read by id, page after page: no transaction stays open, and nothing is held in memory.
Which column means what is in `FIELDS`, served beside the data as a dictionary.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.api.export_rows import (
    EVENTS,
    INVOICES,
    JOURNAL,
    LEDGER,
    Field,
    event_cells,
    invoice_cells,
    journal_cells,
    ledger_cells,
)
from billing_project.kernel.errors import Invalid
from billing_project.kernel.exporting import FORMATS, Cell, Column, pieces
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.models import LedgerTransaction
from invoicing.models import InvoiceLine
from metering.models import MeterEvent
from metering.selectors.archive import refuse_archived
from revrec.models import Posting
from revrec.schedule import day_of
from revrec.selectors.products import with_product
from revrec.selectors.regions import with_region
from revrec.selectors.zone import books_zone

_PAGE = 2_000


@dataclass(frozen=True)
class Export:
    """One kind of rows: its columns with their meaning, and how they are read for a span."""

    fields: tuple[Field, ...]
    rows: Callable[[datetime, datetime], QuerySet[Any]]
    cells: Callable[[Any], Mapping[str, Cell]]


def _events(start: datetime, end: datetime) -> QuerySet[MeterEvent]:
    refuse_archived(start, end)
    return MeterEvent.objects.filter(timestamp__gte=start, timestamp__lt=end).select_related(
        "customer", "workspace"
    )


def _ledger(start: datetime, end: datetime) -> QuerySet[LedgerTransaction]:
    return LedgerTransaction.objects.filter(
        recorded_at__gte=start, recorded_at__lt=end
    ).select_related("customer", "grant__pricing_unit", "rated_usage__window__meter")


def _invoices(start: datetime, end: datetime) -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(
        invoice__finalized_at__gte=start, invoice__finalized_at__lt=end
    ).select_related("invoice__customer")


def _journal(start: datetime, end: datetime) -> QuerySet[Posting]:
    """Entries are dated by day: those of the days that begin within the span."""
    zone = books_zone()
    of_days = Posting.objects.filter(
        entry__effective_on__gte=day_of(start, zone), entry__effective_on__lt=day_of(end, zone)
    )
    return with_region(with_product(of_days)).select_related(
        "entry__entity", "customer", "invoice_line__invoice", "obligation"
    )


class ExportQuery(serializers.Serializer[Any]):
    """Which span, [start, end), and in which form."""

    start = UtcDateTimeField()
    end = UtcDateTimeField()
    format = serializers.ChoiceField([(name, name) for name in FORMATS], default="csv")


class ExportView(ApiView):
    """The rows of a span, streamed."""

    export: ClassVar[Export]
    name: ClassVar[str]

    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream the rows in the order in which they were stored."""
        query = self.valid_query(ExportQuery)
        start, end, kind = query["start"], query["end"], query["format"]
        if end <= start:
            raise Invalid("start comes before end", field="start")
        columns = [Column(field.name, field.kind) for field in self.export.fields]
        rows = self.export.rows(start, end)
        body = pieces(kind, columns, _read(rows, self.export.cells))
        response = StreamingHttpResponse(body, content_type=FORMATS[kind])
        response["Content-Disposition"] = f'attachment; filename="{self.name}.{kind}"'
        return response


_BINARY = {(200, kind): OpenApiTypes.BINARY for kind in FORMATS.values()}


def _described(operation_id: str) -> Callable[[type[ExportView]], type[ExportView]]:
    """Describe a view's GET, which all of them inherit."""
    get = extend_schema(operation_id=operation_id, parameters=[ExportQuery], responses=_BINARY)
    return extend_schema_view(get=get)


@_described("exports_events")
class EventsExportView(ExportView):
    """Meter events by their own time."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}
    name = "events"
    export = Export(EVENTS, _events, event_cells)


@_described("exports_ledger")
class LedgerExportView(ExportView):
    """Entries of the credit ledger by when they were recorded."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}
    name = "ledger"
    export = Export(LEDGER, _ledger, ledger_cells)


@_described("exports_invoices")
class InvoicesExportView(ExportView):
    """Lines of invoices by when those were finalized."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}
    name = "invoices"
    export = Export(INVOICES, _invoices, invoice_cells)


@_described("exports_journal")
class JournalExportRowsView(ExportView):
    """Postings of the journal by the date of their entry."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}
    name = "journal"
    export = Export(JOURNAL, _journal, journal_cells)


EXPORTS: tuple[type[ExportView], ...] = (
    EventsExportView,
    LedgerExportView,
    InvoicesExportView,
    JournalExportRowsView,
)


class FieldsView(ApiView):
    """What each column of each export means."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(
        operation_id="exports_fields",
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        """Return the dictionary of fields, export by export."""
        return Response(
            {view.name: {f.name: f.meaning for f in view.export.fields} for view in EXPORTS}
        )


def _read(
    rows: QuerySet[Any], cells: Callable[[Any], Mapping[str, Cell]]
) -> Iterator[Mapping[str, Cell]]:
    last_id = 0
    ordered = rows.order_by("pk")
    while page := list(ordered.filter(pk__gt=last_id)[:_PAGE]):
        yield from map(cells, page)
        last_id = page[-1].pk
