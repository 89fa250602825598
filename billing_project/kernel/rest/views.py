"""The base of every endpoint: key, scope, strict body, idempotency, problems, pages."""

import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, ClassVar

from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, ListSerializer, Serializer
from rest_framework.views import APIView

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey
from billing_project.kernel.rest.auth import ApiKeyAuthentication, HasScope
from billing_project.kernel.rest.errors import MAX_ERRORS, BadRequest
from billing_project.kernel.rest.idempotency import Attempt, answer_once, read_key
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.parsing import StrictJSONParser, read_body
from billing_project.kernel.rest.rates import KeyRate
from billing_project.kernel.rest.room import HEAVY, ROOM, leave_room, weigh
from billing_project.kernel.sessions import is_to_repeat, kept_from_one_state

_ONCE = {"POST", "PATCH", "PUT", "DELETE"}
_PAGING = {"limit", "cursor"}
_PAUSES = (50, 200)  # Milliseconds before the second and the third try of one snapshot.
_UNKNOWN = ErrorDetail("is not a field of this request", code="unknown_field")


class ApiRequest(Request):
    """A request whose body was read within bounds; DRF alone would not see a chunked one."""

    _raw_body: bytes | None = None
    _taken = 0

    @property
    def raw_body(self) -> bytes:
        """The body as sent, decompressed; read once, and then it has its room until the answer."""
        if self._raw_body is None:
            body = read_body(self._request)
            self._taken = ROOM.enter(weigh(body))
            self._raw_body = body
        return self._raw_body

    def leave_room(self) -> None:
        """Give back what the body took, once nothing of it is left; the request is answered."""
        taken, self._taken, self._raw_body = self._taken, 0, b""
        if taken >= HEAVY:
            self._stream = self._data = self._full_data = None  # type: ignore[assignment]
        leave_room(taken)

    def _load_stream(self) -> None:
        self._stream = io.BytesIO(self.raw_body) if self.raw_body else None  # type: ignore[assignment]


