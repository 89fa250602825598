"""PostgreSQL refuses what the ground's tables must not suffer, whoever asks."""

from datetime import datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel import audit
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "verb",
    ["UPDATE audit_entry SET reason = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_audit_trail_is_append_only(support: User, at: datetime, verb: str, role: str) -> None:
    audit.record(by=support, at=at, action="look", subject=support, reason="why not")

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"SET LOCAL session_replication_role = {role}")

        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(verb)


def test_a_key_can_be_revoked_but_not_rewritten(at: datetime) -> None:
    key, _ = create_api_key(name="app", scopes=["events:write"], at=at)

    key.revoked_at = at
    key.save(update_fields=["revoked_at"])
    key.scopes = ["admin"]
    with pytest.raises(DatabaseError, match="keeps its facts"), transaction.atomic():
        key.save(update_fields=["scopes"])
