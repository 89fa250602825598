"""Uploads go to disk as they come, and stop at a bound before the disk is full."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler


class BoundedUpload(TemporaryFileUploadHandler):
    """Streams a file to a temporary one; what is larger than IMPORT_MAX_BYTES is refused.

    A body is read to find its CSRF token before any view asks who sends it: of somebody who is not
    logged in, no file is written that fills a disk.
    """

    _received = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803 - Django's name
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        """Refuse by the announced length, before a byte is read."""
        user = getattr(self.request, "user", None)
        is_known = user is not None and user.is_authenticated
        self._bound = settings.IMPORT_MAX_BYTES if is_known else _BYTES_OF_STRANGERS
        if content_length > self._bound:
            raise RequestDataTooBig(_TOO_LARGE)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Write a chunk; the announced length may have been a lie."""
        self._received += len(raw_data)
        if self._received > self._bound:
            raise RequestDataTooBig(_TOO_LARGE)
        return super().receive_data_chunk(raw_data, start)


_BYTES_OF_STRANGERS = 1024 * 1024
_TOO_LARGE = "The file is larger than this back office takes; use manage.py import_events."
