"""The browsers in which people are signed in; whoever ends one signs it out at once."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet

from billing_project.kernel import audit
from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import SignedInDevice, SignInAttempt, User

DEVICE = "signed_in_device"  # Where a session keeps the id of its device.
_SEEN_EVERY = timedelta(minutes=5)  # So that not every page is a write.


def sign_in_device(*, user: User, attempt: SignInAttempt, at: datetime) -> SignedInDevice:
    """Remember where somebody has signed in."""
    return SignedInDevice.objects.create(user=user, attempt=attempt, signed_in_at=at, seen_at=at)


def devices_of(user: User, at: datetime) -> QuerySet[SignedInDevice]:
    """Return where a person is signed in and was seen before its session ran out."""
    since = at - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    rows = SignedInDevice.objects.filter(user=user, ended_at=None, seen_at__gt=since)
    return rows.select_related("attempt").order_by("-seen_at", "-id")


def see_device(*, device: int, at: datetime) -> bool:
    """Tell whether a device is still signed in, and note that it was seen."""
    row = SignedInDevice.objects.filter(pk=device, ended_at=None).first()
    if row is None:
        return False
    if at - row.seen_at >= _SEEN_EVERY:
        SignedInDevice.objects.filter(pk=device, ended_at=None).update(seen_at=at)
    return True


@transaction.atomic
def sign_out_device(*, device: int, by: User, at: datetime) -> None:
    """Sign one of a person's own devices out; doing it twice changes nothing.

    Raises:
        NotFound: it is nobody's, or somebody else's.
    """
    row = SignedInDevice.objects.select_for_update(no_key=True).filter(pk=device, user=by).first()
    if row is None:
        raise NotFound("You are not signed in on such a device.")
    if row.ended_at is None:
        row.ended_at, row.ended_by = at, by
        row.save(update_fields=["ended_at", "ended_by"])


@transaction.atomic
def sign_out_everywhere(
    *, user: User, by: User, at: datetime, reason: str = "", but: int | None = None,
    but_session: str | None = None,
) -> int:  # fmt: skip
    """Sign a person out on all devices, or on all but one; return how many they were.

    Sessions from before devices were kept have none: they end with them, but for one.
    """
    rows = SignedInDevice.objects.filter(user=user, ended_at=None)
    if but is not None:
        rows = rows.exclude(pk=but)
    count = rows.update(ended_at=at, ended_by=by) + _end_without_device(user, at, but_session)
    audit.record(
        by=by, at=at, action="sign_out_everywhere", subject=user, reason=reason, devices=count
    )
    return count


def _end_without_device(user: User, at: datetime, but: str | None) -> int:
    """Delete a person's sessions that no row ends; return how many they were."""
    found = [
        session.pk
        for session in Session.objects.filter(expire_date__gt=at).exclude(pk=but or "")
        if (said := session.get_decoded()).get(SESSION_KEY) == str(user.pk) and DEVICE not in said
    ]
    return Session.objects.filter(pk__in=found).delete()[0]
