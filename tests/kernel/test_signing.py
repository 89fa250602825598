"""The database signs the same text as the approver: every word, both dates, the content."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.signing import digest_of

pytestmark = pytest.mark.django_db


def _stored_digest(change: PolicyChange) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT policy_change_digest(c) FROM policy_change c WHERE id = %s", [change.pk]
        )
        digest: str = cursor.fetchone()[0]
    return digest


@pytest.mark.parametrize(
    "word", ["plain", 'a "quote" \\ and / slash', "tab\tline\n\x01\x1f\x7f", "żółć 🦊 \u2028"]
)
@pytest.mark.parametrize("expires", [None, datetime(2030, 1, 1, tzinfo=UTC)])
def test_postgresql_and_python_sign_the_same(
    maker: User, word: str, expires: datetime | None
) -> None:
    begins = datetime(2026, 3, 1, 1, 2, 3, 4000, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    words = Proposal(word, word, word, word[:40], begins, expires_at=expires)

    change = propose(
        kind="other", subject="other:x:1", content={"word": word}, proposal=words, by=maker,
        at=begins,
    )  # fmt: skip
    change.refresh_from_db()

    assert _stored_digest(change) == digest_of(change)


@pytest.mark.parametrize(
    "field",
    [
        "kind",
        "subject",
        "title",
        "product_requirement",
        "engineering_note",
        "reason_code",
        "content",
    ],
)
def test_every_word_counts(field: str) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    before = digest_of(PolicyChange(effective_at=at))

    assert digest_of(PolicyChange(effective_at=at, **{field: "x"})) != before


def test_both_dates_count() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    signed = {
        digest_of(PolicyChange(effective_at=at)),
        digest_of(PolicyChange(effective_at=at + timedelta(microseconds=1))),
        digest_of(PolicyChange(effective_at=at, expires_at=at + timedelta(days=1))),
    }

    assert len(signed) == 3
