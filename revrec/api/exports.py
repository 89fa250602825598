"""Stretches of the journal for other ledgers, over HTTP."""

from base64 import b64encode
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import NotFound
from billing_project.kernel.rest.fields import CurrencyField, UtcDateTimeField
from billing_project.kernel.rest.idempotency import read_key
from billing_project.kernel.rest.views import ApiView
from invoicing.models import MAIN_CODE
from invoicing.selectors.entities import entity_named
from revrec.journal_forms import Detail, Form
from revrec.models import JournalExport
from revrec.reporting import amount_text
from revrec.selectors.exports import Stretch, file_name, file_pieces
from revrec.services.exports import export_journal


class ExportInput(serializers.Serializer[Any]):
    """Which form, in which detail, of which currency, out of whose books."""

    entity = serializers.CharField(
        max_length=20, default=MAIN_CODE, help_text="code of a legal entity"
    )
    form = serializers.ChoiceField([form.value for form in Form])
    detail = serializers.ChoiceField([d.value for d in Detail], default=Detail.DAY.value)
    currency = CurrencyField()


class ExportSerializer(serializers.ModelSerializer[JournalExport]):
    """A stretch of the journal that was handed out, with its totals and its file's sha256."""

    entity = serializers.CharField(source="entity.code")
    account_map = serializers.IntegerField(
        source="account_map.number", allow_null=True, default=None
    )
    debits = serializers.SerializerMethodField()
    credits = serializers.SerializerMethodField()
    books_currency = serializers.CharField(
        help_text="of the books that the lines say their worth in; empty in files of before"
    )
    books_debits = serializers.SerializerMethodField()
    books_credits = serializers.SerializerMethodField()
    created_at = UtcDateTimeField()

    class Meta:
        model = JournalExport
        fields = (
            "id", "entity", "form", "detail", "currency", "first_position", "last_position",
            "account_map", "line_count", "debits", "credits", "books_currency", "books_debits",
            "books_credits", "sha256", "created_at",
        )  # fmt: skip

    def get_debits(self, export: JournalExport) -> str:
        """Return the sum of all debits in major units."""
        return amount_text(export.debit_minor, export.currency)

    def get_credits(self, export: JournalExport) -> str:
        """Return the sum of all credits in major units; it equals the debits."""
        return amount_text(export.credit_minor, export.currency)

    def get_books_debits(self, export: JournalExport) -> str:
        """Return what all debits are worth in the books, in major units."""
        return _worth_text(export, export.books_debit_minor)

    def get_books_credits(self, export: JournalExport) -> str:
        """Return what all credits are worth in the books; it equals the debits."""
        return _worth_text(export, export.books_credit_minor)


_PAGE = inline_serializer(
    "JournalExportPage",
    {
        "data": ExportSerializer(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
    },
)
_PAGING = [OpenApiParameter("limit", int), OpenApiParameter("cursor", str)]


class JournalExportsView(ApiView):
    """What was handed to other ledgers."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read", "POST": "admin"}
    requires_idempotency_key = True

    @extend_schema(operation_id="journal_exports_list", parameters=_PAGING, responses=_PAGE)
    def get(self, request: Request) -> Response:
        """List exports, newest first."""
        exports = JournalExport.objects.select_related("account_map", "entity")
        return self.page(request, exports, ExportSerializer)

    @extend_schema(request=ExportInput, responses={201: ExportSerializer})
    def post(self, request: Request) -> Response:
        """Hand out all of an entity that was posted since the last export of this kind."""
        wanted = self.valid(ExportInput, request.data)
        key = read_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
        assert request.auth is not None
        export = export_journal(
            form=Form(wanted["form"]),
            detail=Detail(wanted["detail"]),
            currency=wanted["currency"],
            entity=entity_named(wanted["entity"]),
            key=f"api:{request.auth.pk}:{key}",
            by=request.user,  # type: ignore[arg-type]
            at=clock.now(),
        )
        return Response(ExportSerializer(export).data, status=status.HTTP_201_CREATED)


class JournalExportView(ApiView):
    """One export."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(responses=ExportSerializer)
    def get(self, request: Request, export_id: int) -> Response:
        """Return its stretch, its totals and its sha256."""
        return Response(ExportSerializer(_export(export_id)).data)


class JournalExportFileView(ApiView):
    """The file of one export."""

    scopes: ClassVar[dict[str, str]] = {"GET": "invoices:read"}

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.BINARY})
    def get(self, request: Request, export_id: int) -> StreamingHttpResponse:
        """Stream it: the same bytes every time, whose sha256 the export names."""
        export = _export(export_id)
        return StreamingHttpResponse(
            file_pieces(Stretch.of(export)),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{file_name(export)}"',
                "Repr-Digest": f"sha-256=:{_digest(export)}:",
            },
        )


def _worth_text(export: JournalExport, minor: int) -> str:
    return amount_text(minor, export.books_currency) if export.books_currency else ""


def _digest(export: JournalExport) -> str:
    """Write a sha256 as HTTP does, in base64. Source: RFC 9530."""
    return b64encode(bytes.fromhex(export.sha256)).decode()


def _export(export_id: int) -> JournalExport:
    exports = JournalExport.objects.select_related("account_map", "entity")
    export = exports.filter(pk=export_id).first()
    if export is None:
        raise NotFound(f"there is no export {export_id}")
    return export
