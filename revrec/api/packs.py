"""Audit packs over HTTP: ask for one, see how far it is, fetch its file; or a small one at once."""

from typing import Any, ClassVar, cast
from uuid import uuid4

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Conflict, NotFound
from billing_project.kernel.models import User
from billing_project.kernel.rest.fields import ExternalIdField, UtcDateTimeField
from billing_project.kernel.rest.idempotency import read_key
from billing_project.kernel.rest.views import ApiView
from metering.selectors.customers import customer_named
from revrec.models import AuditPack
from revrec.services.packs import (
    MOST_EVENTS_AT_ONCE,
    MOST_INVOICES,
    Wish,
    ask_for_pack,
    holds_more_than,
    make_pack,
    ring_worker,
    take_file,
)

_READ: dict[str, str] = {"GET": "admin"}  # A pack holds everything.


class AuditPackInput(serializers.Serializer[Any]):
    """A span, of one customer or of all; or invoices by their numbers."""

    customer = ExternalIdField(required=False, help_text="All customers where it is left out.")
    start = UtcDateTimeField(required=False)
    end = UtcDateTimeField(required=False, help_text="Exclusive.")
    invoices = serializers.ListField(
        child=serializers.CharField(max_length=32), required=False, max_length=MOST_INVOICES
    )
    reason = serializers.CharField(max_length=500)


class AuditPackOutput(serializers.ModelSerializer[AuditPack]):
    """A pack: its file is there once it is done, under this sha256 for ever."""

    customer = serializers.CharField(source="customer.external_id", allow_null=True, default=None)
    start = UtcDateTimeField(source="start_at", allow_null=True)
    end = UtcDateTimeField(source="end_at", allow_null=True)
    asked_by = serializers.CharField(source="asked_by.username")
    asked_at = UtcDateTimeField()
    finished_at = UtcDateTimeField(allow_null=True)

    class Meta:
        model = AuditPack
        fields = (
            "id", "customer", "start", "end", "invoices", "reason", "state", "files_done",
            "file_count", "row_count", "byte_count", "content_sha256", "fault", "asked_by",
            "asked_at", "finished_at",
        )  # fmt: skip


class AuditPacksView(ApiView):
    """Packs that were asked for."""

    scopes: ClassVar[dict[str, str]] = {"GET": "admin", "POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(
        operation_id="audit_packs_list",
        parameters=[OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=AuditPackOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """List packs, newest first."""
        packs = AuditPack.objects.select_related("customer", "asked_by")
        return self.page(request, packs, AuditPackOutput)

    @extend_schema(request=AuditPackInput, responses={202: AuditPackOutput})
    def post(self, request: Request) -> Response:
        """Ask for a pack; the worker makes it."""
        wanted = self.valid(AuditPackInput, request.data)
        customer = customer_named(wanted["customer"]) if "customer" in wanted else None
        wish = Wish(
            wanted.get("start"), wanted.get("end"), customer, tuple(wanted.get("invoices", ()))
        )
        assert request.auth is not None
        key = f"api:{request.auth.pk}:{read_key(request.META.get('HTTP_IDEMPOTENCY_KEY'))}"
        pack = ask_for_pack(
            wish=wish, reason=wanted["reason"], key=key, by=cast(User, request.user),
            at=clock.now(),
        )  # fmt: skip
        ring_worker()
        return Response(AuditPackOutput(pack).data, status=202)


class AuditPackView(ApiView):
    """One pack."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses=AuditPackOutput)
    def get(self, request: Request, pack_id: int) -> Response:
        """Say how far it is."""
        return Response(AuditPackOutput(_find(pack_id)).data)


class AuditPackFileView(ApiView):
    """The file of one pack."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, pack_id: int) -> FileResponse:
        """Stream the file; who took it is recorded."""
        return _file(_find(pack_id), request)


class AuditPackExportQuery(serializers.Serializer[Any]):
    """Which whole days of the books, [start, end), and of whom."""

    start = UtcDateTimeField()
    end = UtcDateTimeField()
    customer = ExternalIdField(required=False, help_text="All customers where it is left out.")
    format = serializers.ChoiceField(
        [("zip", "zip"), ("csv", "csv")], default="zip", help_text="A ZIP of CSV files either way."
    )


class AuditPackExportView(ApiView):
    """A pack that is made while the caller waits."""

    scopes: ClassVar[dict[str, str]] = _READ

    @extend_schema(
        operation_id="exports_audit_pack",
        parameters=[AuditPackExportQuery],
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request) -> FileResponse:
        """Make a pack of the span as it is now, and stream it; a large one is to be asked for."""
        query = self.valid_query(AuditPackExportQuery)
        customer = customer_named(query["customer"]) if "customer" in query else None
        wish = Wish(query["start"], query["end"], customer)
        if holds_more_than(MOST_EVENTS_AT_ONCE, wish):
            raise Conflict(
                f"this span holds more than {MOST_EVENTS_AT_ONCE:,} events: ask for its pack with"
                " POST /v1/audit_packs and fetch it when it is done",
                code="pack_too_large",
            )
        pack = ask_for_pack(
            wish=wish, reason="asked for as an export", key=f"export:{uuid4()}",
            by=cast(User, request.user), at=clock.now(),
        )  # fmt: skip
        make_pack(pack=pack, now=clock.now)
        pack.refresh_from_db()
        if pack.fault:
            raise Conflict(pack.fault, code="pack_failed")
        return _file(pack, request)


def _file(pack: AuditPack, request: Request) -> FileResponse:
    stream = take_file(pack=pack, by=cast(User, request.user), at=clock.now())
    headers = {"ETag": f'"{pack.content_sha256}"'}
    return FileResponse(stream, as_attachment=True, filename=pack.file_name, headers=headers)


def _find(pack_id: int) -> AuditPack:
    pack = AuditPack.objects.select_related("customer", "asked_by").filter(pk=pack_id).first()
    if pack is None:
        raise NotFound(f"there is no audit pack {pack_id}")
    return pack
