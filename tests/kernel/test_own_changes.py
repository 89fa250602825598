"""Wherever versions of rules are kept, one joins only an undecided change of its own kind."""

from datetime import datetime

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "table",
    [
        "plan_version",
        "proposed_credit_note",
        "late_event_policy",
        "backfill_proposal",
        "window_repair",
    ],
)
def test_a_version_joins_no_change_of_another_kind(maker: User, at: datetime, table: str) -> None:
    words = Proposal("A rule", "Wanted by product", "No code change", "launch", at)
    other = propose(
        kind="credit_policy", subject="burn_order:9", content={}, proposal=words, by=maker, at=at
    )

    with (
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match="its own kind"),
        transaction.atomic(),
    ):
        cursor.execute(f"INSERT INTO {table} (policy_change_id) VALUES (%s)", [other.pk])
