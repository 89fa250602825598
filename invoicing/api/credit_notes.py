"""/v1/credit_notes: take amounts off an invoice, see what a note would do, and list them."""

from decimal import Decimal
from typing import Any, ClassVar, cast

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Insufficient, Invalid
from billing_project.kernel.models import User
from billing_project.kernel.pdf import pdf_response
from billing_project.kernel.quantity import round_unrounded
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from invoicing.api.fields import AmountField, caller_key, minor_units
from invoicing.crediting import CreditRefused, Settlement, part_of
from invoicing.models import CreditNote, CreditNoteReason, Invoice, InvoiceLine, LineKind
from invoicing.selectors import credit_notes, find_credit_note, find_invoice, find_line
from invoicing.selectors.restoring import credits_restored
from invoicing.services.credit_notes import issue_credit_note, preview_credit_note
from invoicing.services.documents import keep_document
from invoicing.services.note_voids import void_credit_note

MOST_LINES = 1000
_NOTHING = Decimal(0)
_READ: dict[str, str] = {"GET": "invoices:read"}


class LineInput(serializers.Serializer[Any]):
    """What to take off one line: an amount net of tax, a quantity of it, or a percentage.

    Of a line that states credits used, a quantity or percentage goes back to the grants that paid.
    """

    line = IntegerField(min_value=1, max_value=2**31 - 1)
    amount = QuantityField(positive=True, required=False, help_text="Net, in major units.")
    quantity = QuantityField(positive=True, required=False)
    percent = QuantityField(positive=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take just one of the three."""
        if len(attrs.keys() & {"amount", "quantity", "percent"}) != 1:
            raise serializers.ValidationError("say one of amount, quantity and percent")
        return attrs


class SettlementInput(serializers.Serializer[Any]):
    """How what was paid goes back: all of it, in major units of the invoice's currency."""

    refund = QuantityField(default=_NOTHING, help_text="Will be refunded; owed until then.")
    balance = QuantityField(default=_NOTHING, help_text="Pays the customer's next invoices.")
    out_of_band = QuantityField(default=_NOTHING, help_text="Was given back already, elsewhere.")


class CreditNotePreviewInput(serializers.Serializer[Any]):
    """Which lines of which invoice; without a settlement what was paid goes to the balance."""

    invoice = serializers.CharField(max_length=32)
    lines = LineInput(many=True, allow_empty=False, max_length=MOST_LINES)  # type: ignore[call-arg]
    settlement = SettlementInput(required=False)


class CreditNoteInput(CreditNotePreviewInput):
    """A note with its reason; the memo stands on the document."""

    reason = serializers.ChoiceField(choices=CreditNoteReason.choices)
    memo = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


class CreditedLineOutput(serializers.Serializer[Any]):
    """What a note takes off a line; of it `evened` takes back what was claimed beyond the usage."""

    line = IntegerField(source="invoice_line.position")
    amount = AmountField("amount_minor", currency="credit_note.currency")
    tax = AmountField("tax_minor", currency="credit_note.currency")
    evened = AmountField("evened_minor", currency="credit_note.currency")
    credits = QuantityField(source="restored_credits")


class RestoredOutput(serializers.Serializer[Any]):
    """Credits that go back to one grant, or to one linked to it where it is over."""

    line = IntegerField(source="line.position")
    grant = serializers.CharField(source="grant.pk")
    credits = QuantityField()
    unit = serializers.CharField(source="grant.pricing_unit.code")
    goes_to = serializers.ChoiceField(choices=["grant", "linked_grant", "nobody"])


class SettlementOutput(serializers.Serializer[Any]):
    """How what was paid goes back."""

    refund = AmountField("refund_minor")
    balance = AmountField("balance_minor")
    out_of_band = AmountField("out_of_band_minor")


class RefundOutput(serializers.Serializer[Any]):
    """Money that was refunded; one that failed went to the customer's balance."""

    amount = AmountField("amount_minor")
    refunded_at = UtcDateTimeField()
    method = serializers.CharField()
    reference = serializers.CharField()
    failed_at = UtcDateTimeField(source="failure.failed_at", allow_null=True, default=None)


class CreditNoteOutput(serializers.Serializer[Any]):
    """An issued note: `open` reduces what the invoice owes, the settlement is what was paid."""

    number = serializers.CharField()
    invoice = serializers.CharField(source="invoice.number")
    customer = serializers.CharField(source="invoice.customer.external_id")
    reason = serializers.CharField()
    memo = serializers.CharField()
    currency = serializers.CharField()
    total = AmountField("total_minor")
    tax = AmountField("tax_minor")
    open = AmountField("open_minor")
    settlement = SettlementOutput(source="*")
    refunds = RefundOutput(many=True)
    issued_at = UtcDateTimeField()
    voided_at = UtcDateTimeField(source="void.voided_at", allow_null=True, default=None)
    lines = CreditedLineOutput(many=True)
    restored = serializers.SerializerMethodField()

    @extend_schema_field(RestoredOutput(many=True))
    def get_restored(self, note: CreditNote) -> Any:
        """List the grants that got credits back, the newest burn first."""
        return RestoredOutput(credits_restored(note), many=True).data


class NoteVoidInput(serializers.Serializer[Any]):
    """Why the note is taken back, as an auditor reads it later."""

    reason = serializers.CharField(max_length=500)


class PreviewedSettlementOutput(serializers.Serializer[Any]):
    """How what was paid would go back."""

    refund = AmountField("split.back.refund_minor", currency="invoice.currency")
    balance = AmountField("split.back.balance_minor", currency="invoice.currency")
    out_of_band = AmountField("split.back.out_of_band_minor", currency="invoice.currency")


class CreditNotePreviewOutput(serializers.Serializer[Any]):
    """What a note would do; nothing of it is stored."""

    invoice = serializers.CharField(source="invoice.number")
    currency = serializers.CharField(source="invoice.currency")
    total = AmountField("split.total_minor", currency="invoice.currency")
    tax = AmountField("split.tax_minor", currency="invoice.currency")
    open = AmountField("split.open_minor", currency="invoice.currency")
    settlement = PreviewedSettlementOutput(source="*")
    returnable = AmountField("returnable_minor", currency="invoice.currency")
    evened = AmountField("evened_minor", currency="invoice.currency")
    restored = RestoredOutput(many=True)


class CreditNoteQuery(serializers.Serializer[Any]):
    """Which notes."""

    customer = ExternalIdField(required=False)
    invoice = serializers.CharField(max_length=32, required=False)


class CreditNotesView(ApiView):
    """Issue and list credit notes."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(request=CreditNoteInput, responses={201: CreditNoteOutput})
    def post(self, request: Request) -> Response:
        """Issue a credit note: what is open is reduced first, what was paid goes back as settled.

        The parts of the settlement sum to what was paid; a preview without one says how much it is.
        """
        wanted = self.valid(CreditNoteInput, request.data)
        invoice = find_invoice(wanted["invoice"])
        lines, restored = asked_of(invoice, wanted["lines"])
        note = issue_credit_note(
            invoice=invoice,
            lines=lines,
            restored=restored,
            reason=wanted["reason"],
            memo=wanted["memo"],
            settlement=_settlement(invoice, wanted),
            key=caller_key(request),
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(CreditNoteOutput(find_credit_note(note.number)).data, status=201)

    @extend_schema(
        parameters=[OpenApiParameter("customer", str), OpenApiParameter("invoice", str)],
        responses=CreditNoteOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List credit notes, newest first."""
        query = self.valid_query(CreditNoteQuery)
        found = credit_notes(query.get("customer"), query.get("invoice"))
        return self.page(request, found, CreditNoteOutput)


class CreditNotePreviewView(ApiView):
    """What a note would do."""

    scopes: ClassVar[dict[str, str]] = {"POST": "invoices:read"}
    takes_idempotency_key = False

    @extend_schema(request=CreditNotePreviewInput, responses=CreditNotePreviewOutput)
    def post(self, request: Request) -> Response:
        """Check and split a note without issuing it."""
        wanted = self.valid(CreditNotePreviewInput, request.data)
        invoice = find_invoice(wanted["invoice"])
        lines, restored = asked_of(invoice, wanted["lines"])
        seen = preview_credit_note(
            invoice=invoice,
            lines=lines,
            restored=restored,
            settlement=_settlement(invoice, wanted),
            at=clock.now(),
        )
        return Response(CreditNotePreviewOutput(seen).data)


class CreditNoteView(ApiView):
    """One note."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses=CreditNoteOutput)
    def get(self, request: Request, number: str) -> Response:
        """Show a credit note."""
        return Response(CreditNoteOutput(find_credit_note(number)).data)


class CreditNotePdfView(ApiView):
    """One note's document."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def get(self, request: Request, number: str) -> HttpResponse:
        """Answer the note's PDF: the same bytes each time, under their sha256 as ETag."""
        kept = keep_document(subject=find_credit_note(number), at=clock.now())
        return pdf_response(kept, number)


class CreditNoteVoidView(ApiView):
    """Take a note back."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(request=NoteVoidInput, responses=CreditNoteOutput)
    def post(self, request: Request, number: str) -> Response:
        """Void a note for which nothing was refunded: its invoice claims again what it took off."""
        wanted = self.valid(NoteVoidInput, request.data)
        void_credit_note(
            credit_note=find_credit_note(number), reason=wanted["reason"],
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(CreditNoteOutput(find_credit_note(number)).data)


def asked_of(
    invoice: Invoice, lines: list[dict[str, Any]]
) -> tuple[list[tuple[InvoiceLine, int]], list[tuple[InvoiceLine, Decimal]]]:
    """Tell apart what is taken off in money and what goes back in credits."""
    found = [(find_line(invoice, wanted["line"]), wanted) for wanted in lines]
    money = [(line, wanted) for line, wanted in found if line.kind != LineKind.CREDITS_USED]
    credits_ = [(line, wanted) for line, wanted in found if line.kind == LineKind.CREDITS_USED]
    return (
        [(line, _minor(line, wanted, invoice.currency)) for line, wanted in money],
        [(line, _credits(line, wanted)) for line, wanted in credits_],
    )


def _credits(line: InvoiceLine, wanted: dict[str, Any]) -> Decimal:
    if "amount" in wanted:
        raise Invalid(
            f"line {line.position} states credits and claims no money: say a quantity",
            field="lines",
        )
    if "quantity" in wanted:
        return Decimal(wanted["quantity"])
    if wanted["percent"] > 100:
        raise Insufficient(f"line {line.position} has 100 %", field="lines")
    return round_unrounded(line.quantity * wanted["percent"] / 100)


def _minor(line: InvoiceLine, wanted: dict[str, Any], currency: str) -> int:
    if "amount" in wanted:
        return minor_units(wanted["amount"], currency)
    try:
        return part_of(
            line.amount_minor, line.quantity, of=wanted.get("quantity"),
            percent=wanted.get("percent"),
        )  # fmt: skip
    except CreditRefused as error:
        raise Insufficient(f"line {line.position}: {error}", field="lines") from error


def _settlement(invoice: Invoice, wanted: dict[str, Any]) -> Settlement | None:
    parts = wanted.get("settlement")
    if parts is None:
        return None
    minor = {
        f"{name}_minor": minor_units(parts[name], invoice.currency, f"settlement.{name}")
        for name in parts
    }
    return Settlement(**minor)
