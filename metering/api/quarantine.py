"""What was kept and waits: read it by row or by cause, mend the cause, replay, dismiss."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, IntegerField, UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.views import ApiView
from metering.api.meters import MeterSerializer
from metering.models.event import QuarantineReason, QuarantineState
from metering.selectors.customers import customer_named
from metering.selectors.quarantine import Chosen, groups
from metering.services.mapping import map_customer_part, map_event_name
from metering.services.quarantine import (
    AT_ONCE,
    ReplayedPart,
    dismiss_quarantined,
    open_ids,
    replay_part,
)

_MOST = 2**63 - 1
_WHICH_ROWS = "say which rows: customer, event_name, reason, missing or ids"


class QuarantinedSerializer(serializers.Serializer[Any]):
    """An event that was received and kept."""

    id = serializers.IntegerField()
    customer = serializers.CharField(source="customer_external_id")
    workspace = serializers.CharField(source="workspace_external_id")
    event_name = serializers.CharField()
    identifier = serializers.CharField()
    timestamp = UtcDateTimeField()
    properties = serializers.DictField()
    reason = serializers.ChoiceField(QuarantineReason.choices)
    detail = serializers.CharField()
    state = serializers.ChoiceField(QuarantineState.choices)
    received_at = UtcDateTimeField()
    resolved_at = UtcDateTimeField(allow_null=True)
    resolution = serializers.CharField()


class ChoiceSerializer(serializers.Serializer[Any]):
    """Which rows; all that is given must match."""

    customer = ExternalIdField(required=False)
    event_name = serializers.CharField(max_length=100, required=False)
    reason = serializers.ChoiceField(QuarantineReason.choices, required=False)


class QuarantineQuerySerializer(ChoiceSerializer):
    """Which quarantined events to list."""

    state = serializers.ChoiceField(QuarantineState.choices, default=QuarantineState.OPEN)


class GroupSampleSerializer(serializers.Serializer[Any]):
    """The newest event of a group."""

    customer = serializers.CharField(source="customer_external_id")
    event_name = serializers.CharField()
    identifier = serializers.CharField()
    properties = serializers.DictField()
    detail = serializers.CharField()


class GroupSerializer(serializers.Serializer[Any]):
    """Open events that wait for one and the same thing."""

    reason = serializers.ChoiceField(QuarantineReason.choices)
    missing = serializers.CharField(
        help_text="The unknown customer's id or event name, the value a meter misses, or the"
        " customer whose reports contradict each other."
    )
    owner = serializers.CharField(source="role", help_text="The role that answers for it.")
    person = serializers.CharField(
        source="person.username", allow_null=True, default=None, help_text="Who was named."
    )
    events = serializers.IntegerField(source="event_count")
    customers = serializers.IntegerField(source="customer_count")
    event_names = serializers.IntegerField(source="event_name_count")
    first_seen_at = UtcDateTimeField()
    last_seen_at = UtcDateTimeField()
    sample = GroupSampleSerializer()


class GroupQuerySerializer(serializers.Serializer[Any]):
    """Which groups to list."""

    reason = serializers.ChoiceField(QuarantineReason.choices, required=False)
    owner = serializers.CharField(max_length=20, required=False)


class RowsSerializer(ChoiceSerializer):
    """Which open rows to work on."""

    missing = serializers.CharField(
        max_length=400, required=False, help_text="What a group waits for, as groups name it."
    )
    ids = serializers.ListField(
        child=IntegerField(min_value=1, max_value=_MOST), required=False, max_length=1000
    )


class ReplaySerializer(RowsSerializer):
    """Which open rows to try again: some by their filter, or all by saying so."""

    all = serializers.BooleanField(
        default=False,
        help_text="Try every open row; takes no filter. Late events that a rule keeps are passed"
        " over: they are asked for by reason or ids.",
    )
    after = IntegerField(
        min_value=0, max_value=_MOST, default=0, help_text="`last_id` of the answer before."
    )


class DismissSerializer(RowsSerializer):
    """Which open rows are never to be billed, and why."""

    note = serializers.CharField(max_length=1000, help_text="Why; kept with each row.")


class MapSerializer(serializers.Serializer[Any]):
    """An unknown customer's id with its customer, or an unknown event name with its meter."""

    external_id = ExternalIdField(required=False, help_text="The unknown id.")
    customer = ExternalIdField(required=False, help_text="Whose usage comes under it.")
    event_name = serializers.CharField(max_length=100, required=False)
    meter = serializers.DictField(
        required=False, help_text="As POST /v1/meters takes it, without event_name."
    )
    note = serializers.CharField(max_length=1000, help_text="Why; kept in the audit trail.")


