"""Requests that are repeated by another key than the one that was answered.

A key is revoked when it is replaced, and all are when a house moves: who waited for an answer then
repeats the request with a new key, under which nothing is known of it.
"""

from typing import Any, cast

from django.db.models import QuerySet
from rest_framework.request import Request

from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import ApiKey


class UsedByRevokedKey(Conflict):
    """A key that is revoked by now did the same under the same Idempotency-Key."""

    code = "used_by_revoked_key"


def source_key(request: Request) -> str:
    """Name what a caller makes after them and their Idempotency-Key, within a column's length."""
    return f"api:{cast(ApiKey, request.auth).public_id}:{_digest(request)}"


def refuse_repeated(request: Request, made: QuerySet[Any]) -> None:
    """Refuse to make again what a revoked key made for the same customer.

    Args:
        made: Rows of the customer with the `source_key` of who made them.

    Raises:
        UsedByRevokedKey: naming the row.
    """
    for row in made.filter(source_key__endswith=f":{_digest(request)}"):
        maker = row.source_key.split(":")[-2]
        if ApiKey.objects.filter(public_id=maker, revoked_at__isnull=False).exists():
            raise UsedByRevokedKey(
                f"{row} (number {row.pk}) was made under this Idempotency-Key by a key that is"
                " revoked by now; for another one, take another Idempotency-Key"
            )


def _digest(request: Request) -> str:
    return sha256_hex(request.headers["Idempotency-Key"])
