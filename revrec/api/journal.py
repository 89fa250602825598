"""Journal entries over HTTP; read-only."""

import re
from datetime import date
from typing import Any, ClassVar

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
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from revrec.models import JournalEntry, LedgerAccount, Posting
from revrec.reporting import amount_text
from revrec.selectors.journal import journal_entries

_MONTH = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)


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


class PostingSerializer(serializers.ModelSerializer[Posting]):
    """One signed amount on one account: debit positive."""

    account = serializers.CharField(source="account_id")
    amount = serializers.SerializerMethodField()
    contract = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="number of the subscription that sold it"
    )

    product = serializers.CharField(
        read_only=True, allow_null=True,
        help_text="the plan that was sold, by its code, or credits: credit_pack:credit",
    )  # fmt: skip
    region = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="the customer's country when the entry was recorded",
    )

    class Meta:
        model = Posting
        fields: tuple[str, ...] = (
            "account", "amount", "currency", "invoice_line", "obligation", "contract",
            "service_start_on", "service_end_on", "product",
            "model", "region",
        )  # fmt: skip

    def to_representation(self, instance: Posting) -> dict[str, Any]:
        """Add what it is worth in the books' own currency, where that is another."""
        told: dict[str, Any] = super().to_representation(instance)
        if instance.functional_currency is not None:
            told["functional_amount"] = amount_text(
                instance.worth_minor, instance.functional_currency
            )
            told["functional_currency"] = instance.functional_currency
        return told

    def get_amount(self, posting: Posting) -> str:
        """Return major units with the currency's decimals."""
        return amount_text(posting.amount_minor, posting.currency)


class EntrySerializer(serializers.ModelSerializer[JournalEntry]):
    """A balanced entry with its postings and its place in the hash chain."""

    entity = serializers.CharField(source="entity.code", help_text="whose books")
    period = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)
    recorded_at = UtcDateTimeField()
    postings = PostingSerializer(many=True)

    class Meta:
        model = JournalEntry
        fields = (
            "id", "entity", "effective_on", "period", "kind", "description", "customer",
            "source_key", "reverses", "recorded_at", "chain_position", "entry_sha256", "postings",
        )  # fmt: skip


_ENTRY_PAGE = inline_serializer(
    "JournalEntryPage",
    {
        "data": EntrySerializer(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
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
