"""Say who is told by webhook: endpoints, what they want, and the secrets they check us by."""

import hashlib
import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint, WebhookSecret
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.webhooks.addresses import LOOPBACK, PUBLIC, Reach, Refused, target_of
from billing_project.kernel.webhooks.announcing import ALL, webhook_kinds
from billing_project.kernel.webhooks.standard import derived_secret, secret_text

OVERLAP = timedelta(hours=24)  # The old secret signs beside the new one for so long.
_MOST_SECRETS = 5  # At once: each is a signature of every message.
_LONGEST = {"description": 200, "reason": 300}


@dataclass(frozen=True)
class Wish:
    """What an endpoint is: where it is, what it wants to be told, and who looks after it."""

    url: str
    events: Sequence[str]  # Kinds, or "*" alone.
    owner: User
    description: str = ""


def reach() -> Reach:
    """Return where webhooks may go: the open internet, and this machine where a setting says so."""
    return LOOPBACK if settings.WEBHOOKS_TO_LOOPBACK else PUBLIC


def endpoint_with(pk: int) -> WebhookEndpoint:
    """Return an endpoint.

    Raises:
        NotFound: there is none.
    """
    found = WebhookEndpoint.objects.select_related("owner").filter(pk=pk).first()
    if found is None:
        raise NotFound(f"no webhook endpoint has the id {pk}")
    return found


@transaction.atomic
def create_endpoint(*, wish: Wish, by: User, at: datetime) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; the returned secret is shown once and stored nowhere.

    Raises:
        Invalid: an address that may not be reached, or an event that nobody knows.
        Conflict: there is an endpoint with this address.
    """
    events = _checked(wish)
    wait_for("webhook_endpoint")
    if WebhookEndpoint.objects.filter(url=wish.url).exists():
        raise Conflict("there is an endpoint with this address", code="endpoint_exists")
    endpoint = WebhookEndpoint.objects.create(
        url=wish.url, events=events, owner=wish.owner, description=wish.description,
        created_by=by, created_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="create_webhook_endpoint", subject=endpoint, url=wish.url,
        events=events,
    )  # fmt: skip
    return endpoint, _draw_secret(endpoint, by, at)


@transaction.atomic
def change_endpoint(
    *, endpoint: WebhookEndpoint, wish: Wish, by: User, at: datetime
) -> WebhookEndpoint:
    """Change where an endpoint is, what it wants, or whose it is; what waits goes there too.

    Raises:
        Invalid, Conflict: as for `create_endpoint`.
    """
    events = _checked(wish)
    wait_for("webhook_endpoint")
    locked = _locked(endpoint)
    if WebhookEndpoint.objects.filter(url=wish.url).exclude(pk=locked.pk).exists():
        raise Conflict("there is an endpoint with this address", code="endpoint_exists")
    locked.url, locked.events, locked.owner = wish.url, events, wish.owner
    locked.description = wish.description
    locked.save(update_fields=["url", "events", "owner", "description"])
    audit.record(
        by=by, at=at, action="change_webhook_endpoint", subject=locked, url=wish.url, events=events
    )
    return locked


@transaction.atomic
def rotate_secret(*, endpoint: WebhookEndpoint, by: User, at: datetime) -> str:
    """Draw a new secret; until a day has passed messages are signed with the old one, too.

    Raises:
        Conflict: there are too many live secrets already: one comes to its end within a day.
    """
    locked = _locked(endpoint)
    live = locked.secrets.filter(Q(ends_at=None) | Q(ends_at__gt=at))
    if live.count() >= _MOST_SECRETS:
        raise Conflict(f"{_MOST_SECRETS} secrets are live: wait until one ends")
    live.filter(ends_at=None).update(ends_at=at + OVERLAP)
    text = _draw_secret(locked, by, at)
    audit.record(by=by, at=at, action="rotate_webhook_secret", subject=locked)
    return text


@transaction.atomic
def disable_endpoint(
    *, endpoint: WebhookEndpoint, reason: str, by: User, at: datetime, is_told: bool = True
) -> WebhookEndpoint:
    """Send nothing any more; what waits is given up, and can be repeated. Twice changes nothing.

    Args:
        is_told: Whether its owner knows: who switches it off by hand needs no mail.

    Raises:
        Invalid: no reason.
    """
    if not 0 < len(reason.strip()) <= _LONGEST["reason"]:
        raise Invalid("an endpoint is switched off for a reason", field="reason")
    locked = _locked(endpoint)
    if locked.disabled_at is not None:
        return locked
    locked.disabled_at, locked.disabled_reason = at, reason
    locked.told_at = at if is_told else None
    locked.save(update_fields=["disabled_at", "disabled_reason", "told_at"])
    waiting = WebhookDelivery.objects.filter(endpoint=locked, next_try_at__isnull=False)
    waiting.update(next_try_at=None, given_up_at=at, failure="its endpoint was switched off")
    audit.record(by=by, at=at, action="disable_webhook_endpoint", subject=locked, reason=reason)
    return locked


@transaction.atomic
def enable_endpoint(
    *, endpoint: WebhookEndpoint, reason: str, by: User, at: datetime
) -> WebhookEndpoint:
    """Send again from now on; what was missed is repeated by `replay_range`."""
    locked = _locked(endpoint)
    if locked.disabled_at is None:
        return locked
    locked.disabled_at, locked.disabled_reason, locked.failing_since = None, "", None
    locked.save(update_fields=["disabled_at", "disabled_reason", "failing_since"])
    audit.record(by=by, at=at, action="enable_webhook_endpoint", subject=locked, reason=reason)
    return locked


def live_secrets(endpoint: WebhookEndpoint, at: datetime) -> list[bytes]:
    """Return what messages are signed with at an instant, the newest first.

    Empty where no key of the installation makes any of them any more: then it is to be rotated.
    """
    found = (_derived(row) for row in endpoint.secrets.all() if row.is_live(at))
    return [secret for secret in found if secret is not None]


def _derived(row: WebhookSecret) -> bytes | None:
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        secret = derived_secret(key, row.nonce)
        if hashlib.sha256(secret).hexdigest() == row.sha256:
            return secret
    return None


def _draw_secret(endpoint: WebhookEndpoint, by: User, at: datetime) -> str:
    nonce = randomness.token_urlsafe(24)
    secret = derived_secret(settings.SECRET_KEY, nonce)
    WebhookSecret.objects.create(
        endpoint=endpoint, nonce=nonce, sha256=hashlib.sha256(secret).hexdigest(), made_by=by,
        made_at=at,
    )  # fmt: skip
    return secret_text(secret)


def _locked(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    return WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)


def _checked(wish: Wish) -> list[str]:
    try:
        target_of(wish.url, reach())
    except Refused as error:
        raise Invalid(f"this address is not for webhooks: {error}", field="url") from error
    if len(wish.description) > _LONGEST["description"]:
        raise Invalid("a description has at most 200 characters", field="description")
    if not wish.owner.is_active or wish.owner.is_service:
        raise Invalid("a person who works here looks after an endpoint", field="owner")
    events = sorted(set(wish.events))
    known = {kind.code for kind in webhook_kinds()}
    unknown = [event for event in events if event not in known and events != [ALL]]
    if unknown or not events:
        raise Invalid(f"nobody knows the event {', '.join(unknown) or '(none)'}", field="events")
    return events
