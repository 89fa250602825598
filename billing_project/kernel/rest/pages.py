"""Lists by the page: keyset on descending id, so that a page costs the same wherever it is."""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.request import Request

from billing_project.kernel.errors import Invalid

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
_MAX_CURSOR_DIGITS = 18  # Fits bigint.
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Page:
    """How many rows, and below which id."""

    limit: int
    before_id: int | None

    @classmethod
    def of(cls, request: Request) -> "Page":
        """Read `limit` (1 to 1000) and `cursor`.

        Raises:
            Invalid: either is no number within its bounds.
        """
        cursor = request.query_params.get("cursor", "")
        return cls(cls.limit_of(request), _number(cursor, "cursor") if cursor else None)

    @staticmethod
    def limit_of(request: Request) -> int:
        """Read `limit` alone, for lists whose cursor is no id.

        Raises:
            Invalid: it is no number within its bounds.
        """
        limit = _number(request.query_params.get("limit", str(DEFAULT_LIMIT)), "limit")
        if not 1 <= limit <= MAX_LIMIT:
            raise Invalid(f"limit is 1 to {MAX_LIMIT}")
        return limit

    def rows(self, queryset: QuerySet[M, Any]) -> tuple[list[M], str | None]:
        """Return the page's rows, newest first, and the cursor of the next page."""
        if self.before_id is not None:
            queryset = queryset.filter(pk__lt=self.before_id)
        return self.cut(list(queryset.order_by("-pk")[: self.limit + 1]))

    def cut(self, rows: list[M]) -> tuple[list[M], str | None]:
        """Cut rows to the page; there is a next one if they were more than `limit`."""
        has_more = len(rows) > self.limit
        rows = rows[: self.limit]
        return rows, str(rows[-1].pk) if has_more else None


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_CURSOR_DIGITS):
        raise Invalid(f"{name} is not a number that this list gave")
    return int(text)
