"""What an approver signs: a change's words, dates and content, as one sha256.

PostgreSQL computes the same of the stored row (`policy_change_digest`) and refuses an approval with
another, so the text here is the one that jsonb writes.
"""

import json
from datetime import UTC, datetime

from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.models import PolicyChange


def digest_of(change: PolicyChange) -> str:
    """Return the sha256, in hex, of all that is approved with a change."""
    texts = [
        change.kind,
        change.subject,
        change.title,
        change.product_requirement,
        change.engineering_note,
        change.reason_code,
        _instant(change.effective_at),
        _instant(change.expires_at) if change.expires_at else "",
        change.content,
    ]
    return sha256_hex(json.dumps(texts, ensure_ascii=False))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
