"""/v1/invoices/{number}/mails and /link: how a customer gets to see an invoice without a login."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from invoicing.api.fields import caller_key
from invoicing.models import InvoiceMail
from invoicing.selectors import find_invoice
from invoicing.services.links import link_to, url_of
from invoicing.services.mails import ask_for_mail


class MailInput(serializers.Serializer[Any]):
    """Whom to."""

    address = serializers.EmailField(
        required=False, help_text="The customer's own address where it is left out."
    )


class MailOutput(serializers.Serializer[Any]):
    """A mail: it waits for the worker, is sent, or was given up after many tries."""

    address = serializers.EmailField()
    state = serializers.ChoiceField(choices=["waits", "sent", "given up"])
    queued_at = UtcDateTimeField()
    attempts = serializers.IntegerField()
    next_try_at = UtcDateTimeField(allow_null=True)
    sent_at = UtcDateTimeField(allow_null=True)
    given_up_at = UtcDateTimeField(allow_null=True)
    failure = serializers.CharField(allow_blank=True)


class LinkInput(serializers.Serializer[Any]):
    """Nothing: the invoice is in the address."""


class LinkOutput(serializers.Serializer[Any]):
    """An address for the customer. Whoever has it can read the invoice until it expires."""

    url = serializers.URLField()
    expires_at = UtcDateTimeField()


class InvoiceMailsView(ApiView):
    """The mails of one invoice."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(
        parameters=[OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=MailOutput(many=True),
    )
    def get(self, request: Request, number: str) -> Response:
        """List an invoice's mails, newest first."""
        mails = InvoiceMail.objects.filter(invoice=find_invoice(number))
        return self.page(request, mails, MailOutput)

    @extend_schema(request=MailInput, responses={201: MailOutput})
    def post(self, request: Request, number: str) -> Response:
        """Send an issued invoice by mail, soon; the same key again sends nothing more."""
        wanted = self.valid(MailInput, request.data)
        mail = ask_for_mail(
            invoice=find_invoice(number), address=wanted.get("address", ""),
            key=caller_key(request), by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        return Response(MailOutput(mail).data, status=201)


class InvoiceLinkView(ApiView):
    """A link to the page where a customer sees one invoice.

    It takes no idempotency key: the link that stands is returned until half of its days are over,
    and the answer, which opens the invoice, is stored nowhere.
    """

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    takes_idempotency_key: ClassVar[bool] = False

    @extend_schema(request=None, responses=LinkOutput)
    def post(self, request: Request, number: str) -> Response:
        """Return a link to the invoice's page."""
        self.valid(LinkInput, request.data)
        by = cast(User, request.user)
        link = link_to(invoice=find_invoice(number), by=by, at=clock.now())
        return Response(LinkOutput({"url": url_of(link), "expires_at": link.expires_at}).data)
