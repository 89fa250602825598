"""Scenarios over HTTP: run mixes and customers under plans' terms, and attach them to a proposal.

What is attached is kept with its hash, and can be read again; what is only asked for is not.
"""

from decimal import Decimal
from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.console.scenarios import Report, compare
from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.evidence import attach_evidence
from billing_project.kernel.models import PolicyChange, PolicyEvidence, User
from billing_project.kernel.rest.fields import (
    ExternalIdField,
    IntegerField,
    QuantityField,
    UtcDateTimeField,
)
from billing_project.kernel.rest.views import ApiView
from credits.mixes import BadMix, Mix, Shape, presets, refuse_bad_mix
from metering.selectors.customers import customer_named
from revrec.selectors.scenarios import changes_of, models_in_use

_KIND = "scenario"
_MOST_MIXES, _MOST_MODELS = 10, 50
Models = tuple[tuple[str, Any], ...]


class ModelWeight(serializers.Serializer[Any]):
    """A model, and how much of the tokens it has beside the others."""

    model = serializers.CharField(max_length=128)
    weight = QuantityField(default=Decimal(1))


class MixRequest(serializers.Serializer[Any]):
    """What one billing period might use."""

    name = serializers.CharField(max_length=60)
    calls = serializers.IntegerField(min_value=0)
    megatokens = QuantityField(help_text="Millions of tokens, input and output together.")
    output_percent = QuantityField(default=Decimal(0), help_text="Of all tokens.")
    cached_percent = QuantityField(default=Decimal(0), help_text="Of the input tokens.")
    shape = serializers.ChoiceField([one.value for one in Shape], default=Shape.STEADY.value)


class ScenarioRequest(serializers.Serializer[Any]):
    """Under which terms and rates, and whose usage: mixes, or a customer's last period."""

    plans = serializers.ListField(
        child=serializers.IntegerField(), min_length=1, max_length=2,
        help_text="Policy changes of plans, drafts too: ids of GET /v1/policies.",
    )  # fmt: skip
    rates = serializers.IntegerField(
        required=False, allow_null=True, default=None,
        help_text="A policy change of a rate card; without one, the rates in force.",
    )  # fmt: skip
    models = ModelWeight(many=True, required=False, default=list)
    mixes = MixRequest(many=True, required=False, default=list)
    presets = serializers.BooleanField(default=True, help_text="Low, medium and heavy too.")
    customer = ExternalIdField(required=False, allow_null=True, default=None)
    attach_to = serializers.IntegerField(
        required=False, allow_null=True, default=None,
        help_text="An open proposal that takes the figures as its evidence.",
    )  # fmt: skip

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """Bound what one request computes."""
        for name, most in (("mixes", _MOST_MIXES), ("models", _MOST_MODELS)):
            if len(data[name]) > most:
                raise serializers.ValidationError({name: f"has {most} at most"})
        if not (data["mixes"] or data["presets"] or data["customer"]):
            raise serializers.ValidationError({"mixes": "name a mix, a customer or the presets"})
        return data


class ScenarioSerializer(serializers.Serializer[Any]):
    """The figures, a row for each scenario and plan; `id` of those that are kept."""

    id = serializers.CharField(allow_null=True)
    change = serializers.CharField(allow_null=True, help_text="The proposal they are evidence of.")
    title = serializers.CharField()
    basis = serializers.CharField()
    rows = serializers.ListField(child=serializers.DictField(child=serializers.CharField()))
    sha256 = serializers.CharField(allow_null=True)
    attached_by = serializers.CharField(allow_null=True)
    attached_at = UtcDateTimeField(allow_null=True)


class KeptScenarioSerializer(ScenarioSerializer):
    """What was attached to a proposal, as it was."""

    def to_representation(self, instance: PolicyEvidence) -> dict[str, Any]:
        """Write a row of evidence."""
        return _kept(instance)


class ScenariosQuery(serializers.Serializer[Any]):
    """Of which proposal."""

    change = IntegerField(required=False)


