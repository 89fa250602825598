"""GET /v1/invoices: claims, their documents, and the events behind each line."""

from dataclasses import dataclass
from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.pdf import pdf_response
from billing_project.kernel.rest.fields import ExternalIdField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.views import ApiView
from invoicing.api.fields import AmountField
from invoicing.crediting import pays
from invoicing.lines import Line
from invoicing.models import InvoiceStatus
from invoicing.selectors import (
    OverageState,
    Place,
    Preview,
    balance_in,
    events_behind,
    find_invoice,
    find_line,
    invoices,
    overcharged_periods,
    preview,
    running_period,
)
from invoicing.selectors.splitting import Part, parts_of
from invoicing.services.documents import keep_document
from metering.selectors.customers import customer_named
from metering.selectors.lag import AggregationState, aggregation_state

_READ: dict[str, str] = {"GET": "invoices:read"}
_EVENTS_OF_A_WINDOW = 10**7  # A cursor is one number: the window's id, then events skipped in it.


class InvoiceOutput(serializers.Serializer[Any]):
    """A claim: what it is over, and what is still open: the amount due."""

    number = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    entity = serializers.CharField(source="entity.code", help_text="The legal entity that claims.")
    workspace = serializers.CharField(
        source="workspace.external_id", allow_null=True, default=None,
        help_text="Whose usage alone it is over; nothing where it is the account's.",
    )  # fmt: skip
    currency = serializers.CharField()
    total = AmountField("total_minor")
    tax = AmountField("tax_minor")
    tax_treatment = serializers.CharField()
    paid = AmountField("paid_minor")
    balance_applied = AmountField("applied_minor")
    credited = AmountField("credited_minor")
    open = AmountField("open_minor")
    written_off = AmountField("written_off_minor")
    replaces = serializers.CharField(source="replaces.number", allow_null=True, default=None)
    service_start_at = UtcDateTimeField()
    service_end_at = UtcDateTimeField()
    ready_at = UtcDateTimeField()
    finalized_at = UtcDateTimeField(allow_null=True)
    due_on = serializers.DateField(allow_null=True)


class LineOutput(serializers.Serializer[Any]):
    """One line, net of tax; credits_used lines state credits and claim nothing."""

    line = serializers.IntegerField(source="position")
    kind = serializers.CharField()
    description = serializers.CharField()
    quantity = QuantityField()
    unit = serializers.CharField()
    unit_price = QuantityField(source="unit_price_unrounded")
    amount = AmountField("amount_minor", currency="invoice.currency")
    tax = AmountField("tax_minor", currency="invoice.currency")
    tax_rate = QuantityField()
    discount = AmountField("discount_minor", currency="invoice.currency")
    credited = AmountField("credited_minor", currency="invoice.currency")
    service_start_at = UtcDateTimeField()
    service_end_at = UtcDateTimeField()


class PaymentOutput(serializers.Serializer[Any]):
    """Money that came."""

    amount = AmountField("amount_minor")
    paid_at = UtcDateTimeField()
    method = serializers.CharField()
    reference = serializers.CharField()


class WholeInvoiceOutput(InvoiceOutput):
    """A claim with its lines and payments."""

    lines = LineOutput(many=True)
    payments = PaymentOutput(many=True)


class InvoiceQuery(serializers.Serializer[Any]):
    """Which invoices."""

    customer = ExternalIdField(required=False)
    status = serializers.ChoiceField(choices=InvoiceStatus.choices, required=False)


class PreviewQuery(serializers.Serializer[Any]):
    """Whose next invoice."""

    customer = ExternalIdField()


class PreviewLineOutput(serializers.Serializer[Any]):
    """A line as it would be."""

    kind = serializers.CharField(source="line.kind")
    description = serializers.CharField(source="line.description")
    quantity = QuantityField(source="line.quantity")
    unit = serializers.CharField(source="line.unit")
    unit_price = QuantityField(source="line.unit_price_unrounded")
    amount = AmountField("line.amount_minor")
    discount = AmountField("line.discount_minor")


class OverchargeOutput(serializers.Serializer[Any]):
    """A period whose invoices claim more than was used; a credit note takes it back."""

    service_start_at = UtcDateTimeField(source="billing_period.start_at")
    service_end_at = UtcDateTimeField(source="billing_period.end_at")
    amount = AmountField("overcharged_minor", currency="price.currency")


class PartOutput(serializers.Serializer[Any]):
    """One invoice of those that a period's usage would be cut into; net of tax."""

    workspace = serializers.CharField(allow_null=True, source="part.workspace")
    overage = QuantityField(source="part.credits")
    amount = AmountField("part.amount_minor")


