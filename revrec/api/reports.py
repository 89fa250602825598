"""Reports of an accounting month over HTTP, and the postings behind each of their figures."""

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.rest.views import ApiView
from revrec.api.journal import MonthField, PostingSerializer
from revrec.models import AccountingPeriod, PeriodStatus, Posting
from revrec.reporting import Table
from revrec.selectors.tables import REPORTS, Report, postings_behind
from revrec.tabular import csv_text

_FORMATS = ("json", "csv")
_NAME = OpenApiParameter("name", str, OpenApiParameter.PATH, enum=list(REPORTS))


class ReportQuery(serializers.Serializer[Any]):
    """Which month, and in which form."""

    period = MonthField()
    format = serializers.ChoiceField(_FORMATS, default="json")


class FigureQuery(serializers.Serializer[Any]):
    """Which figure: the row by its labels and currency, joined by colons, and the column."""

    period = MonthField()
    row = serializers.CharField(max_length=400)
    column = serializers.CharField(max_length=40)


class BehindSerializer(PostingSerializer):
    """A posting with its entry."""

    entry = serializers.IntegerField(source="entry_id")
    effective_on = serializers.DateField(source="entry.effective_on")
    description = serializers.CharField(source="entry.description")
    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)

    class Meta(PostingSerializer.Meta):
        model = Posting
        fields = (
            "entry", "effective_on", "description", "customer", *PostingSerializer.Meta.fields
        )  # fmt: skip


_REPORT = inline_serializer(
    "Report",
    {
        "period": serializers.CharField(),
        "status": serializers.ChoiceField(PeriodStatus.choices),
        "data": serializers.ListField(child=serializers.DictField(child=serializers.CharField())),
        "notes": serializers.ListField(child=serializers.CharField()),
    },
)
_BEHIND = inline_serializer(
    "ReportPostingPage",
    {
        "data": BehindSerializer(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
    },
)
_PAGING = [OpenApiParameter("limit", int), OpenApiParameter("cursor", str)]


class ReportView(ApiView):
    """A report of one accounting month, as JSON or CSV."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(
        operation_id="reports_retrieve",
        parameters=[_NAME, ReportQuery],
        responses={(200, "application/json"): _REPORT, (200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        """Answer the report of a month that has entries."""
        report = _report(name)
        query = self.valid_query(ReportQuery)
        period = _period(query)
        table = report.build(period)
        if query["format"] == "csv":
            return table_csv(f"{report.name}-{period}.csv", table)
        return Response(
            {
                "period": str(period),
                "status": period.status,
                "data": [row.texts() for row in table.rows],
                "notes": list(table.notes),
            }
        )


class ReportPostingsView(ApiView):
    """What stands behind one figure of a report."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(
        operation_id="reports_postings",
        parameters=[_NAME, FigureQuery, *_PAGING],
        responses=_BEHIND,
    )
    def get(self, request: Request, name: str) -> Response:
        """List the postings that a figure is the sum of, newest first."""
        report = _report(name)
        query = self.valid_query(FigureQuery)
        table = report.build(_period(query))
        row = next((row for row in table.rows if row.key == query["row"]), None)
        figure = row.figures.get(query["column"]) if row else None
        if figure is None or figure.drill is None:
            raise NotFound("no figure with postings of its own stands in this row and column")
        return self.page(request, postings_behind(figure.drill), BehindSerializer)


def table_csv(filename: str, table: Table) -> HttpResponse:
    """Answer a table as a file."""
    text = csv_text(table.header, [list(row.texts().values()) for row in table.rows])
    return HttpResponse(
        text,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def _report(name: str) -> Report:
    if name not in REPORTS:
        raise NotFound(f"there is no report {name}; there are {', '.join(REPORTS)}")
    return REPORTS[name]


def _period(query: dict[str, Any]) -> AccountingPeriod:
    period = AccountingPeriod.objects.filter(start_on=query["period"]).first()
    if period is None:
        raise NotFound(f"nothing was posted to {query['period']:%Y-%m}")
    return period
