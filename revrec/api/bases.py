"""Bases of grants over HTTP: what credits that cost nothing stand at in the books, proposed."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import Money
from billing_project.kernel.rest.fields import IntegerField, MoneyField, QuantityField
from billing_project.kernel.rest.views import ApiView
from credits.models import CreditGrant
from revrec.models import BasisCause, GrantBasis
from revrec.reporting import amount_text
from revrec.services.bases import Alone, basis_words, propose_bonus, propose_concession

_LARGEST = 2**63 - 1


class AloneField(serializers.Serializer[Any]):
    """What one credit would cost alone, and which share of them will be used."""

    ssp = QuantityField(positive=True, help_text="in major units")
    likelihood = QuantityField(positive=True, help_text="0.5 for half")


class GrantBasisInput(serializers.Serializer[Any]):
    """A concession states its amount; a bonus names its purchase and what both cost alone."""

    grant = IntegerField(min_value=1, max_value=_LARGEST)
    cause = serializers.ChoiceField(choices=[one.value for one in BasisCause])
    concession = MoneyField(required=False)
    purchase = IntegerField(min_value=1, max_value=_LARGEST, required=False)
    alone = AloneField(required=False)
    purchase_alone = AloneField(required=False)
    evidence = serializers.CharField(max_length=10_000)


class GrantBasisOutput(serializers.ModelSerializer[GrantBasis]):
    """A basis, and where its approval stands; it counts once finance approved it."""

    grant = serializers.IntegerField(source="grant_id")
    purchase = serializers.IntegerField(source="purchase_id", allow_null=True)
    price = serializers.SerializerMethodField()
    policy_change = serializers.IntegerField(source="policy_change_id")
    status = serializers.CharField(source="policy_change.status")

    class Meta:
        model = GrantBasis
        fields = (
            "id", "grant", "cause", "price", "currency", "purchase", "evidence", "policy_change",
            "status",
        )  # fmt: skip

    def get_price(self, basis: GrantBasis) -> str:
        """Return major units with the currency's decimals."""
        return amount_text(basis.price_minor, basis.currency)


class GrantBasesView(ApiView):
    """Bases of grants."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(responses=GrantBasisOutput(many=True))
    def get(self, request: Request) -> Response:
        """List bases, newest first."""
        bases = GrantBasis.objects.select_related("policy_change").order_by("-id")
        return self.page(request, bases, GrantBasisOutput)

    @extend_schema(request=GrantBasisInput, responses={201: GrantBasisOutput})
    def post(self, request: Request) -> Response:
        """Propose a basis; finance approves it in the back office."""
        wanted = self.valid(GrantBasisInput, request.data)
        by, at = cast(User, request.user), clock.now()
        grant = _grant(wanted["grant"], "grant")
        if wanted["cause"] == BasisCause.CONCESSION:
            made = propose_concession(
                grant=grant, price_minor=_conceded(wanted, grant), evidence=wanted["evidence"],
                proposal=basis_words(f"Concession by grant {grant.pk}", wanted["evidence"], at),
                by=by, at=at,
            )  # fmt: skip
        else:
            purchase = _grant(_said(wanted, "purchase"), "purchase")
            made = propose_bonus(
                grant=grant, purchase=purchase, alone=Alone(**_said(wanted, "alone")),
                purchase_alone=Alone(**_said(wanted, "purchase_alone")),
                evidence=wanted["evidence"],
                proposal=basis_words(f"Bonus of grant {purchase.pk}", wanted["evidence"], at),
                by=by, at=at,
            )  # fmt: skip
        return Response(GrantBasisOutput(made).data, status=201)


def _grant(pk: int, field: str) -> CreditGrant:
    found = CreditGrant.objects.filter(pk=pk).first()
    if found is None:
        raise Invalid(f"there is no credit grant {pk}", field=field)
    return found


def _conceded(wanted: dict[str, Any], grant: CreditGrant) -> int:
    price: Money = _said(wanted, "concession")
    if price.currency != grant.currency:
        raise Invalid(
            f"the grant is in {grant.currency}, not in {price.currency}",
            field="concession.currency",
        )
    return price.amount_minor


def _said(wanted: dict[str, Any], name: str) -> Any:
    if name not in wanted:
        raise Invalid(f"a {wanted['cause']} names its {name}", field=name)
    return wanted[name]
