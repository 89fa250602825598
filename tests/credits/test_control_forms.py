"""What product proposes to stop an overspend: the difference first, then it waits for finance."""

import json
from decimal import Decimal
from typing import Any

import pytest

from billing_project.kernel.models import PolicyChange, User
from credits.models import ControlPolicy, ModelException, SpendLimit
from metering.services.customers import create_workspace
from tests.console.backoffice import action_url, client_of, person, send, told, url_above_list
from tests.credits.builders import Shop

pytestmark = pytest.mark.django_db
WORDS = {
    "title": "Stop runaways", "product_requirement": "No surprise", "reason_code": "runaway",
}  # fmt: skip
LIMIT = {**WORDS, "code": "acme:daily", "customer": "acme", "window": "day", "mode": "hard"}
RULES = {
    **WORDS, "customer": "acme", "overdraft": "capped", "overdraft_credits": "5", "retry_max": "3",
    "retry_seconds": "60", "premium_models": "large\n\n large ", "instead": "large = small",
    "premium_jobs": "nightly", "premium_ceiling": "0.5",
}  # fmt: skip
LEAVE = {**WORDS, "customer": "acme", "model": "large", "job": "demo"}
ENDS = {"expires_at_0": "2026-12-31", "expires_at_1": "00:00:00"}


@pytest.fixture
def product(db: None) -> User:
    return person("product")


@pytest.fixture(autouse=True)
def clock(settings: Any, shop: Shop) -> None:
    settings.BILLING_CLOCK = shop.at.isoformat()


def propose(user: User, table: Any, action: str, /, **said: object) -> Any:
    return send(client_of(user), url_above_list(table, action), **said)


def test_a_limit_is_seen_first_then_proposed_and_holds_once_approved(
    shop: Shop, product: User
) -> None:
    create_workspace(
        customer=shop.customer, external_id="prod", name="Prod", by=shop.maker, at=shop.at
    )
    said = {**LIMIT, "credits": "12.5", "workspace": "prod", "model": "large"}

    seen = propose(product, SpendLimit, "new_limit", **said)
    count = SpendLimit.objects.count()
    done = propose(product, SpendLimit, "new_limit", **said, confirmed="on")

    assert seen.context["form"].errors == {}
    assert "No earlier version was approved: all of it is new." in seen.content.decode()
    assert count == 0
    limit = SpendLimit.objects.get()
    assert (limit.code, limit.number, limit.credits) == ("acme:daily", 1, Decimal("12.5"))
    assert (str(limit.workspace), limit.model, limit.mode) == ("prod", "large", "hard")
    assert limit.policy_change.proposed_by == product
    assert told(done).startswith("success: Proposed")
    shop.approve(limit.policy_change)


def test_the_next_limit_begins_with_this_one_and_shows_what_differs(
    shop: Shop, product: User
) -> None:
    propose(product, SpendLimit, "new_limit", **LIMIT, credits="12.5", confirmed="on")
    first = SpendLimit.objects.get()
    shop.approve(first.policy_change)
    client, url = client_of(product), action_url(first, "next_limit")

    seen = send(client, url, **WORDS, mode="soft").content.decode()
    send(client, url, **WORDS, mode="soft", confirmed="on")
    renamed = send(client, url, **WORDS, code="acme:other", confirmed="on")

    assert "1 of 10 values differ from" in seen
    newest = SpendLimit.objects.latest("pk")
    assert (newest.number, newest.mode, newest.credits) == (2, "soft", Decimal("12.5"))
    assert "next version of acme:daily" in renamed.context["form"].errors["code"][0]


def test_rules_of_the_request_path_are_proposed_and_followed_by_a_next_version(
    shop: Shop, product: User
) -> None:
    propose(product, ControlPolicy, "new_controls", **RULES, confirmed="on")
    first = ControlPolicy.objects.get()
    shop.approve(first.policy_change)
    client, url = client_of(product), action_url(first, "next_controls")

    send(client, url, **WORDS, retry_max="4", confirmed="on")
    moved = send(client, url, **WORDS, customer="", confirmed="on")

    assert first.policy_change.subject == "control_policy:controls:acme:1"
    assert [first.overdraft, first.overdraft_credits] == ["capped", 5]
    newest = ControlPolicy.objects.latest("pk")
    assert (newest.number, newest.retry_max, newest.retry_seconds) == (2, 4, 60)
    assert (newest.premium_models, newest.instead) == (["large"], {"large": "small"})
    assert (newest.premium_jobs, newest.premium_ceiling) == (["nightly"], Decimal("0.5"))
    assert "next version of controls:acme" in moved.context["form"].errors["customer"][0]


def test_rules_of_everybody_name_no_customer(shop: Shop, product: User) -> None:
    propose(product, ControlPolicy, "new_controls", **WORDS, overdraft="off", confirmed="on")

    assert ControlPolicy.objects.get().customer is None


def test_an_exception_is_asked_for_until_a_day(shop: Shop, product: User) -> None:
    endless = propose(product, ModelException, "new_exception", **LEAVE, confirmed="on")
    propose(product, ModelException, "new_exception", **LEAVE, **ENDS, confirmed="on")

    assert list(endless.context["form"].errors) == ["expires_at"]
    exception = ModelException.objects.get()
    assert (exception.model, exception.job) == ("large", "demo")
    assert exception.policy_change.expires_at is not None
    assert exception.policy_change.expires_at.isoformat() == "2026-12-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"customer": "nobody"}, "customer"),
        ({"customer": "acme, acme2"}, "customer"),
        ({"customer": ""}, "customer"),
        ({"workspace": "nowhere"}, "workspace"),
        ({"credits": "-1"}, "credits"),
        ({"credits": "NaN"}, "credits"),
        ({"code": " "}, "code"),
        ({"window": "year"}, "window"),
    ],
)
def test_a_refused_limit_is_named_beside_its_field(
    shop: Shop, product: User, said: dict[str, str], field: str
) -> None:
    wanted = {**LIMIT, "credits": "5", "confirmed": "on", **said}

    answer = propose(product, SpendLimit, "new_limit", **wanted)

    assert list(answer.context["form"].errors) == [field]
    assert not PolicyChange.objects.filter(kind="spend_limit").exists()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"overdraft": "off"}, "overdraft_credits"),
        ({"overdraft_credits": "0"}, "overdraft_credits"),
        ({"retry_seconds": ""}, "retry_seconds"),
        ({"instead": "large small"}, "instead"),
        ({"instead": "large = small\nlarge = tiny"}, "instead"),
        ({"premium_models": "x" * 129}, "premium_models"),
    ],
)
def test_a_refused_rule_is_named_beside_its_field(
    shop: Shop, product: User, said: dict[str, str], field: str
) -> None:
    answer = propose(product, ControlPolicy, "new_controls", **{**RULES, **said}, confirmed="on")

    assert list(answer.context["form"].errors) == [field]
    assert not ControlPolicy.objects.exists()


def test_rules_are_kept_as_a_draft_and_submitted(shop: Shop, product: User) -> None:
    kept = propose(product, ControlPolicy, "new_controls", **RULES, as_draft="on")
    draft = PolicyChange.objects.get(status="draft")
    submitted = send(client_of(product), action_url(draft, "submit_change"), confirmed="on")

    assert told(kept).startswith("success: Kept as a draft")
    assert "number" not in json.loads(draft.content)
    assert told(submitted).startswith("success: Submitted")
    assert ControlPolicy.objects.get().policy_change == draft
