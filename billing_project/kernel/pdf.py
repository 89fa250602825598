"""Answer with a kept document, which a browser shows in its own viewer."""

from typing import Protocol

from django.http import HttpResponse


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
