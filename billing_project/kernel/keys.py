"""Make and recognise API keys: abk_<public id>_<secret>; only the secret's sha256 is stored."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import SCOPES, ApiKey, User

_PREFIX = "abk"
_MOST_REMEMBERED = 10_000
_remembered: dict[str, ApiKey] = {}  # By the digest of the whole token.


@transaction.atomic
def create_api_key(*, name: str, scopes: Sequence[str], at: datetime) -> tuple[ApiKey, str]:
    """Make a key and its service user; the returned text is shown once and never stored.

    Raises:
        Invalid: no scope, or one that does not exist.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Invalid(f"scopes are {', '.join(SCOPES)}; got {', '.join(unknown) or 'none'}")
    public_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    user = User(username=f"key:{name}:{public_id}"[:150], is_service=True)
    user.set_unusable_password()
    user.save()
    key = ApiKey.objects.create(
        name=name,
        public_id=public_id,
        secret_sha256=_digest(secret),
        scopes=sorted(set(scopes)),
        user=user,
        created_at=at,
    )
    audit.record(by=user, at=at, action="create_api_key", subject=key, scopes=key.scopes)
    return key, f"{_PREFIX}_{public_id}_{secret}"


def find_api_key(token: str) -> ApiKey | None:
    """Return the live key that a bearer token names, or None."""
    prefix, _, rest = token.partition("_")
    public_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not secret or not token.isascii() or not public_id.isalnum():
        return None
    key = (
        ApiKey.objects.select_related("user")
        .filter(public_id=public_id, revoked_at__isnull=True)
        .first()
    )
    if key is None or not hmac.compare_digest(key.secret_sha256, _digest(secret)):
        return None
    return key


def recalled_api_key(token: str) -> ApiKey | None:
    """Return the key of a token that this process has seen before, or None.

    Whoever acts on it asks `live_key_ids` first, so that a revoked key ends at once.
    """
    return _remembered.get(_digest(token))


def remembered_api_key(token: str) -> ApiKey | None:
    """Return what `find_api_key` does, without asking the database about a token seen before."""
    key = recalled_api_key(token)
    if key is None and (key := find_api_key(token)) is not None:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[_digest(token)] = key
    return key


def known_api_key(token: str) -> ApiKey | None:
    """Return what `find_api_key` does; of a token seen before it asks only whether it is live."""
    key = recalled_api_key(token)
    if key is None:
        return remembered_api_key(token)
    return key if live_key_ids([key.pk]) else None


def live_key_ids(ids: Collection[int]) -> set[int]:
    """Return those keys that are not revoked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM api_key WHERE id = ANY(%s) AND revoked_at IS NULL", [list(ids)]
        )
        return {pk for (pk,) in cursor.fetchall()}


@transaction.atomic
def revoke_api_key(*, key: ApiKey, by: User, reason: str, at: datetime) -> ApiKey:
    """End a key at once; revoking twice changes nothing."""
    locked = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
    if locked.revoked_at is None:
        locked.revoked_at = at
        locked.save(update_fields=["revoked_at"])
        audit.record(by=by, at=at, action="revoke_api_key", subject=locked, reason=reason)
    return locked


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
