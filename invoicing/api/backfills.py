"""/v1/backfills: replace a time range of a customer's events as one object.

Approval is a person's, in the back office; everything else can be done by a key.
"""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.parsing import BytesParser
from billing_project.kernel.rest.views import ApiRequest, ApiView
from invoicing.services.backfill_work import ring_worker
from invoicing.services.backfills import preview_backfill
from metering.events import decode_body
from metering.models import Backfill, BackfillRunState, BackfillWork
from metering.selectors.backfills import (
    PREVIEWED_AT_ONCE,
    backfills,
    counts_of,
    errors_of,
    find_backfill,
    is_large,
    newest_preview,
    newest_proposal,
)
from metering.selectors.customers import customer_named
from metering.services.backfill_runs import refuse_worked_on, start_work
from metering.services.backfills import (
    Line,
    add_backfill_lines,
    discard_backfill,
    next_line,
    start_backfill,
)

_ADMIN: dict[str, str] = {"POST": "admin"}
_READ: dict[str, str] = {"GET": "usage:read"}


class BackfillInput(serializers.Serializer[Any]):
    """A range of whole UTC hours, [start, end), and why it is replaced."""

    customer = ExternalIdField()
    start = UtcDateTimeField()
    end = UtcDateTimeField()
    event_names = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, max_length=100, default=list
    )
    reason = serializers.CharField(max_length=1000)


class BackfillRunOutput(serializers.Serializer[Any]):
    """What the worker does on a backfill; ask for the backfill again until it is over.

    `fault` says why it failed, or why it waits until `not_before` to be tried again.
    """

    kind = serializers.ChoiceField(choices=BackfillWork.choices)
    state = serializers.ChoiceField(choices=BackfillRunState.choices)
    percent = serializers.IntegerField()
    step = serializers.CharField()
    done = serializers.IntegerField(source="done_count")
    total = serializers.IntegerField(source="total_count")
    accepted = serializers.IntegerField(source="accepted_count")
    repeated = serializers.IntegerField(source="repeated_count")
    refused = serializers.IntegerField(source="refused_count")
    fault = serializers.CharField()
    not_before = UtcDateTimeField(allow_null=True)
    requested_at = UtcDateTimeField()
    finished_at = UtcDateTimeField(allow_null=True)


class BackfillOutput(serializers.Serializer[Any]):
    """A backfill and how far it is; `decision` is the state of its newest proposal.

    `run` is what the worker was asked to do last, or null.
    """

    id = serializers.IntegerField()
    customer = serializers.CharField(source="customer.external_id")
    start = UtcDateTimeField(source="start_at")
    end = UtcDateTimeField(source="end_at")
    event_names = serializers.ListField(child=serializers.CharField())
    reason = serializers.CharField()
    state = serializers.CharField()
    decision = serializers.SerializerMethodField()
    lines = serializers.SerializerMethodField()
    faults = serializers.SerializerMethodField()
    added = serializers.SerializerMethodField()
    adjustments = serializers.SerializerMethodField()
    run = serializers.SerializerMethodField()
    created_at = UtcDateTimeField()
    applied_at = UtcDateTimeField(allow_null=True)
    reverted_at = UtcDateTimeField(allow_null=True)

    def get_decision(self, backfill: Backfill) -> str | None:
        """Return what became of the proposal, or null before the first."""
        proposal = newest_proposal(backfill)
        return None if proposal is None else str(proposal.policy_change.status)

    def get_lines(self, backfill: Backfill) -> int:
        """Count the uploaded events."""
        return counts_of(backfill).line_count

    def get_faults(self, backfill: Backfill) -> int:
        """Count the lines that could not be taken in."""
        return counts_of(backfill).error_count

    def get_added(self, backfill: Backfill) -> int:
        """Count the events that it stored."""
        return counts_of(backfill).added_count

    def get_adjustments(self, backfill: Backfill) -> int:
        """Count the adjustments that it made, its revert's among them."""
        return counts_of(backfill).adjustment_count

    @extend_schema_field(BackfillRunOutput(allow_null=True))
    def get_run(self, backfill: Backfill) -> object:
        """Return what the worker was asked to do last, or null."""
        run = backfill.runs.first()
        return None if run is None else BackfillRunOutput(run).data


