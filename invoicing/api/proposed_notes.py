"""/v1/credit_notes/proposals: ask finance for what is above a caller's own limit, and follow it."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from invoicing.api.credit_notes import MOST_LINES, LineInput, asked_of
from invoicing.api.fields import AmountField
from invoicing.models import CreditNoteReason, ProposedCreditNote
from invoicing.models.proposal import ProposalState
from invoicing.selectors import find_invoice
from invoicing.selectors.proposals import proposed_notes
from invoicing.services.proposals import request_credit_notes


class ProposalInput(serializers.Serializer[Any]):
    """What to take off which lines, or give back of them, and why; finance reads the memo."""

    invoice = serializers.CharField(max_length=32)
    lines = LineInput(many=True, allow_empty=False, max_length=MOST_LINES)  # type: ignore[call-arg]
    reason = serializers.ChoiceField(choices=CreditNoteReason.choices)
    memo = serializers.CharField(max_length=500)


class GivesBackOutput(serializers.Serializer[Any]):
    """Credits that one grant gets once the proposal is approved; `paid` is what they had cost."""

    grant = serializers.CharField()
    category = serializers.CharField()
    credits = serializers.CharField()
    unit = serializers.CharField()
    goes_to = serializers.ChoiceField(choices=["grant", "linked_grant", "nobody"])
    paid = serializers.ListField(child=serializers.CharField())


class ProposalOutput(serializers.Serializer[Any]):
    """One line's proposal: `decision` is finance's, `state` what became of it."""

    id = serializers.CharField(source="pk")
    invoice = serializers.CharField(source="invoice_line.invoice.number")
    customer = serializers.CharField(source="invoice_line.invoice.customer.external_id")
    line = IntegerField(source="invoice_line.position")
    cause = serializers.CharField()
    currency = serializers.CharField()
    amount = AmountField("amount_minor")
    credits = QuantityField(source="restored_credits")
    gives_back = serializers.SerializerMethodField()
    policy_change = serializers.CharField(source="policy_change.subject")
    decision = serializers.CharField(source="policy_change.status")
    state = serializers.ChoiceField(choices=ProposalState.choices)
    credit_note = serializers.CharField(source="credit_note.number", allow_null=True, default=None)
    created_at = UtcDateTimeField()
    closed_at = UtcDateTimeField(allow_null=True)

    @extend_schema_field(GivesBackOutput(many=True))
    def get_gives_back(self, row: ProposedCreditNote) -> Any:
        """List the grants that get credits back, the newest burn first."""
        return GivesBackOutput(row.facts.get("gives_back", []), many=True).data


class ProposalQuery(serializers.Serializer[Any]):
    """Which proposals."""

    customer = ExternalIdField(required=False)
    invoice = serializers.CharField(max_length=32, required=False)
    state = serializers.ChoiceField(choices=ProposalState.choices, required=False)


class CreditNoteProposalsView(ApiView):
    """Propose notes and list proposals."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(request=ProposalInput, responses={201: ProposalOutput(many=True)})
    def post(self, request: Request) -> Response:
        """Propose a credit note for each line, all or none; finance decides on each.

        What is approved is issued by the worker, what was paid to the customer's balance. Credits
        go back to the grants named here, or not at all.
        """
        wanted = self.valid(ProposalInput, request.data)
        lines, restored = asked_of(find_invoice(wanted["invoice"]), wanted["lines"])
        rows = request_credit_notes(
            lines=lines, restored=restored, reason=wanted["reason"], memo=wanted["memo"],
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(ProposalOutput(rows, many=True).data, status=201)

    @extend_schema(
        parameters=[
            OpenApiParameter("customer", str),
            OpenApiParameter("invoice", str),
            OpenApiParameter("state", str, enum=ProposalState.values),
        ],
        responses=ProposalOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List proposals, newest first."""
        query = self.valid_query(ProposalQuery)
        found = proposed_notes(query.get("customer"), query.get("invoice"), query.get("state"))
        return self.page(request, found, ProposalOutput)
