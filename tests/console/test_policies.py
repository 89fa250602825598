"""The registry: what governs at an instant, its history, and the export with its sha256s."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_project.console.policies import policies_at
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.backoffice.policies import previous_version
from billing_project.kernel.kinds import acts, kind_of
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.signing import digest_of
from credits.services.overrides import propose_rate_migration
from credits.services.policies import propose_credit_policy
from metering.services.late import propose_late_event_policy
from tests.console.backoffice import client_of
from tests.credits.builders import NOVEMBER, make_customer, make_shop, rate
from tests.credits.builders import words as words_from
from tests.metering.test_api import Caller

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


@pytest.fixture
def orders(maker: User, approver: User, at: datetime) -> list[PolicyChange]:
    """Return two approved burn orders, of today and of the day after tomorrow, and one rule."""
    keys = (["priority", "expiry"], ["expiry", "priority"])
    made = []
    for number, order in enumerate(keys):
        words = Proposal(f"Order {number}", "Wanted", "A row", "launch", at + 2 * number * DAY)
        policy = propose_credit_policy(burn_order=order, proposal=words, by=maker, at=at)
        made.append(policy.policy_change)
    late = propose_late_event_policy(
        treatment="quarantine", by=maker, at=at,
        proposal=Proposal("Late", "Wanted", "A row", "late", at, expires_at=at + DAY),
    )  # fmt: skip
    made.append(late.policy_change)
    for change in made:
        approve(change=change, by=approver, reason="agreed", at=at)
    return made


@pytest.mark.parametrize(
    ("days", "titles"),
    [(-1, []), (0, ["Order 0", "Late"]), (1, ["Order 0"]), (2, ["Order 1"])],
)
def test_what_is_in_force_follows_the_instant(
    orders: list[PolicyChange], at: datetime, days: int, titles: list[str]
) -> None:
    assert [one.change.title for one in policies_at(at + days * DAY)] == titles


def test_a_history_has_every_version_with_its_state_and_what_it_changed(
    orders: list[PolicyChange], at: datetime
) -> None:
    second, first = policies_at(at + 3 * DAY, rule="credit_policy:burn_order", is_in_force=False)

    assert (str(second.state), str(first.state)) == ("effective", "superseded")
    assert first.superseded_at == at + 2 * DAY
    [row] = second.changed()
    assert (row.path, row.before, row.after) == (
        "burn_order",
        "priority, expiry",
        "expiry, priority",
    )


def test_the_page_names_who_asked_and_who_approved(
    orders: list[PolicyChange], auditor: User
) -> None:
    client = client_of(auditor)

    page = client.get(reverse("console:policies")).content.decode()
    history = client.get(reverse("console:policies"), {"rule": "credit_policy:burn_order"})

    assert "finance: ann.approver" in page
    assert "mia.maker" in page
    assert "Order 0" in page
    assert "Order 1" not in page
    assert "priority, expiry → expiry, priority" in history.content.decode()


def test_the_page_asks_for_a_kind_and_an_instant(
    orders: list[PolicyChange], auditor: User, at: datetime
) -> None:
    client, day = client_of(auditor), at + 2 * DAY
    asked = {"kind": "credit_policy", "on_0": f"{day:%Y-%m-%d}", "on_1": f"{day:%H:%M:%S}"}

    page = client.get(reverse("console:policies"), asked).content.decode()
    wrong = client.get(reverse("console:policies"), {"kind": "unicorn"})

    assert "Order 1" in page
    assert "Order 0" not in page
    assert "unicorn is not one of the available choices" in wrong.content.decode()


def test_the_export_carries_the_content_and_both_sha256s(
    orders: list[PolicyChange], auditor: User
) -> None:
    client, url = client_of(auditor), reverse("console:policies")

    csv = b"".join(client.get(url, {"format": "csv", "history": "on"})).decode()
    lines = b"".join(client.get(url, {"format": "json", "history": "on"})).splitlines()

    rows = {row["title"]: row for row in map(json.loads, lines)}
    assert set(rows) == {"Order 0", "Order 1", "Late"}
    first = rows["Order 0"]
    assert first["sha256"] == digest_of(orders[0])
    assert first["content_sha256"] == orders[0].content_sha256
    assert digest_of(orders[0]) in first["approvals"]
    assert digest_of(orders[0]) in csv


def test_the_api_answers_policies_with_approvals(orders: list[PolicyChange], at: datetime) -> None:
    caller = Caller("usage:read")

    answer = caller.get("policies").json()
    past = caller.get("policies", on=(at - DAY).isoformat()).json()
    bad = caller.get("policies", on="yesterday")

    assert {one["title"] for one in answer["data"]} == {"Order 0", "Late"}
    [order] = [one for one in answer["data"] if one["kind"] == "credit_policy"]
    assert order["approvals"][0]["by"] == "ann.approver"
    assert order["content"]["burn_order"] == ["priority", "expiry"]
    assert past["data"] == []
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["path"] == "$.on"


def test_an_act_is_no_policy_and_says_what_its_approval_does() -> None:
    assert acts() == {
        "backfill", "contract_allocation", "contract_modification", "coupon", "credit_note",
        "grant_basis", "opening_balances", "window_repair",
    }  # fmt: skip
    assert "issues this credit note" in kind_of("credit_note").consequence
    assert "governs" in kind_of("rate_card").consequence


def test_a_move_governs_until_the_last_of_its_customers_moves_on(
    maker: User, approver: User, at: datetime
) -> None:
    shop = make_shop(maker, approver, at)
    first = shop.card.versions.get(number=1)
    names = [shop.customer, *(make_customer(name, maker, at) for name in ("bolt", "coil"))]

    def move(day: int, *customers: int) -> PolicyChange:
        change = propose_rate_migration(
            rate_card=shop.card, customers=[names[one] for one in customers], version=first,
            proposal=words_from(NOVEMBER.start + day * DAY), by=maker, at=at,
        )  # fmt: skip
        shop.approve(change)
        return change

    both, bolt, coil = move(0, 0, 1), move(1, 1), move(1, 2)
    shop.version([rate("input", "1")], NOVEMBER.start + 4 * DAY, stays=[shop.customer])

    def history(day: int) -> dict[int, tuple[str, datetime | None, PolicyChange | None]]:
        entries = policies_at(
            NOVEMBER.start + day * DAY, rule="rate_migration:standard", is_in_force=False
        )
        return {one.change.pk: (one.state, one.superseded_at, one.before) for one in entries}

    # At its second day one of its customers has moved on; at the fourth the other stays elsewhere.
    end = NOVEMBER.start + 4 * DAY
    assert history(2) == {
        both.pk: ("effective", end, None),
        bolt.pk: ("effective", None, both),
        coil.pk: ("effective", None, None),
    }
    assert history(4)[both.pk] == ("superseded", end, None)
    assert previous_version(bolt) == both
    assert previous_version(coil) is None
