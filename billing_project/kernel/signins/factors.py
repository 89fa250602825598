"""Second factors: enrolled with a code that proves the phone, asked for, replaced and reset.

A secret is derived from a key of the installation and a nonce, and stored nowhere: who reads the
database has no codes. Its sha256 tells which of the keys made it, while one is rotated.
"""

import hashlib
import hmac
import secrets as randomness
from datetime import datetime

from django.conf import settings
from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import RecoveryCode, SecondFactor, User
from billing_project.kernel.signins.devices import sign_out_everywhere
from billing_project.kernel.signins.totp import derived_secret, matching_step

_CODES = 10
_CODE_BYTES = 10  # 80 bits: nobody guesses one, so that a plain sha256 will do.
_ANY_STEP = -1


def factor_of(user: User) -> SecondFactor | None:
    """Return the second factor that a person has, if any."""
    return SecondFactor.objects.filter(user=user, ended_at=None).first()


def new_nonce() -> str:
    """Draw what the secret of a new second factor is made of."""
    return randomness.token_urlsafe(24)


def secret_to_enrol(nonce: str) -> bytes:
    """Return the secret that a nonce gives now."""
    return derived_secret(settings.SECRET_KEY, nonce)


@transaction.atomic
def enrol_factor(
    *, user: User, nonce: str, code: str, at: datetime
) -> tuple[SecondFactor, list[str]]:
    """Give a person a second factor in place of any they had; its recovery codes are shown once.

    Raises:
        Invalid: the code is not one of this secret now, so the phone does not have it.
    """
    secret = secret_to_enrol(nonce)
    step = matching_step(secret, _digits(code), at, _ANY_STEP)
    if step is None:
        raise Invalid(
            "That is not the code of now. Look at the app again, and at the phone's clock.",
            field="code",
        )
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    _end(user, user, at)
    factor = SecondFactor.objects.create(
        user=user, nonce=nonce, secret_sha256=_sha256(secret), enrolled_at=at, last_step=step
    )
    codes = [randomness.token_hex(_CODE_BYTES) for _ in range(_CODES)]
    RecoveryCode.objects.bulk_create(
        RecoveryCode(factor=factor, sha256=_sha256(text.encode())) for text in codes
    )
    audit.record(by=user, at=at, action="enrol_second_factor", subject=factor)
    return factor, ["-".join(text[i : i + 5] for i in range(0, len(text), 5)) for text in codes]


@transaction.atomic
def take_code(*, user: User, code: str, at: datetime) -> SecondFactor | None:
    """Take a code of the app, or a recovery code, once; None where it is neither."""
    factor = (
        SecondFactor.objects.select_for_update(no_key=True).filter(user=user, ended_at=None).first()
    )
    if factor is None:
        return None
    typed = _digits(code)
    secret = _secret_of(factor)
    step = matching_step(secret, typed, at, factor.last_step) if secret else None
    if step is not None:
        factor.last_step = step
        factor.save(update_fields=["last_step"])
        return factor
    digest = _sha256(typed.replace("-", "").lower().encode())
    used = factor.codes.filter(sha256=digest, used_at=None).update(used_at=at)
    if used:
        audit.record(by=user, at=at, action="use_recovery_code", subject=factor)
    return factor if used else None


@transaction.atomic
def reset_factor(*, user: User, by: User, reason: str, at: datetime) -> int:
    """Take a lost second factor away and sign its person out everywhere.

    Whoever knows the password enrols the next one: make sure who asks.

    Raises:
        Conflict: there is none.
    """
    if not _end(user, by, at):
        raise Conflict(f"{user} has no second factor")
    audit.record(by=by, at=at, action="reset_second_factor", subject=user, reason=reason)
    return sign_out_everywhere(user=user, by=by, at=at, reason=reason)


def _end(user: User, by: User, at: datetime) -> int:
    return SecondFactor.objects.filter(user=user, ended_at=None).update(ended_at=at, ended_by=by)


def _secret_of(factor: SecondFactor) -> bytes | None:
    """Return the secret, by whichever key made it; None once that key is gone."""
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        secret = derived_secret(key, factor.nonce)
        if hmac.compare_digest(_sha256(secret), factor.secret_sha256):
            return secret
    return None


def _digits(code: str) -> str:
    return "".join(code.split())


def _sha256(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
