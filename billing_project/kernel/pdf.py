"""Set documents, and answer with one that was kept, which a browser shows in its own viewer.

A template reads its data as JSON and never as typst source, so that no name or memo can be more
than text. The same data gives the same bytes.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

import typst
from django.conf import settings
from django.http import HttpResponse

_TEMPLATES = Path(settings.BASE_DIR) / "templates" / "typst"


def set_pdf(template: str, data: Mapping[str, object], at: datetime) -> bytes:
    """Set a template with the embedded fonts and a fixed date: deterministic bytes.

    The date is of whole seconds: PDF knows no finer ones, and typst refuses them.
    """
    pdf: bytes = typst.compile(
        _TEMPLATES / template,
        root=_TEMPLATES,
        format="pdf",
        ignore_system_fonts=True,
        font_paths=[_TEMPLATES / "fonts"],  # For scripts that the embedded fonts lack.
        sys_inputs={"data": json.dumps(data, ensure_ascii=False, sort_keys=True)},
        timestamp=at.replace(microsecond=0),
        pdf_standards="ua-1",  # For who has it read aloud: headings, tables, order.
    )
    return pdf


class Kept(Protocol):
    """A document that was set once: its bytes, and their hash as people compare it."""

    @property
    def content(self) -> bytes | memoryview: ...

    @property
    def sha256(self) -> str: ...


def pdf_response(document: Kept, name: str) -> HttpResponse:
    """Answer a document under its number, with its hash as ETag."""
    response = HttpResponse(bytes(document.content), content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="{name}.pdf"'
    response["X-Content-Type-Options"] = "nosniff"
    response["ETag"] = f'"{document.sha256}"'
    return response
