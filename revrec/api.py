"""The books over HTTP: journal entries and the reports made of them; read-only."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel.errors import NotFound
from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from revrec.models import AccountingPeriod, JournalEntry, LedgerAccount, PeriodStatus, Posting
from revrec.selectors.journal import journal_entries
from revrec.selectors.reports import (
    DeferredRollforward,
    TrialBalanceRow,
    deferred_rollforward,
    trial_balance,
)
from revrec.tabular import csv_text

_FORMATS = ("json", "csv")
_MONTH = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)
Row = dict[str, str]


@extend_schema_field({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$", "examples": ["2026-11"]})
class MonthField(serializers.Field[date, Any, str, Any]):
    """A month of the books, "2026-11"; read as its first day."""

    default_error_messages = {"invalid": "must be a month as YYYY-MM"}

    def to_internal_value(self, data: object) -> date:
        """Return the first day of the month."""
        if not isinstance(data, str) or not _MONTH.fullmatch(data):
            self.fail("invalid")
        return date.fromisoformat(f"{data}-01")


class EntryQuery(serializers.Serializer[Any]):
    """What journal entries are filtered by."""

    customer = ExternalIdField(required=False)
    period = MonthField(required=False)
    account = serializers.CharField(max_length=10, required=False)


class ReportQuery(serializers.Serializer[Any]):
    """Which month, and in which form."""

    period = MonthField()
    format = serializers.ChoiceField(_FORMATS, default="json")


class PostingSerializer(serializers.ModelSerializer[Posting]):
    """One signed amount on one account: debit positive."""

    account = serializers.CharField(source="account_id")
    amount = serializers.SerializerMethodField()

    class Meta:
        model = Posting
        fields = (
            "account", "amount", "currency", "invoice_line", "obligation",
            "service_start_on", "service_end_on",
        )  # fmt: skip

    def get_amount(self, posting: Posting) -> str:
        """Return major units with the currency's decimals."""
        return _amount(posting.amount_minor, posting.currency)


class EntrySerializer(serializers.ModelSerializer[JournalEntry]):
    """A balanced entry with its postings and its place in the hash chain."""

    period = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id", default=None)
    recorded_at = UtcDateTimeField()
    postings = PostingSerializer(many=True)

    class Meta:
        model = JournalEntry
        fields = (
            "id", "effective_on", "period", "kind", "description", "customer", "source_key",
            "reverses", "recorded_at", "chain_position", "entry_sha256", "postings",
        )  # fmt: skip


_ENTRY_PAGE = inline_serializer(
    "JournalEntryPage",
    {
        "data": EntrySerializer(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
    },
)
_REPORT = inline_serializer(
    "Report",
    {
        "period": serializers.CharField(),
        "status": serializers.ChoiceField(PeriodStatus.choices),
        "data": serializers.ListField(child=serializers.DictField(child=serializers.CharField())),
    },
)
_PAGING = [OpenApiParameter("limit", int), OpenApiParameter("cursor", str)]


class JournalEntriesView(ApiView):
    """The general ledger, newest entry first."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(parameters=[EntryQuery, *_PAGING], responses=_ENTRY_PAGE)
    def get(self, request: Request) -> Response:
        """List entries by customer, period and account."""
        query = self.valid_query(EntryQuery)
        account = query.get("account")
        if account and not LedgerAccount.objects.filter(pk=account).exists():
            raise NotFound(f"no account has the code {account}")
        entries = journal_entries(
            customer=query.get("customer"), period_start_on=query.get("period"), account=account
        )
        return self.page(request, entries, EntrySerializer)


class ReportView(ApiView):
    """A report of one accounting month, as JSON or CSV."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}
    name: ClassVar[str]

    @extend_schema(
        parameters=[ReportQuery],
        responses={(200, "application/json"): _REPORT, (200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        """Answer the report of a month that has entries."""
        query = self.valid_query(ReportQuery)
        period = AccountingPeriod.objects.filter(start_on=query["period"]).first()
        if period is None:
            raise NotFound(f"nothing was posted to {query['period']:%Y-%m}")
        rows = self.rows(period)
        if query["format"] == "csv":
            return _csv(f"{self.name}-{period}.csv", rows)
        return Response({"period": str(period), "status": period.status, "data": rows})

    def rows(self, period: AccountingPeriod) -> list[Row]:
        """Return the report's rows as text."""
        raise NotImplementedError


class TrialBalanceView(ReportView):
    """Opening, debits, credits and closing of every account."""

    name = "trial_balance"

    def rows(self, period: AccountingPeriod) -> list[Row]:
        """Return one row for each account and currency."""
        return [_trial_row(row) for row in trial_balance(period.start_on, period.end_on)]


class DeferredRollforwardView(ReportView):
    """How the contract liabilities came from opening to closing."""

    name = "deferred_rollforward"

    def rows(self, period: AccountingPeriod) -> list[Row]:
        """Return one row for each currency."""
        return [_rollforward_row(row) for row in deferred_rollforward(period)]


def _trial_row(row: TrialBalanceRow) -> Row:
    return {
        "account": row.account,
        "name": row.name,
        "currency": row.currency,
        "opening": _amount(row.opening_minor, row.currency),
        "debits": _amount(row.debit_minor, row.currency),
        "credits": _amount(row.credit_minor, row.currency),
        "closing": _amount(row.closing_minor, row.currency),
    }


def _rollforward_row(row: DeferredRollforward) -> Row:
    return {
        "currency": row.currency,
        "opening": _amount(row.opening_minor, row.currency),
        "billings": _amount(row.billings_minor, row.currency),
        "fees": _amount(-row.fees_minor, row.currency),
        "usage": _amount(-row.usage_minor, row.currency),
        "breakage": _amount(-row.breakage_minor, row.currency),
        "credit_notes": _amount(-row.credit_notes_minor, row.currency),
        "other": _amount(row.other_minor, row.currency),
        "closing": _amount(row.closing_minor, row.currency),
    }


def _amount(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).decimal:f}"


def _csv(filename: str, rows: Sequence[Row]) -> HttpResponse:
    header = list(rows[0]) if rows else []
    text = csv_text(header, [list(row.values()) for row in rows])
    return HttpResponse(
        text,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


urlpatterns = [
    path("journal_entries", JournalEntriesView.as_view()),
    path("reports/trial_balance", TrialBalanceView.as_view()),
    path("reports/deferred_rollforward", DeferredRollforwardView.as_view()),
]