class ReplayResultSerializer(serializers.Serializer[Any]):
    """How many open rows were tried, what became of them, and how many are left to try."""

    tried = serializers.IntegerField()
    replayed = serializers.IntegerField()
    still_open = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    superseded = serializers.IntegerField()
    left = serializers.IntegerField(help_text="Not tried yet: post again with after=last_id.")
    last_id = serializers.IntegerField()


class DismissedSerializer(serializers.Serializer[Any]):
    """How many rows were dismissed, and how many of the choice are left."""

    dismissed = serializers.IntegerField()
    left = serializers.IntegerField(help_text="Post again until nothing is left.")


class QuarantineView(ApiView):
    """Quarantined events."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(
        parameters=[QuarantineQuerySerializer], responses=QuarantinedSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List quarantined events; open ones unless another state is asked for."""
        query = self.valid_query(QuarantineQuerySerializer)
        rows = chosen_by(query).rows().filter(state=query["state"])
        return self.page(request, rows, QuarantinedSerializer)


class QuarantineGroupsView(ApiView):
    """What waits, by its cause."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read"}

    @extend_schema(parameters=[GroupQuerySerializer], responses=GroupSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the largest groups of open events, each with its owner and newest sample."""
        query = self.valid_query(GroupQuerySerializer)
        found = groups()
        if "reason" in query:
            found = found.filter(reason=query["reason"])
        if "owner" in query:
            found = found.filter(role=query["owner"])
        rows = found[: Page.of(request).limit]
        return Response({"data": GroupSerializer(rows, many=True).data, "next_cursor": None})


class QuarantineReplayView(ApiView):
    """Try quarantined events again."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ReplaySerializer, responses=ReplayResultSerializer)
    def post(self, request: Request) -> Response:
        """Store what has become billable.

        At most 1,000 rows at a time: `tried` says how many those were, `left` how many another
        post with `after` would try. Replaying bills: a post that says neither which rows nor
        `"all": true` is refused.
        """
        values = self.valid(ReplaySerializer, request.data)
        chosen = chosen_by(values)
        if chosen.is_all() is not values["all"]:
            raise Invalid(f"{_WHICH_ROWS}; or all, and nothing else")
        part = replay_part(
            chosen=chosen,
            by=cast(User, request.user),
            at=clock.now(),
            after_id=values["after"],
        )
        return Response(_told(part))


class QuarantineDismissView(ApiView):
    """Close quarantined events without billing them."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=DismissSerializer, responses=DismissedSerializer)
    def post(self, request: Request) -> Response:
        """Dismiss the chosen open rows, at most 1,000 at a time; they are kept."""
        values = self.valid(DismissSerializer, request.data)
        chosen = chosen_by(values)
        if chosen.is_all():
            raise Invalid(_WHICH_ROWS)
        count = dismiss_quarantined(
            ids=open_ids(chosen, AT_ONCE),
            reason=values["note"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        left = chosen.open_rows().count()
        return Response(DismissedSerializer({"dismissed": count, "left": left}).data)


class QuarantineMapView(ApiView):
    """Mend what events wait for."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=MapSerializer, responses=ReplayResultSerializer)
    def post(self, request: Request) -> Response:
        """Let an unknown id name a customer, or make a meter for an unknown event name; replay."""
        values = self.valid(MapSerializer, request.data)
        by, at, note = cast(User, request.user), clock.now(), values.pop("note")
        if set(values) == {"external_id", "customer"}:
            part = map_customer_part(
                external_id=values["external_id"],
                customer=customer_named(values["customer"]),
                reason=note,
                by=by,
                at=at,
            )
        elif set(values) == {"event_name", "meter"}:
            meter = _meter(self, values)
            name = meter.pop("event_name")
            _, part = map_event_name(event_name=name, meter=meter, reason=note, by=by, at=at)
        else:
            raise Invalid("a mapping is external_id with customer, or event_name with meter")
        return Response(_told(part))


def chosen_by(values: dict[str, Any]) -> Chosen:
    """Read which rows are meant."""
    return Chosen(
        customer_external_id=values.get("customer"),
        event_name=values.get("event_name"),
        reason=values.get("reason"),
        missing=values.get("missing"),
        ids=values.get("ids"),
    )


def _meter(view: ApiView, values: dict[str, Any]) -> dict[str, Any]:
    meter = view.valid(MeterSerializer, {**values["meter"], "event_name": values["event_name"]})
    return {"name": meter["code"], **meter}


def _told(part: ReplayedPart) -> dict[str, Any]:
    counts = ReplayResultSerializer(
        {
            "tried": part.result.tried,
            "replayed": part.result.replayed,
            "still_open": part.result.still_open,
            "duplicates": part.result.duplicates,
            "conflicts": part.result.conflicts,
            "superseded": part.result.superseded,
            "left": part.left,
            "last_id": part.last_id,
        }
    )
    return dict(counts.data)
