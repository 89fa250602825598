"""Usage in: one event or a batch, read as bytes and answered item by item."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.utils.http import parse_header_parameters
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.keys import live_key_ids, remembered_api_key
from billing_project.kernel.models import ApiKey
from billing_project.kernel.rest.auth import REVOKED, ApiKeyAuthentication
from billing_project.kernel.rest.errors import PROBLEM_TYPE, problem
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.parsing import BytesParser
from billing_project.kernel.rest.views import ApiRequest, ApiView
from metering.api.gathering import GATHERER
from metering.cloudevents import (
    CLOUD_BATCH,
    CLOUD_EVENT,
    decode_cloud_batch,
    decode_cloud_event,
)
from metering.events import BadItem, Body, EventInput, decode_body
from metering.judging import Status
from metering.selectors.customers import customer_named
from metering.selectors.events import newest_events
from metering.services.capture import CaptureResult, ItemResult, capture_events
from metering.services.plain import store_plain_batch

_JSON = "application/json"
_PROBLEMS = {Status.CONFLICT: 409, Status.REJECTED: 422}
_CLOUD = {CLOUD_EVENT: decode_cloud_event, CLOUD_BATCH: decode_cloud_batch}


class CloudEventParser(BytesParser):
    """One CloudEvent, left as bytes."""

    media_type = CLOUD_EVENT


class CloudBatchParser(BytesParser):
    """A batch of CloudEvents, left as bytes."""

    media_type = CLOUD_BATCH


class EventSerializer(serializers.Serializer[Any]):
    """One report of use (documentation; bodies are decoded by `metering.events`)."""

    event_name = serializers.CharField(max_length=100)
    identifier = serializers.RegexField(r"^[A-Za-z0-9._:/-]{1,128}\Z")
    customer = ExternalIdField(source="customer.external_id")
    workspace = ExternalIdField(
        source="workspace.external_id", required=False, allow_null=True, default=None
    )
    timestamp = UtcDateTimeField(required=False)
    properties = serializers.DictField(required=False)


class StoredEventSerializer(EventSerializer):
    """A stored event, as it was sent."""

    received_at = UtcDateTimeField(read_only=True)


class ItemResultSerializer(serializers.Serializer[Any]):
    """What became of an item that was not plainly accepted."""

    index = serializers.IntegerField()
    identifier = serializers.CharField()
    status = serializers.ChoiceField([(str(one), str(one)) for one in Status])
    path = serializers.CharField(help_text="Which part of the item `detail` is about; $ is all.")
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchSerializer(serializers.Serializer[Any]):
    """One to 1,000 events."""

    events = EventSerializer(many=True)


class CloudEventSerializer(serializers.Serializer[Any]):
    """A CloudEvent 1.0 (documentation; bodies are decoded by `metering.cloudevents`)."""

    specversion = serializers.CharField()
    id = serializers.CharField()
    source = serializers.CharField(help_text="Key, with id.")  # type: ignore[assignment]
    type = serializers.CharField(max_length=100, help_text="The event's name.")
    subject = serializers.CharField(help_text="The customer.")
    time = UtcDateTimeField(required=False)
    workspace = ExternalIdField(required=False, allow_null=True)
    datacontenttype = serializers.CharField(required=False)
    data = serializers.DictField(required=False)  # type: ignore[assignment]


class EventResultSerializer(serializers.Serializer[Any]):
    """The answer to one event; why, where it was not plainly accepted."""

    identifier = serializers.CharField()
    status = serializers.CharField()
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class CaptureResultSerializer(serializers.Serializer[Any]):
    """The answer to a batch."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    quarantined = serializers.IntegerField()
    rejected = serializers.IntegerField()
    results = ItemResultSerializer(many=True)


class EventQuerySerializer(serializers.Serializer[Any]):
    """Which events to list."""

    customer = ExternalIdField()
    event_name = serializers.CharField(max_length=100, required=False)
    start = UtcDateTimeField(required=False)
    end = UtcDateTimeField(required=False)


class EventsView(ApiView):
    """Events: POST to report use, GET to read reports back."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "events:write"}
    takes_idempotency_key = False  # `identifier` is the key, for ever.
    parser_classes = [BytesParser, CloudEventParser, CloudBatchParser]

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Reports come often: their key is remembered, and asked for again as they are stored."""
        if self.request is not None and self.request.method == "POST":
            return [ApiKeyAuthentication(remembered_api_key)]
        return super().get_authenticators()

    @extend_schema(parameters=[EventQuerySerializer], responses=StoredEventSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List a customer's stored events, newest first; archived ones come from their files."""
        asked, page = self.valid_query(EventQuerySerializer), Page.of(request)
        customer = customer_named(asked.pop("customer"))
        if "start" in asked and "end" in asked and asked["end"] <= asked["start"]:
            raise Invalid("start comes before end")
        events = newest_events(customer, **asked, below=page.before_id, most=page.limit + 1)
        rows, next_cursor = page.cut(events)
        data = StoredEventSerializer(rows, many=True).data
        return Response({"data": data, "next_cursor": next_cursor})

    @extend_schema(
        request={
            "application/json": EventSerializer,
            "application/json; batch": BatchSerializer,
            CLOUD_EVENT: CloudEventSerializer,
            CLOUD_BATCH: CloudEventSerializer(many=True),
        },
        responses={
            200: PolymorphicProxySerializer(
                "Captured", [CaptureResultSerializer, EventResultSerializer], None
            )
        },
    )
    def post(self, request: ApiRequest) -> Response:
        """Store one event, or a batch whose items are judged one by one."""
        sent: Any = request.data or b""  # BytesParser's bytes.
        body = _decoded(request.content_type, sent)
        key: ApiKey = request.auth  # type: ignore[assignment]
        if not body.is_batch:
            (item,) = body.items
            status, content, content_type = single_answer(item, GATHERER.store(item, key))
            return Response(content, status, content_type=content_type)
        return Response(batch_answer(body.items, key))


def _decoded(content_type: str, sent: bytes) -> Body:
    """Read the body as its content type says."""
    media_type, params = parse_header_parameters(content_type)
    decode = _CLOUD.get(media_type)
    if decode is None:
        return decode_body(sent)
    if params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType(content_type)
    return decode(sent)


def batch_answer(items: Sequence[EventInput | BadItem], key: ApiKey) -> CaptureResult:
    """Store a batch; what came of it is written as `CaptureResultSerializer` documents.

    Raises:
        AuthenticationFailed: the key was revoked.
    """
    at = clock.now()
    if store_plain_batch(items=items, key_id=key.pk, at=at):
        return CaptureResult(len(items), 0, 0, 0, 0, ())
    if not live_key_ids([key.pk]):
        raise AuthenticationFailed(REVOKED)
    return capture_events(items=items, sender=key.name, at=at)


def single_answer(
    item: EventInput | BadItem, result: ItemResult | None
) -> tuple[int, dict[str, object], str]:
    """Return status, content and content type of the answer to one event.

    Args:
        result: None if it was plainly accepted.
    """
    if result is None:
        return 200, {"identifier": item.identifier, "status": Status.ACCEPTED}, _JSON
    status = _PROBLEMS.get(result.status)
    if status is not None:
        error = {"path": result.path, "code": result.code, "detail": result.detail}
        return status, problem(status, result.code, result.detail, [error]), PROBLEM_TYPE
    content: dict[str, object] = {"identifier": result.identifier, "status": result.status}
    return 200, {**content, "code": result.code, "detail": result.detail}, _JSON
