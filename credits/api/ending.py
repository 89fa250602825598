"""End grants over REST: void, expire, claw back and reinstate; what credits never do is refused."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from credits.api.ledger import LedgerTransactionSerializer, find_grant
from credits.models import ClawBack, ClawBackReason, LedgerTransaction
from credits.selectors.used import used_stays
from credits.services.clawing import claw_back
from credits.services.grants import expire_grant, void_grant
from credits.services.reinstating import reinstate_grant
from credits.services.stored_value import VERBS, refuse_stored_value


class ReasonRequest(serializers.Serializer[Any]):
    """Why credits are taken back."""

    reason_code = serializers.CharField(max_length=40)


class TakenSerializer(LedgerTransactionSerializer):
    """The entry that took the rest of a grant, and what of it stays used."""

    used_stays = serializers.SerializerMethodField()

    def get_used_stays(self, entry: LedgerTransaction) -> str:
        """Say how much was used; empty if nothing was."""
        return used_stays(entry.grant)


class ClawBackRequest(serializers.Serializer[Any]):
    """Which refund or dispute took a purchase's money back."""

    reason = serializers.ChoiceField(choices=ClawBackReason.choices)
    reference = serializers.CharField(max_length=120)


class ClawBackSerializer(serializers.Serializer[ClawBack]):
    """What was taken back of a purchase; nothing, if an earlier claw back took it."""

    id = serializers.CharField()
    customer = serializers.CharField(source="customer.external_id")
    purchase = serializers.CharField(source="purchase_key")
    reason = serializers.ChoiceField(choices=ClawBackReason.choices)
    reference = serializers.CharField()
    credits = QuantityField()
    used = QuantityField()
    follows = serializers.CharField(source="follows_id", allow_null=True)
    recorded_at = UtcDateTimeField()


class _EndingView(ApiView):
    """What is done to a grant for a reason, and answers with its ledger transaction."""

    scopes: ClassVar[dict[str, str]] = {"POST": "credits:write"}
    requires_idempotency_key = True

    def enter(
        self, request: Request, grant_id: int, service: Callable[..., LedgerTransaction]
    ) -> LedgerTransaction:
        """Call the service with what the request says."""
        reason = self.valid(ReasonRequest, request.data)["reason_code"]
        return service(
            grant=find_grant(grant_id),
            reason_code=reason,
            by=cast(User, request.user),
            at=clock.now(),
        )


class VoidGrantView(_EndingView):
    """Take back what remains of a grant that should not have been given."""

    @extend_schema(request=ReasonRequest, responses=TakenSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Void the grant."""
        return Response(TakenSerializer(self.enter(request, grant_id, void_grant)).data)


class ExpireGrantView(_EndingView):
    """End a grant early."""

    @extend_schema(request=ReasonRequest, responses=TakenSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Let what remains lapse now."""
        return Response(TakenSerializer(self.enter(request, grant_id, expire_grant)).data)


class ReinstateGrantView(_EndingView):
    """Undo a void or an early expiry."""

    @extend_schema(request=ReasonRequest, responses=LedgerTransactionSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Give back all that was taken by mistake, effective now."""
        entry = self.enter(request, grant_id, reinstate_grant)
        return Response(LedgerTransactionSerializer(entry).data)


class ClawBackView(ApiView):
    """Take back what a purchase gave once its money went back."""

    scopes: ClassVar[dict[str, str]] = {"POST": "credits:write"}
    requires_idempotency_key = True

    @extend_schema(request=ClawBackRequest, responses=ClawBackSerializer)
    def post(self, request: Request, grant_id: int) -> Response:
        """Take what is unused, once for a purchase; what was used stays used."""
        values = self.valid(ClawBackRequest, request.data)
        taken = claw_back(
            grant=find_grant(grant_id),
            reason=values["reason"],
            reference=values["reference"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(ClawBackSerializer(taken).data)


class StoredValueView(ApiView):
    """What credits never do: move to another customer, or to money."""

    scopes: ClassVar[dict[str, str]] = {"POST": "credits:write"}
    takes_idempotency_key = False  # A refusal does nothing twice, and its note must be kept.

    @extend_schema(
        operation_id="refuse_stored_value",
        request=None,
        responses={},
        parameters=[OpenApiParameter("verb", str, OpenApiParameter.PATH, enum=VERBS)],
    )
    def post(self, request: Request, grant_id: int, verb: str) -> Response:
        """Refuse, and note in the audit log who asked.

        Always 403 `not_stored_value`; it names the policy change that would be needed.
        """
        _ = request.data  # Read within bounds, whatever it says.
        if verb not in VERBS:
            raise NotFound(f"a grant has no {verb}")
        raise refuse_stored_value(
            grant=find_grant(grant_id), verb=verb, by=cast(User, request.user), at=clock.now()
        )


urlpatterns = [
    path("credit_grants/<int:grant_id>/void", VoidGrantView.as_view()),
    path("credit_grants/<int:grant_id>/expire", ExpireGrantView.as_view()),
    path("credit_grants/<int:grant_id>/reinstate", ReinstateGrantView.as_view()),
    path("credit_grants/<int:grant_id>/claw_back", ClawBackView.as_view()),
    path("credit_grants/<int:grant_id>/<str:verb>", StoredValueView.as_view()),
]
