"""Sign messages as Standard Webhooks says, and write secrets as it writes them.

Pure. Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"


def signature(secret: bytes, message_id: str, seconds: int, body: str) -> str:
    """Return `v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`.

    Args:
        seconds: When this try is sent, in seconds since 1970.
    """
    signed = f"{message_id}.{seconds}.{body}".encode()
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def headers(secrets: Sequence[bytes], message_id: str, seconds: int, body: str) -> dict[str, str]:
    """Return the three headers of one try; while a secret rotates both sign it."""
    signatures = (signature(secret, message_id, seconds, body) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }


def secret_text(secret: bytes) -> str:
    """Write a secret for its receiver: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secret).decode()


def derived_secret(key: str, nonce: str) -> bytes:
    """Return the 32 bytes that a key of the installation makes of an endpoint's nonce."""
    return hmac.new(key.encode(), f"webhook secret:{nonce}".encode(), hashlib.sha256).digest()
