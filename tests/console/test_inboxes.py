"""The inbox of approvals and the page of exceptions: all that waits, and whose it is."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_project.console.approvals import effect_text
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.effects import Effect, EffectRow, document_of
from billing_project.kernel.models import PolicyChange, User
from credits.services.policies import propose_credit_policy
from invoicing.models import StripeDifference
from metering.models import LagEpisode
from revrec.services.months import ensure_period
from revrec.services.periods import propose_close
from tests.console.backoffice import client_of

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


def _proposed(by: User, at: datetime) -> PolicyChange:
    wish = Proposal(
        title="Promotional credits first", product_requirement="Customers asked",
        engineering_note="No cost", reason_code="product", effective_at=at + HOUR,
    )  # fmt: skip
    return propose_credit_policy(proposal=wish, by=by, at=at - 3 * HOUR).policy_change


def _rows(user: User) -> list[Any]:
    page = client_of(user).get(reverse("console:approvals"))
    assert page.status_code == 200
    return [line["row"] for line in page.context["rows"]]


def test_the_proposer_sees_that_somebody_else_decides(maker: User, at: datetime) -> None:
    change = _proposed(maker, at)

    [row] = _rows(maker)

    assert (row.title, row.proposed_by) == (change.title, str(maker))
    assert row.refusal == "You proposed this change: somebody else decides on it."


def test_an_approver_reads_what_would_change_and_decides(
    maker: User, approver: User, at: datetime
) -> None:
    change = _proposed(maker, at)

    page = client_of(approver).get(reverse("console:approvals"))

    [line] = page.context["rows"]
    assert (line["row"].refusal, line["age"]) == ("", "3 h")
    assert page.context["own_count"] == 1
    assert f'href="/admin/kernel/policychange/{change.pk}/change/"' in page.content.decode()


def test_a_month_to_close_is_for_another_approver(
    maker: User, approver: User, at: datetime
) -> None:
    period = ensure_period(date(2026, 10, 1))
    propose_close(period=period, by=approver, at=at, reason="October is in")

    [own], [refused] = _rows(approver), _rows(maker)

    assert own.title == f"Close of {period}"
    assert own.refusal == "You proposed this close: somebody else closes the month."
    assert refused.refusal == "Only finance approvers close a month."


def test_an_effect_is_summed_by_unit_and_its_parts_are_not_counted_twice(at: datetime) -> None:
    rows = (
        EffectRow("Overage", 1, Decimal(10), Decimal(25), "credit"),
        EffectRow("of it cached", 1, Decimal(0), Decimal(15), "credit", part_of="Overage"),
        EffectRow("Fee", 2, Decimal("99.50"), Decimal(90), "USD"),
        EffectRow("Grants", 2, Decimal(1), Decimal(1), "grant"),
    )
    change = PolicyChange(effect=document_of(Effect("The last period", rows, 2, 0), at))

    assert effect_text(change) == "2 customers: -9.5 USD, +15 credit"
    assert effect_text(PolicyChange(effect=None)) == ""


def _open_exceptions(at: datetime, count: int = 1) -> None:
    LagEpisode.objects.create(opened_at=at - HOUR, worst_lag_seconds=90, worst_at=at - HOUR)
    for number in range(count):
        StripeDifference.objects.create(
            kind="amount", subject=f"payment pi_{number}", here="6", there="5", owner="finance",
            first_seen_at=at - number * HOUR, last_seen_at=at,
        )  # fmt: skip


def test_exceptions_stand_by_kind_with_owner_and_age_the_oldest_first(
    auditor: User, at: datetime
) -> None:
    _open_exceptions(at, count=22)

    page = client_of(auditor).get(reverse("console:exceptions"))

    lag, stripe = page.context["kinds"]
    assert [line["row"].owner for line in lag["rows"]] == ["engineering"]
    assert lag["rows"][0]["age"] == "60 min"
    assert [line["row"].title for line in stripe["rows"]][:2] == ["payment pi_21", "payment pi_20"]
    assert (len(stripe["rows"]), stripe["more"]) == (20, 2)
    assert page.context["owners"] == ["engineering", "finance"]


def test_exceptions_of_one_owner_and_of_nobody(auditor: User, at: datetime) -> None:
    _open_exceptions(at)
    client, url = client_of(auditor), reverse("console:exceptions")

    titles = [one["kind"].title for one in client.get(url, {"owner": "finance"}).context["kinds"]]

    assert titles == ["Differences with Stripe"]
    assert b"Nothing is open for nobody" in client.get(url, {"owner": "nobody"}).content


def test_more_rows_ask_no_more_questions(auditor: User, maker: User, at: datetime) -> None:
    _open_exceptions(at)
    client, url = client_of(auditor), reverse("console:exceptions")
    client.get(url)
    with CaptureQueriesContext(connection) as few:
        client.get(url)
    StripeDifference.objects.bulk_create(
        StripeDifference(
            kind="state", subject=f"charge {n}", owner="finance", first_seen_at=at, last_seen_at=at
        )
        for n in range(15)
    )

    with CaptureQueriesContext(connection) as many:
        client.get(url)

    assert len(many) == len(few)


def test_nothing_open_says_so(auditor: User) -> None:
    client = client_of(auditor)

    assert b"Nothing is open: no event waits" in client.get(reverse("console:exceptions")).content
    assert b"Nothing waits for a decision" in client.get(reverse("console:approvals")).content