class BackfillQuery(serializers.Serializer[Any]):
    """Whose backfills."""

    customer = ExternalIdField(required=False)


class BackfillFaultOutput(serializers.Serializer[Any]):
    """One line that cannot be an event of the backfill."""

    line = serializers.IntegerField()
    identifier = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class BackfillUploadOutput(serializers.Serializer[Any]):
    """What became of a batch; the faults are listed under `/faults`."""

    accepted = serializers.IntegerField()
    repeated = serializers.IntegerField()
    refused = serializers.IntegerField()


class BackfillEffectOutput(serializers.Serializer[Any]):
    """What a backfill would change if it were applied at `as_of`; nothing of it is stored."""

    as_of = UtcDateTimeField()
    lines = serializers.IntegerField()
    added = serializers.IntegerField()
    amended = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    reinstated = serializers.IntegerField()
    kept = serializers.IntegerField()
    money = serializers.ListField(child=serializers.DictField())
    quantity_count = serializers.IntegerField()
    quantities = serializers.ListField(child=serializers.DictField())


class BackfillReasonInput(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=1000)


class BackfillsView(ApiView):
    """Begin and list backfills."""

    scopes: ClassVar[dict[str, str]] = {**_READ, **_ADMIN}

    @extend_schema(request=BackfillInput, responses={201: BackfillOutput})
    def post(self, request: Request) -> Response:
        """Begin to replace a range; its events are uploaded next."""
        values = self.valid(BackfillInput, request.data)
        backfill = start_backfill(
            customer=customer_named(values["customer"]),
            start_at=values["start"],
            end_at=values["end"],
            event_names=values["event_names"],
            reason=values["reason"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(BackfillOutput(backfill).data, status=201)

    @extend_schema(parameters=[BackfillQuery], responses=BackfillOutput(many=True))
    def get(self, request: Request) -> Response:
        """List backfills."""
        query = self.valid_query(BackfillQuery)
        return self.page(request, backfills(query.get("customer")), BackfillOutput)


class BackfillView(ApiView):
    """One backfill."""

    scopes = _READ

    @extend_schema(responses=BackfillOutput)
    def get(self, request: Request, backfill_id: int) -> Response:
        """Return a backfill and how far it is."""
        return Response(BackfillOutput(find_backfill(backfill_id)).data)


class BackfillEventsView(ApiView):
    """The events of the range, in batches."""

    scopes = _ADMIN
    parser_classes = [BytesParser]

    @extend_schema(request=None, responses=BackfillUploadOutput)
    def post(self, request: ApiRequest, backfill_id: int) -> Response:
        """Upload one event or `{"events": [...]}`, as to `/v1/events`; with timestamps."""
        backfill = find_backfill(backfill_id)
        refuse_worked_on(backfill)
        items = decode_body(request.raw_body).items
        lines = [Line(n, item) for n, item in enumerate(items, start=next_line(backfill))]
        result = add_backfill_lines(
            backfill=backfill, lines=lines, by=cast(User, request.user), at=clock.now()
        )
        return Response(BackfillUploadOutput(result).data)


class BackfillFaultsView(ApiView):
    """Lines with faults."""

    scopes = _READ

    @extend_schema(responses=BackfillFaultOutput(many=True))
    def get(self, request: Request, backfill_id: int) -> Response:
        """List the lines that could not be taken in."""
        faults = errors_of(find_backfill(backfill_id))
        return self.page(request, faults, BackfillFaultOutput)


_RESPONSES = {200: BackfillOutput, 202: BackfillOutput}


class _WorkView(ApiView):
    """Ask the worker; the answer is 202 and the backfill with its run, 200 if nothing is left."""

    scopes = _ADMIN

    def ask(self, request: Request, pk: int, kind: BackfillWork, reason: str = "") -> Response:
        """Ask for work, and say where it is."""
        run = start_work(
            backfill=find_backfill(pk),
            kind=kind,
            reason=reason,
            by=cast(User, request.user),
            at=clock.now(),
        )
        if run is None:
            return Response(BackfillOutput(find_backfill(pk)).data)
        ring_worker()
        where = {"Location": f"/v1/backfills/{pk}"}
        return Response(BackfillOutput(find_backfill(pk)).data, status=202, headers=where)


class BackfillPreviewView(_WorkView):
    """What it would change: at once where the range is small, else by the worker."""

    scopes: ClassVar[dict[str, str]] = {
        "GET": "admin",  # A trial takes a real run's locks.
        **_ADMIN,
    }

    @extend_schema(responses=BackfillEffectOutput)
    def get(self, request: Request, backfill_id: int) -> Response:
        """Compare quantities, credits and money before and after.

        Of more than 20,000 events the worker's last preview is answered; before it made one of what
        is uploaded now, 409 `preview_takes_long`.
        """
        backfill, at = find_backfill(backfill_id), clock.now()
        if not is_large(backfill):
            priced = preview_backfill(backfill=backfill, by=cast(User, request.user), at=at)
            return Response(BackfillEffectOutput({**priced.effect(), "as_of": at}).data)
        run = newest_preview(backfill)
        if run is None:
            raise Conflict(
                f"a preview of more than {PREVIEWED_AT_ONCE:,} events takes long: POST to"
                " this address for the worker to make it, then ask again",
                code="preview_takes_long",
            )
        return Response(BackfillEffectOutput({**(run.effect or {}), "as_of": run.finished_at}).data)

    @extend_schema(request=None, responses={202: BackfillOutput})
    def post(self, request: Request, backfill_id: int) -> Response:
        """Let the worker preview it; once `run.state` is `finished`, GET answers with it."""
        return self.ask(request, backfill_id, BackfillWork.PREVIEW)


class BackfillSubmitView(_WorkView):
    """Put it before a person."""

    @extend_schema(request=None, responses={202: BackfillOutput})
    def post(self, request: Request, backfill_id: int) -> Response:
        """Propose the previewed state; a finance approver decides in the back office."""
        return self.ask(request, backfill_id, BackfillWork.SUBMIT)


class BackfillApplyView(_WorkView):
    """Let it take effect."""

    @extend_schema(request=None, responses=_RESPONSES)
    def post(self, request: Request, backfill_id: int) -> Response:
        """Apply an approved backfill; its run fails if the range has changed since its preview."""
        return self.ask(request, backfill_id, BackfillWork.APPLY)


class BackfillRevertView(_WorkView):
    """Take it back."""

    @extend_schema(request=BackfillReasonInput, responses=_RESPONSES)
    def post(self, request: Request, backfill_id: int) -> Response:
        """Revert an applied backfill; what was adjusted since stays as it is."""
        values = self.valid(BackfillReasonInput, request.data)
        return self.ask(request, backfill_id, BackfillWork.REVERT, values["reason"])


class BackfillDiscardView(ApiView):
    """Give it up."""

    scopes = _ADMIN

    @extend_schema(request=BackfillReasonInput, responses=BackfillOutput)
    def post(self, request: Request, backfill_id: int) -> Response:
        """Discard a backfill that was not applied."""
        values = self.valid(BackfillReasonInput, request.data)
        backfill = find_backfill(backfill_id)
        refuse_worked_on(backfill)
        done = discard_backfill(
            backfill=backfill,
            reason=values["reason"],
            by=cast(User, request.user),
            at=clock.now(),
        )
        return Response(BackfillOutput(done).data)
