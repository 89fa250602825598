"""POST /v1/invoices/{number}/...: void an issued invoice, make it anew, or write it off."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.views import ApiView
from invoicing.api.invoices import InvoiceOutput
from invoicing.models import Invoice
from invoicing.selectors import find_invoice
from invoicing.services.endings import void_and_regenerate, void_invoice, write_off_invoice

_WRITE: dict[str, str] = {"POST": "admin"}


class EndingInput(serializers.Serializer[Any]):
    """Why the claim ends, as an auditor reads it later."""

    reason = serializers.CharField(max_length=500)


class VoidInput(EndingInput):
    """Why the invoice was never owed, and whether it is made anew."""

    regenerate = serializers.BooleanField(
        default=False, help_text="Draft a new invoice that claims the same, and refers to this one."
    )


class VoidOutput(serializers.Serializer[Any]):
    """The void invoice, and the draft that replaces it."""

    invoice = InvoiceOutput()
    replacement = InvoiceOutput(allow_null=True)


class InvoiceVoidView(ApiView):
    """Take an invoice back whole."""

    scopes: ClassVar[dict[str, str]] = _WRITE
    requires_idempotency_key = True

    @extend_schema(request=VoidInput, responses=VoidOutput)
    def post(self, request: Request, number: str) -> Response:
        """Void an issued invoice that nothing settled yet.

        What the end of a period claims (usage, and what stands beside it) is drafted again by the
        next run, on an invoice that refers to the void one; credit what is not owed. Fees, seats
        and packs are claimed again only by `regenerate`.
        """
        wanted = self.valid(VoidInput, request.data)
        act = void_and_regenerate if wanted["regenerate"] else void_invoice
        by = cast(User, request.user)
        made = act(invoice=find_invoice(number), reason=wanted["reason"], by=by, at=clock.now())
        answer = {
            "invoice": find_invoice(number),
            "replacement": made if isinstance(made, Invoice) else None,
        }
        return Response(VoidOutput(answer).data)


class InvoiceWriteOffView(ApiView):
    """Give up what an invoice still owes."""

    scopes: ClassVar[dict[str, str]] = _WRITE
    requires_idempotency_key = True

    @extend_schema(request=EndingInput, responses=InvoiceOutput)
    def post(self, request: Request, number: str) -> Response:
        """Write off as uncollectible; a payment that comes nevertheless recovers it."""
        wanted = self.valid(EndingInput, request.data)
        write_off_invoice(
            invoice=find_invoice(number),
            reason=wanted["reason"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(InvoiceOutput(find_invoice(number)).data)
