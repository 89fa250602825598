"""The registry of policies over HTTP: what is in force at an instant, or the whole history."""

import json
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.console.policies import Entry, policies_at
from billing_project.kernel.clock import now
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.views import ApiView


class PoliciesQuery(serializers.Serializer[Any]):
    """Which policies, at which instant; without one, now."""

    kind = serializers.CharField(required=False, max_length=40)
    rule = serializers.CharField(required=False, max_length=120)
    on = UtcDateTimeField(required=False)
    history = serializers.BooleanField(required=False, default=False)


class ApprovalOut(serializers.Serializer[Any]):
    """One person's approval."""

    function = serializers.CharField()
    by = serializers.CharField(source="by.username")
    at = UtcDateTimeField()
    sha256 = serializers.CharField(help_text="Of the words, dates and content that were signed.")
    reason = serializers.CharField()


class DifferenceOut(serializers.Serializer[Any]):
    """One value before and after; null where it did not exist."""

    path = serializers.CharField()
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True)


class PolicyOut(serializers.Serializer[Any]):
    """One version of one policy."""

    id = serializers.IntegerField(source="change.pk")
    rule = serializers.CharField()
    kind = serializers.CharField(source="kind.code")
    subject = serializers.CharField(source="change.subject")
    title = serializers.CharField(source="change.title")
    state = serializers.CharField(help_text="At the instant that was asked about.")
    effective_at = UtcDateTimeField(source="change.effective_at")
    expires_at = UtcDateTimeField(source="change.expires_at", allow_null=True)
    superseded_at = UtcDateTimeField(allow_null=True)
    product_requirement = serializers.CharField(source="change.product_requirement")
    engineering_note = serializers.CharField(source="change.engineering_note")
    reason_code = serializers.CharField(source="change.reason_code")
    proposed_by = serializers.CharField(source="change.proposed_by.username")
    proposed_at = UtcDateTimeField(source="change.proposed_at")
    needs = serializers.ListField(source="change.needs", child=serializers.CharField())
    approvals = ApprovalOut(many=True)
    differences = DifferenceOut(source="changed", many=True)
    content_sha256 = serializers.CharField(source="change.content_sha256")
    sha256 = serializers.CharField()
    content = serializers.SerializerMethodField()

    def get_content(self, entry: Entry) -> dict[str, Any]:
        """Return the whole version."""
        content: dict[str, Any] = json.loads(entry.change.content)
        return content


class PoliciesOut(serializers.Serializer[Any]):
    """Policies by rule, the newest version first."""

    as_of = UtcDateTimeField()
    data = PolicyOut(many=True)  # type: ignore[assignment]


class PoliciesView(ApiView):
    """The registry of policies."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[PoliciesQuery], responses=PoliciesOut)
    def get(self, request: Request) -> Response:
        """List the policies in force at an instant, or all versions with their state then."""
        query = self.valid_query(PoliciesQuery)
        at = query.get("on") or now()
        entries = policies_at(
            at,
            kind=query.get("kind", ""),
            rule=query.get("rule", ""),
            is_in_force=not query["history"],
        )
        return Response(PoliciesOut({"as_of": at, "data": entries}).data)
