"""Codes that change every half minute, out of a secret that a phone knows too.

Pure. Source: RFC 6238 (TOTP) over RFC 4226 (HOTP): HMAC-SHA1, six digits, steps of 30 seconds, the
one set that every authenticator app knows.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote, urlencode

_SECONDS, _DIGITS = 30, 6
_DRIFT = 1  # Steps that a phone's clock may be off, either way.


def step_at(at: datetime) -> int:
    """Return the number of the half minute that an instant is in, since 1970."""
    return int(at.timestamp()) // _SECONDS


def code_of(secret: bytes, step: int) -> str:
    """Return the six digits of a step."""
    # Heavy: only who is asked for a code loads it.
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.twofactor.hotp import HOTP

    return HOTP(secret, _DIGITS, SHA1()).generate(step).decode()  # noqa: S303 - as the RFC says.


def matching_step(secret: bytes, code: str, at: datetime, after: int) -> int | None:
    """Return the step that a code is of, or None.

    Args:
        after: The step of the last code that was taken; it and those before are used up.
    """
    now = step_at(at)
    found = None
    for step in range(now - _DRIFT, now + _DRIFT + 1):
        if hmac.compare_digest(code_of(secret, step).encode(), code.encode()) and step > after:
            found = step
    return found


def derived_secret(key: str, nonce: str) -> bytes:
    """Return the 20 bytes that a key of the installation makes of a nonce."""
    return hmac.new(key.encode(), f"second factor:{nonce}".encode(), hashlib.sha256).digest()[:20]


def secret_text(secret: bytes) -> str:
    """Write a secret for people to type: base32, in fours."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def enrolment_uri(secret: bytes, issuer: str, account: str) -> str:
    """Return what the QR code says to an authenticator app.

    Source: github.com/google/google-authenticator/wiki/Key-Uri-Format.
    """
    query = urlencode(
        {"secret": base64.b32encode(secret).decode(), "issuer": issuer}, quote_via=quote
    )
    return f"otpauth://totp/{quote(f'{issuer}:{account}')}?{query}"