class AlwaysJson(DefaultContentNegotiation):
    """Answer in JSON whatever `Accept` says; `?format=` belongs to the reports."""

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Take the view's only renderer."""
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """An endpoint. The verbs validate, call one service or selector, and respond.

    `scopes` names the scope for each method. Where `takes_idempotency_key`, a write runs in one
    transaction with its stored answer; where it `reads_one_state`, one that sees one snapshot, and
    that is repeated where others wrote meanwhile what it has to.
    """

    scopes: ClassVar[dict[str, str]] = {}
    requires_idempotency_key: ClassVar[bool] = False
    takes_idempotency_key: ClassVar[bool] = True
    reads_one_state: ClassVar[bool] = False
    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [HasScope]
    throttle_classes = [KeyRate]
    parser_classes: list[type[BaseParser]] = [StrictJSONParser]
    content_negotiation_class = AlwaysJson
    http_method_names = ["get", "head", "post", "patch", "delete"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Check access, then answer once; every exception becomes a problem."""
        self.args, self.kwargs = args, kwargs
        self.headers = self.default_response_headers
        self.request = incoming = self.initialize_request(request, *args, **kwargs)
        response: HttpResponseBase
        try:
            self.initial(incoming, *args, **kwargs)
            handler = partial(self._handler(incoming), incoming, *args, **kwargs)
            response = self._answer(incoming, handler)
        except Exception as error:  # noqa: BLE001 - the handler answers all of them
            response = self.handle_exception(error)
        finally:
            incoming.leave_room()
        return self.finalize_response(incoming, response, *args, **kwargs)  # type: ignore[arg-type]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        """Wrap Django's request in one that reads its body within bounds."""
        return ApiRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the key and its scope, then the address: PostgreSQL's text takes no NUL."""
        super().initial(request, *args, **kwargs)
        sent = [text for name, values in request.query_params.lists() for text in (name, *values)]
        if any("\x00" in str(text) for text in (*sent, *kwargs.values())):
            raise Invalid("the address holds a NUL character")

    def valid(
        self, serializer_class: type[Serializer[Any]], data: object, *, partial: bool = False
    ) -> dict[str, Any]:
        """Validate a body; fields that nobody reads are refused.

        Raises:
            ValidationError: 422 with the JSON path of each bad field.
        """
        serializer = serializer_class(
            data=data, partial=partial, context={"request": self.request, "view": self}
        )
        unknown = _unknown_fields(serializer, data)
        if not serializer.is_valid() or unknown:
            raise ValidationError({**unknown, **serializer.errors})
        validated: dict[str, Any] = serializer.validated_data
        return validated

    def valid_query(self, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
        """Validate the query string; parameters that nobody reads are refused."""
        params = self.request.query_params
        data = {name: params[name] for name in params if name not in _PAGING}
        return self.valid(serializer_class, data)

    def page(
        self,
        request: Request,
        queryset: QuerySet[Any, Any],
        serializer_class: type[BaseSerializer[Any]],
    ) -> Response:
        """Answer one page of a list, newest first."""
        rows, next_cursor = Page.of(request).rows(queryset)
        data = serializer_class(rows, many=True, context={"request": request, "view": self}).data
        return Response({"data": data, "next_cursor": next_cursor})

    def _handler(self, request: Request) -> Callable[..., Response]:
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            self.http_method_not_allowed(request)  # Raises.
        handler: Callable[..., Response] = getattr(self, method)
        return handler

    def _answer(self, request: ApiRequest, act: Callable[[], Response]) -> HttpResponseBase:
        if request.method not in _ONCE or not self.takes_idempotency_key:
            return act()
        return self._answer_in_one_state(request, act)

    def _answer_in_one_state(
        self, request: ApiRequest, act: Callable[[], Response]
    ) -> HttpResponseBase:
        """Answer a write, if need be from one snapshot: what is still refused then is a 503."""
        if not self.reads_one_state:
            return self._answer_write(request, act)
        for milliseconds in _PAUSES:
            try:
                with kept_from_one_state():
                    return self._answer_write(request, act)
            except OperationalError as error:
                if not is_to_repeat(error):
                    raise
                time.sleep(milliseconds / 1000)
        with kept_from_one_state():
            return self._answer_write(request, act)

    def _explained(self, error: Exception) -> Response:
        """Turn what an act raised into its problem; what is to be repeated goes up."""
        if self.reads_one_state and is_to_repeat(error):
            raise error
        return self.handle_exception(error)

    def _answer_write(self, request: ApiRequest, act: Callable[[], Response]) -> HttpResponseBase:
        key = read_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        if key is None:
            return self._answer_unkeyed(act)
        route = f"{request.method} {request.get_full_path()}"
        api_key: ApiKey = request.auth  # type: ignore[assignment]
        attempt = Attempt(api_key, key, route, request.raw_body, clock.now())
        return answer_once(attempt, act, self._explained)

    def _answer_unkeyed(self, act: Callable[[], Response]) -> Response:
        if self.requires_idempotency_key:
            raise BadRequest(
                "this write needs an Idempotency-Key header", code="idempotency_key_required"
            )
        with transaction.atomic():
            return act()


def _unknown_fields(serializer: object, data: object) -> dict[str, Any]:
    """Find keys of a body that its serializer does not read, at any depth, as DRF errors."""
    if not isinstance(serializer, Serializer) or not isinstance(data, Mapping):
        return {}
    writable = {name: field for name, field in serializer.fields.items() if not field.read_only}
    strange = (str(name) for name in data if name not in writable)
    unknown: dict[str, Any] = {name: [_UNKNOWN] for name in islice(strange, MAX_ERRORS)}
    for name, field in writable.items():
        if inner := _unknown_inside(field, data.get(name)):
            unknown[name] = inner
    return unknown


def _unknown_inside(field: object, data: object) -> dict[str, Any] | list[Any]:
    if isinstance(field, ListSerializer) and isinstance(data, list):
        rows = [_unknown_fields(field.child, row) for row in data]
        return rows if any(rows) else []
    return _unknown_fields(field, data)
