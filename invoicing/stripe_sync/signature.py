"""Whether a webhook is Stripe's own: HMAC over the raw body, by any of our secrets. Pure.

Source: docs.stripe.com/webhooks/signature.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

TOLERANCE_SECONDS = 300
_LONGEST_HEADER = 2_000
_SCHEME = "v1"


def is_genuine(body: bytes, header: str, secrets: Sequence[str], at: datetime) -> bool:
    """Tell whether a body was signed by one of the secrets, just now.

    Every secret is tried on every signature, in constant time: while secrets are being rotated,
    Stripe signs with both.
    """
    signed_at, signatures = _read(header)
    if signed_at is None or not signatures or not signed_at.isdigit():
        return False
    if abs(int(at.timestamp()) - int(signed_at)) > TOLERANCE_SECONDS:
        return False
    content = signed_at.encode() + b"." + body
    matches = [
        hmac.compare_digest(_sign(content, secret), signature.encode())
        for secret in secrets
        if secret
        for signature in signatures
    ]
    return any(matches)


def _sign(content: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest().encode()


def _read(header: str) -> tuple[str | None, list[str]]:
    """Return the time and the signatures of "t=1,v1=ab,v1=cd"."""
    if len(header) > _LONGEST_HEADER or not header.isascii():
        return None, []
    parts = [part.strip().split("=", 1) for part in header.split(",")]
    pairs = [(part[0], part[1]) for part in parts if len(part) == 2]
    times = [value for name, value in pairs if name == "t"]
    signatures = [value for name, value in pairs if name == _SCHEME]
    return (times[0], signatures) if len(times) == 1 and len(times[0]) <= 12 else (None, [])
