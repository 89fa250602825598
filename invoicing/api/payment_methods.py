"""POST /v1/payment_method_sessions."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField
from billing_project.kernel.rest.views import ApiView
from invoicing.stripe_sync.pages import card_page
from metering.selectors.customers import customer_named


class SessionInput(serializers.Serializer[Any]):
    """Who is to type a card."""

    customer = ExternalIdField()


class SessionOutput(serializers.Serializer[Any]):
    """Where to send them: a page of Stripe's own, for a day."""

    customer = serializers.CharField()
    url = serializers.URLField()


class PaymentMethodSessionsView(ApiView):
    """Let a customer type a card at Stripe; no card data comes here.

    It takes no idempotency key: the page is made outside of any transaction, and a second one does
    no harm. The card of the page that is completed last is charged from then on.
    """

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}
    takes_idempotency_key: ClassVar[bool] = False

    @extend_schema(request=SessionInput, responses={201: SessionOutput})
    def post(self, request: Request) -> Response:
        """Make a page for a customer and return its address."""
        wanted = self.valid(SessionInput, request.data)
        customer = customer_named(wanted["customer"])
        url = card_page(customer=customer, by=cast(User, request.user), at=clock.now())
        return Response({"customer": customer.external_id, "url": url}, status=201)