class PreviewOutput(serializers.Serializer[Any]):
    """What would be claimed; usage that arrived after `as_of` is not in it yet.

    The coming lines are what the next period claims when it begins: fees, seats, discounts.
    """

    customer = serializers.CharField()
    service_start_at = UtcDateTimeField(source="preview.billing_period.start_at")
    service_end_at = UtcDateTimeField(source="preview.billing_period.end_at")
    currency = serializers.CharField(source="preview.currency")
    total = AmountField("preview.total_minor", currency="preview.currency")
    tax = AmountField("preview.tax_minor", currency="preview.currency")
    balance_applied = AmountField("balance_minor", currency="preview.currency")
    amount_due = AmountField("due_minor", currency="preview.currency")
    lines = PreviewLineOutput(many=True)
    invoices = PartOutput(many=True)
    coming_total = AmountField("preview.coming_minor", currency="preview.currency")
    coming_lines = PreviewLineOutput(many=True)
    overcharged = OverchargeOutput(many=True)
    as_of = UtcDateTimeField(source="state.as_of")
    lag_seconds = QuantityField(source="state.lag_seconds")


class EventOutput(serializers.Serializer[Any]):
    """A meter event, and the meter and hour through which it came onto the line."""

    meter = serializers.CharField(source="window.meter.code")
    window_start_at = UtcDateTimeField(source="window.start_at")
    identifier = serializers.CharField(source="event.identifier")
    event_name = serializers.CharField(source="event.event_name")
    workspace = serializers.CharField(
        source="event.workspace.external_id", allow_null=True, default=None
    )
    timestamp = UtcDateTimeField(source="event.timestamp")
    properties = serializers.JSONField(source="event.properties")


class InvoicesView(ApiView):
    """List claims."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(
        parameters=[OpenApiParameter("customer", str), OpenApiParameter("status", str)],
        responses=InvoiceOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List invoices, drafts among them, newest first."""
        query = self.valid_query(InvoiceQuery)
        found = invoices(query.get("customer"), query.get("status"))
        return self.page(request, found, InvoiceOutput)


class InvoiceView(ApiView):
    """One claim."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses=WholeInvoiceOutput)
    def get(self, request: Request, number: str) -> Response:
        """Show an issued invoice with its lines and payments."""
        return Response(WholeInvoiceOutput(find_invoice(number)).data)


class InvoicePdfView(ApiView):
    """One claim's document."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def get(self, request: Request, number: str) -> HttpResponse:
        """Answer the invoice's PDF: the same bytes each time, under their sha256 as ETag."""
        kept = keep_document(subject=find_invoice(number), at=clock.now())
        return pdf_response(kept, number)


class InvoicePreviewView(ApiView):
    """What would be claimed if the running period ended now."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(
        parameters=[OpenApiParameter("customer", str, required=True)],
        responses=PreviewOutput,
    )
    def get(self, request: Request) -> Response:
        """Preview the running period's overage and credits; usage after `as_of` is not in it."""
        customer = customer_named(self.valid_query(PreviewQuery)["customer"])
        at = clock.now()
        seen = preview(running_period(customer, at))
        overcharged = overcharged_periods(customer)
        balance = pays(balance_in(customer.pk, seen.currency), seen.total_minor)
        answer = _PreviewAnswer(
            customer.external_id, seen, balance, overcharged, aggregation_state(at)
        )
        return Response(PreviewOutput(answer).data)


class LineEventsView(ApiView):
    """What was used: the way from a line back to the raw events."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(
        parameters=[OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=EventOutput(many=True),
    )
    def get(self, request: Request, number: str, position: int) -> Response:
        """Page through the meter events behind a line, by window and time."""
        page = Page.of(request)
        line = find_line(find_invoice(number), position)
        rows, following = events_behind(line, _place(page.before_id), page.limit)
        cursor = following and str(following.window_id * _EVENTS_OF_A_WINDOW + following.skipped)
        return Response({"data": EventOutput(rows, many=True).data, "next_cursor": cursor})


def _place(cursor: int | None) -> Place:
    return Place(*divmod(cursor or 0, _EVENTS_OF_A_WINDOW))


@dataclass(frozen=True)
class _PreviewLine:
    line: Line
    currency: str


@dataclass(frozen=True)
class _PreviewPart:
    part: Part
    currency: str


@dataclass(frozen=True)
class _PreviewAnswer:
    """A preview beside how complete the usage in it is."""

    customer: str
    preview: Preview
    balance_minor: int  # What the customer's balance would pay.
    overcharged: list[OverageState]
    state: AggregationState

    @property
    def due_minor(self) -> int:
        return self.preview.total_minor - self.balance_minor

    @property
    def lines(self) -> list[_PreviewLine]:
        return [_PreviewLine(line, self.preview.currency) for line in self.preview.lines]

    @property
    def invoices(self) -> list["_PreviewPart"]:
        parts = parts_of(self.preview.billing_period, self.preview.lines)
        return [_PreviewPart(part, self.preview.currency) for part in parts]

    @property
    def coming_lines(self) -> list[_PreviewLine]:
        return [_PreviewLine(line, self.preview.currency) for line in self.preview.coming]
