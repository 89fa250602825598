"""Seals of the journal: what was signed at each close, and whether the journal stands to it."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

from billing_project.kernel.backoffice.actions import page_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import badge_html, link, moment
from invoicing.models import MAIN_CODE
from revrec.models import LedgerSeal
from revrec.sealing import chains_of, head_of
from revrec.selectors.seals import stored_seal_faults
from revrec.services.sealing import seal_file


@admin.register(LedgerSeal)
class LedgerSealAdmin(ReadOnlyAdmin):
    """Signed heads of the journal's hash chain, one for each closed month."""

    list_display = (
        "__str__",
        link("period"),
        "head_position",
        "head_sha256",
        moment("sealed_at"),
        link("sealed_by"),
    )
    list_select_related = ("period", "sealed_by")
    ordering = ("-id",)
    fieldsets = (
        (
            None,
            {"fields": ((link("period"), "verdict"), ("sealed_at", link("sealed_by")), "entity")},
        ),
        ("What was sealed", {"fields": ("chains", "signed")}),
        ("Signature", {"fields": ("signature", "public_key")}),
    )
    actions_detail = ("download",)

    @admin.display(description="Now")
    def verdict(self, seal: LedgerSeal) -> Any:
        """Say whether the signature holds and the journal still has the head."""
        return verdict_of(seal)

    @admin.display(description="Heads")
    def chains(self, seal: LedgerSeal) -> Any:
        """Show the last entry of each legal entity's chain."""
        return heads_of(seal)

    @admin.display(description="Manifest")
    def signed(self, seal: LedgerSeal) -> str:
        """Show the very text that is signed."""
        return format_html('<code style="overflow-wrap: anywhere">{}</code>', seal.manifest)

    @page_action("Download", icon="download")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand the seal out as a file, to be kept where the database cannot reach."""
        seal = self.get_object(request, unquote(object_id))
        if seal is None or not self.has_view_permission(request, seal):
            raise PermissionDenied
        return file_response(seal)


def file_response(seal: LedgerSeal) -> HttpResponse:
    """Answer with a seal's file."""
    name, text = seal_file(seal)
    return HttpResponse(
        text,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def heads_of(seal: LedgerSeal) -> Any:
    """Return a line for each chain: whose it is, its last entry, and that entry's hash."""
    chains = chains_of(json.loads(seal.manifest), MAIN_CODE)
    heads = ((code, head_of(chain)) for code, chain in chains.items())
    return format_html_join(
        mark_safe("<br>"), "{}: position {}, {}",
        ((code, head.position, head.sha256) for code, head in heads),
    )  # fmt: skip


def verdict_of(seal: LedgerSeal) -> Any:
    """Return a badge: the signature holds and the journal has the head, or what is wrong."""
    faults = [fault.message for fault in stored_seal_faults(seal)]
    return badge_html("stands", "good") if not faults else badge_html("; ".join(faults), "bad")
