"""A customer's credits over HTTP: now, or as they were at an instant, or were known to be."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.keys import known_api_key
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.auth import ApiKeyAuthentication
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    MoneyField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.selectors import UnitBalance, balance, balance_now, rating_state
from invoicing.selectors.packs import PendingPack, pending_packs, pending_packs_now
from metering.selectors.customers import customer_named, workspace_named

BALANCE_ROUTE = "v1/customers/<path:external_id>/balance"
_ZERO = Decimal(0)
_instant = UtcDateTimeField().to_representation


class ExpiringSerializer(serializers.Serializer[Any]):
    """Credits that lapse within thirty days of the instant."""

    grant = serializers.CharField(source="grant_id")
    credits = QuantityField()
    expires_at = UtcDateTimeField()


class PendingSerializer(serializers.Serializer[PendingPack]):
    """Credits that were bought and are granted once their invoice is paid."""

    invoice = serializers.CharField()
    line = serializers.IntegerField()
    credits = QuantityField()
    price = MoneyField()


class UnitBalanceSerializer(serializers.Serializer[Any]):
    """Credits of one pricing unit; what is `pending` is in none of the sums."""

    unit = serializers.CharField(source="pricing_unit")
    ledger = QuantityField()
    held = QuantityField()
    available = QuantityField()
    expiring = ExpiringSerializer(many=True)
    pending = PendingSerializer(many=True)


class BalanceSerializer(serializers.Serializer[Any]):
    """What a customer has, and what is taken into account."""

    customer = serializers.CharField()
    workspace = serializers.CharField(allow_null=True)
    balances = UnitBalanceSerializer(many=True)
    as_of = UtcDateTimeField(
        help_text="The instant asked for; without one, until when stored usage is counted."
    )
    known_at = UtcDateTimeField(help_text="What was recorded until then counts.")
    lag_seconds = QuantityField(help_text="How far rating is behind now.")


class BalanceQuery(serializers.Serializer[Any]):
    """Whose credits, and at which instant of the past."""

    workspace = ExternalIdField(
        required=False, help_text="Leaves out grants that are for other workspaces."
    )
    as_of = UtcDateTimeField(
        required=False,
        help_text="What takes effect later does not count. Default: `known_at`, or else now.",
    )
    known_at = UtcDateTimeField(
        required=False, help_text="What was recorded later does not count. Default: now."
    )


class BalanceView(ApiView):
    """A customer's credits, now or at any instant of the past."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Balances are asked for often: what is known of a key is not read again."""
        return [ApiKeyAuthentication(known_api_key)]

    @extend_schema(parameters=[BalanceQuery], responses=BalanceSerializer)
    def get(self, request: Request, external_id: str) -> Response:
        """Say what is left; the past is folded from the ledger.

        A late report changes what a past balance was, but never what it was known to be: ask with
        `known_at` for what was answered then. An instant in the future is refused.
        """
        query = self.valid_query(BalanceQuery) if request.query_params else {}
        return Response(balance_answer(external_id, **query))


def balance_answer(
    external_id: str,
    workspace: str | None = None,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
) -> dict[str, Any]:
    """Return the document that `BalanceSerializer` describes, written without it: it is slow.

    Raises:
        NotFound: nobody is called so, or no workspace of theirs.
        Invalid: an instant of the future.
    """
    customer = customer_named(external_id)
    place = workspace_named(customer, workspace) if workspace is not None else None
    fresh = rating_state(clock.now())
    at = clock.now()  # Later than its claim.
    _refuse_future(at, as_of=as_of, known_at=known_at)
    asked = as_of or known_at
    if asked is None:
        units = balance_now(customer, at, place)
        packs = pending_packs_now(customer, at)
    else:
        units = balance(customer, asked, place, known_at or at)
        packs = pending_packs(customer, asked, known_at)
    return {
        "customer": customer.external_id,
        "workspace": place and place.external_id,
        "balances": _with_pending(units, packs),
        "as_of": _instant(asked or fresh.as_of),
        "known_at": _instant(known_at or at),
        "lag_seconds": plain(fresh.lag_seconds),
    }


def _refuse_future(now: datetime, **asked: datetime | None) -> None:
    for name, instant in asked.items():
        if instant is not None and instant > now:
            raise Invalid(f"{name} is in the future: no balance is known for it", field=name)


def _with_pending(
    units: Iterable[UnitBalance], packs: Iterable[PendingPack]
) -> list[dict[str, Any]]:
    """Put packs beside the balances of their units; a unit may have nothing but packs."""
    waiting: dict[str, list[PendingPack]] = {}
    for pack in packs:
        waiting.setdefault(pack.pricing_unit, []).append(pack)
    known = {unit.pricing_unit: unit for unit in units}
    return [
        _unit(known.get(code) or _nothing(code), waiting.get(code, ()))
        for code in sorted({*known, *waiting})
    ]


def _unit(unit: UnitBalance, packs: Iterable[PendingPack]) -> dict[str, Any]:
    return {
        "unit": unit.pricing_unit,
        "ledger": plain(unit.ledger),
        "held": plain(unit.held),
        "available": plain(unit.available),
        "expiring": [
            {
                "grant": str(grant.grant_id),
                "credits": plain(grant.credits),
                "expires_at": _instant(grant.expires_at),
            }
            for grant in unit.expiring
        ],
        "pending": [PendingSerializer(pack).data for pack in packs],
    }


def _nothing(code: str) -> UnitBalance:
    return UnitBalance(code, _ZERO, _ZERO, _ZERO, ())


urlpatterns = [path(BALANCE_ROUTE.removeprefix("v1/"), BalanceView.as_view())]