class ScenariosView(ApiView):
    """Scenarios."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}

    @extend_schema(parameters=[ScenariosQuery], responses=KeptScenarioSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List scenarios that were attached to proposals, the newest first."""
        query = self.valid_query(ScenariosQuery)
        rows = _EVIDENCE.order_by("-pk")
        if "change" in query:
            rows = rows.filter(change=query["change"])
        return self.page(request, rows, KeptScenarioSerializer)

    @extend_schema(
        request=ScenarioRequest, responses={200: ScenarioSerializer, 201: ScenarioSerializer}
    )
    def post(self, request: Request) -> Response:
        """Run scenarios; with `attach_to`, keep them as evidence (201)."""
        sent = self.valid(ScenarioRequest, request.data)
        at = clock.now()
        plans = [_change(pk, "plan", "plans") for pk in dict.fromkeys(sent["plans"])]
        rates = _change(sent["rates"], "rate_card", "rates") if sent["rates"] is not None else None
        models = tuple((one["model"], one["weight"]) for one in sent["models"])
        mixes = _mixes(sent, models or models_in_use(at))
        customer = customer_named(sent["customer"]) if sent["customer"] else None
        report = compare(plans, rates, mixes, customer, at)
        if sent["attach_to"] is None:
            return Response(_computed(report))
        change = PolicyChange.objects.filter(pk=sent["attach_to"]).first()
        if change is None:
            raise Invalid(f"there is no proposal {sent['attach_to']}", field="attach_to")
        row = attach_evidence(
            change=change, kind=_KIND, document=report.document, by=cast(User, request.user), at=at
        )
        return Response(_kept(row), status=status.HTTP_201_CREATED)


class ScenarioView(ApiView):
    """One scenario that was attached."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(responses=KeptScenarioSerializer)
    def get(self, request: Request, scenario_id: int) -> Response:
        """Answer the figures as their approvers saw them."""
        row = _EVIDENCE.filter(pk=scenario_id).first()
        if row is None:
            raise NotFound(f"there is no scenario {scenario_id}")
        return Response(_kept(row))


_EVIDENCE = PolicyEvidence.objects.filter(kind=_KIND).select_related("attached_by")


def _change(pk: int, kind: str, field: str) -> PolicyChange:
    for change in changes_of(kind):
        if change.pk == pk:
            return change
    raise Invalid(f"no change {pk} of a {kind.replace('_', ' ')} can be looked at", field=field)


def _mixes(sent: dict[str, Any], models: Models) -> list[Mix]:
    """Make what was asked for.

    Raises:
        Invalid: a mix that nobody can use.
    """
    if not models and (sent["mixes"] or sent["presets"]):
        raise Invalid("nothing was used yet: name models", field="models")
    own = [Mix(**{**one, "shape": Shape(one["shape"])}, models=models) for one in sent["mixes"]]
    mixes = [*(presets(models) if sent["presets"] else ()), *own]
    try:
        for mix in mixes:
            refuse_bad_mix(mix)
    except BadMix as error:
        raise Invalid(str(error), field=error.field) from error
    return mixes


def _computed(report: Report) -> dict[str, Any]:
    document = report.document
    return {
        "id": None, "change": None, "title": document.title, "basis": document.basis,
        "rows": [dict(zip(document.columns, row, strict=True)) for row in document.rows],
        "sha256": None, "attached_by": None, "attached_at": None,
    }  # fmt: skip


def _kept(row: PolicyEvidence) -> dict[str, Any]:
    said = row.document
    return {
        "id": f"{row.pk}", "change": f"{row.change_id}", "title": row.title,
        "basis": said["basis"],
        "rows": [dict(zip(said["columns"], one, strict=True)) for one in said["rows"]],
        "sha256": row.document_sha256, "attached_by": row.attached_by.username,
        "attached_at": UtcDateTimeField().to_representation(row.attached_at),
    }  # fmt: skip
