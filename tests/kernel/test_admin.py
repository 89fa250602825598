"""Actions with a form: one service, a message, a redirect; a refusal keeps what was typed."""

import json
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from billing_project.kernel import approvals
from billing_project.kernel.approvals import Proposal, approve, propose
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import AuditEntry, PolicyChange, PolicyStatus, User
from tests.console.backoffice import action_url, client_of, list_of, page_of, send, told

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


@pytest.fixture(autouse=True)
def rows_as_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the app that keeps the versions' rows."""
    monkeypatch.setitem(approvals._contents, "rate_card", lambda change: json.loads(change.content))


def proposed(by: User, at: datetime, number: int = 1, price: str = "0.5") -> PolicyChange:
    return propose(
        kind="rate_card",
        subject=f"rate_card:standard:{number}",
        content={"number": number, "rates": [{"meter_code": "input", "unit_price": price}]},
        proposal=Proposal("Rates", "Margin", "Rows only", "margin", at),
        by=by,
        at=at,
    )


def test_an_approver_approves_and_is_sent_back_to_the_change(
    approver: User, maker: User, at: datetime
) -> None:
    change = proposed(maker, at)

    response = send(client_of(approver), action_url(change, "approve"), reason="margin holds")

    change.refresh_from_db()
    assert (response.status_code, response["Location"]) == (302, page_of(change))
    assert (change.status, change.decided_by, change.decided_at) == ("approved", approver, at)
    assert told(response) == "success: Approved: Rates."
    entry = AuditEntry.objects.get(action="approve_policy_change")
    assert (entry.by, entry.reason) == (approver, "margin holds")


def test_an_approver_rejects(approver: User, maker: User, at: datetime) -> None:
    change = proposed(maker, at)

    send(client_of(approver), action_url(change, "reject"), reason="too dear")

    change.refresh_from_db()
    assert change.status == PolicyStatus.REJECTED


def test_a_decision_needs_its_reason(approver: User, maker: User, at: datetime) -> None:
    change = proposed(maker, at)

    response = send(client_of(approver), action_url(change, "approve"), reason="  ")

    change.refresh_from_db()
    assert response.status_code == 422
    assert response.context["form"].errors["reason"]
    assert change.status == PolicyStatus.SUBMITTED


def test_proposers_see_that_they_cannot_decide(maker: User, at: datetime) -> None:
    maker.groups.add(Group.objects.get(name="finance_approver"))
    change = proposed(maker, at)
    client, url = client_of(User.objects.get(pk=maker.pk)), action_url(change, "approve")

    shown = client.get(url)
    answer = send(client, url, reason="it is mine")

    assert "You proposed this change" in shown.content.decode()
    assert "Approve</button>" not in "".join(shown.content.decode().split())
    assert answer.status_code == 422
    assert told(answer).startswith("error: You proposed this change")
    change.refresh_from_db()
    assert change.status == PolicyStatus.SUBMITTED


def test_a_change_that_was_decided_meanwhile_is_not_decided_again(
    approver: User, maker: User, at: datetime
) -> None:
    change = proposed(maker, at)
    client, url = client_of(approver), action_url(change, "approve")
    form = client.get(url).context["form"]
    PolicyChange.objects.filter(pk=change.pk).update(
        status="rejected", decided_by=approver, decided_at=at, decision_reason="no"
    )

    response = client.post(url, {"nonce": form["nonce"].value(), "reason": "yes please"})

    assert told(response) == "error: This change was rejected already."
    assert response.context["form"]["reason"].value() == "yes please"


def test_the_approver_reads_what_differs_from_the_version_that_governs(
    approver: User, maker: User, at: datetime
) -> None:
    first = proposed(maker, at, 1, "0.4")
    approve(change=first, by=approver, reason="ok", at=at)
    second = proposed(maker, at, 2, "0.5")
    client = client_of(approver)

    for url in (page_of(second), action_url(second, "approve")):
        page = client.get(url).content.decode()

        # 0.5 / 0.4 = 1.25; the version's number is no difference.
        assert "1 of 1 value differ from" in page
        assert "+25.0 %" in page
        assert page_of(first) in page


def test_a_form_without_the_nonce_of_its_page_is_refused(
    approver: User, maker: User, at: datetime
) -> None:
    change = proposed(maker, at)
    client, url = client_of(approver), action_url(change, "approve")

    for nonce in ("", "short", "x" * 65, "<script>alert(1)</script>"):
        assert client.post(url, {"reason": "ok", "nonce": nonce}).status_code == 422

    change.refresh_from_db()
    assert change.status == PolicyStatus.SUBMITTED


def test_a_form_from_elsewhere_is_refused(approver: User, maker: User, at: datetime) -> None:
    change = proposed(maker, at)
    client = Client(enforce_csrf_checks=True)
    client.force_login(approver)

    response = client.post(
        action_url(change, "approve"), {"reason": "ok", "nonce": "abcdefghijklmnopqrst"}
    )

    assert response.status_code == 403
    change.refresh_from_db()
    assert change.status == PolicyStatus.SUBMITTED


def test_an_action_on_nothing_goes_home(approver: User) -> None:
    gone = PolicyChange(pk=999)

    response = client_of(approver).get(action_url(gone, "approve"))

    assert response.status_code == 302
    assert told(response).startswith("warning: ")


def test_an_engineer_revokes_a_key_once(engineer: User, at: datetime) -> None:
    key, _ = create_api_key(name="app", scopes=["events:write"], at=at)
    client = client_of(engineer)

    send(client, action_url(key, "revoke"), reason="it leaked")

    key.refresh_from_db()
    assert key.revoked_at == at
    assert action_url(key, "revoke") not in client.get(page_of(key)).content.decode()


def test_a_key_shows_no_secret(engineer: User, at: datetime) -> None:
    key, secret = create_api_key(name="app", scopes=["events:write"], at=at)
    client = client_of(engineer)

    pages = client.get(page_of(key)).content + client.get(list_of(type(key))).content

    assert secret.encode() not in pages
    assert key.secret_sha256.encode() not in pages


def test_an_object_leads_to_what_was_done_to_it(auditor: User, maker: User, at: datetime) -> None:
    change = proposed(maker, at)
    client = client_of(auditor)

    page = client.get(page_of(change)).content.decode()
    trail = client.get(f"{list_of(AuditEntry)}?subject__exact=policychange:{change.pk}")

    assert f"subject__exact=policychange%3A{change.pk}" in page
    assert "propose_policy_change" in trail.content.decode()


def test_people_and_roles_are_shown_without_their_passwords(auditor: User) -> None:
    page = client_of(auditor).get(page_of(auditor)).content.decode()

    assert "auditor" in page
    assert auditor.password not in page
