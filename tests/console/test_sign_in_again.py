"""What decides for good asks who is there once the log-in is old; what was typed is kept."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import ApiKey, SignInAttempt, User
from billing_project.kernel.signins.devices import devices_of
from billing_project.kernel.signins.factors import enrol_factor, secret_to_enrol
from billing_project.kernel.signins.fresh import SIGNED_IN_AT, is_fresh
from billing_project.kernel.signins.totp import code_of, step_at
from tests.console.backoffice import action_url, actions, actions_above_lists

PASSWORD = "correct horse battery"
DANGEROUS = Path(__file__).with_name("dangerous_actions.txt")
AGAIN = "console:sign_in_again"


@pytest.fixture
def key(db: None, settings: Any) -> ApiKey:
    settings.FRESH_SIGN_IN_MINUTES = 15
    return create_api_key(name="app", scopes=["usage:read"], at=timezone.now())[0]


def signed_in(user: User, minutes_ago: int) -> Client:
    client = Client()
    data = {"username": user.username, "password": PASSWORD}
    assert client.post(reverse("admin:login"), data).status_code == 302
    session = client.session
    session[SIGNED_IN_AT] = (timezone.now() - timedelta(minutes=minutes_ago)).isoformat()
    session.save()
    return client


def said(reason: str = "Leaked") -> dict[str, str]:
    return {"reason": reason, "nonce": "a" * 24}


def test_a_fresh_log_in_goes_straight_on(key: ApiKey, engineer: User) -> None:
    client = signed_in(engineer, 14)

    assert client.get(action_url(key, "revoke")).status_code == 200
    client.post(action_url(key, "revoke"), said())

    key.refresh_from_db()
    assert key.revoked_at is not None


def test_an_old_one_is_asked_before_the_form(key: ApiKey, engineer: User) -> None:
    client, url = signed_in(engineer, 16), action_url(key, "revoke")

    asked = client.get(url)

    assert asked["Location"].startswith(reverse(AGAIN))
    assert client.post(asked["Location"], {"password": "wrong"}).status_code == 422
    assert client.post(asked["Location"], {"password": PASSWORD})["Location"] == url
    assert client.get(url).status_code == 200
    steps = SignInAttempt.objects.filter(step="again").order_by("id")
    assert list(steps.values_list("outcome", flat=True)) == ["failed", "signed_in"]


def test_a_form_that_comes_late_is_kept_and_does_nothing(key: ApiKey, engineer: User) -> None:
    client = signed_in(engineer, 16)

    answer = client.post(action_url(key, "revoke"), said("A long story"))

    key.refresh_from_db()
    body = answer.content.decode()
    assert key.revoked_at is None
    assert answer.status_code == 422
    assert "A long story" in body
    assert reverse(AGAIN) in body


def test_a_session_of_unknown_age_is_old(key: ApiKey, client: Client, engineer: User) -> None:
    client.force_login(engineer)

    assert client.get(action_url(key, "revoke")).status_code == 302


def test_who_has_a_second_factor_shows_it_again(key: ApiKey, engineer: User) -> None:
    client, at = signed_in(engineer, 16), timezone.now()
    secret = secret_to_enrol("a nonce")
    enrol_factor(user=engineer, nonce="a nonce", code=code_of(secret, step_at(at) - 1), at=at)

    assert client.post(reverse(AGAIN), {"password": PASSWORD}).status_code == 422
    wrong = {"password": PASSWORD, "code": "x"}
    assert client.post(reverse(AGAIN), wrong).status_code == 422
    code = code_of(secret, step_at(timezone.now()))
    assert client.post(reverse(AGAIN), {"password": "wrong", "code": code}).status_code == 422
    assert client.post(reverse(AGAIN), {"password": PASSWORD, "code": code}).status_code == 302


def test_guesses_here_are_tries_too(key: ApiKey, engineer: User) -> None:
    client = signed_in(engineer, 16)
    for _ in range(5):
        client.post(reverse(AGAIN), {"password": "wrong"})

    answer = client.post(reverse(AGAIN), {"password": PASSWORD})

    assert "Too many tries" in answer.content.decode()
    assert client.get(action_url(key, "revoke")).status_code == 302


def test_a_phone_is_not_replaced_in_a_browser_left_open(key: ApiKey, engineer: User) -> None:
    client = signed_in(engineer, 16)

    assert client.get(reverse("console:second_factor"))["Location"].startswith(reverse(AGAIN))


def test_guesses_of_the_old_password_are_tries_too(key: ApiKey, engineer: User) -> None:
    client, page = signed_in(engineer, 1), reverse("admin:password_change")
    new = {"new_password1": "a-new-one-of-77", "new_password2": "a-new-one-of-77"}
    for _ in range(5):
        assert client.post(page, {"old_password": "wrong", **new}).status_code == 200

    answer = client.post(page, {"old_password": PASSWORD, **new})

    assert "Too many tries" in answer.content.decode()
    engineer.refresh_from_db()
    assert engineer.check_password(PASSWORD)


def test_a_password_is_not_changed_in_a_browser_left_open(key: ApiKey, engineer: User) -> None:
    client, page = signed_in(engineer, 16), reverse("admin:password_change")

    assert client.get(page)["Location"].startswith(reverse(AGAIN))
    assert client.post(page)["Location"].startswith(reverse(AGAIN))


def test_a_new_password_ends_other_devices(key: ApiKey, engineer: User) -> None:
    elsewhere, client = signed_in(engineer, 1), signed_in(engineer, 1)
    new = {"new_password1": "a-new-one-of-77", "new_password2": "a-new-one-of-77"}

    client.post(reverse("admin:password_change"), {"old_password": PASSWORD, **new})

    assert client.get(reverse("console:own_sign_in")).status_code == 200
    assert elsewhere.get(reverse("console:own_sign_in")).status_code == 302
    assert devices_of(engineer, timezone.now()).count() == 1


def test_a_second_factor_ends_what_was_opened_without_it(key: ApiKey, engineer: User) -> None:
    elsewhere, client = signed_in(engineer, 1), signed_in(engineer, 1)
    client.get(reverse("console:second_factor"))
    secret = secret_to_enrol(client.session["second_factor_nonce"])

    code = code_of(secret, step_at(timezone.now()))
    assert client.post(reverse("console:second_factor"), {"code": code}).status_code == 200

    assert client.get(reverse("console:own_sign_in")).status_code == 200
    assert elsewhere.get(reverse("console:own_sign_in")).status_code == 302


def test_what_is_dangerous_is_written_down() -> None:
    named = {
        f"{model._meta.label_lower} {name}"
        for model, name, spec in (*actions(), *actions_above_lists())
        if spec.is_dangerous
    }

    # A row that differs or lacks is a decision: write it into the file by hand.
    assert sorted(named) == DANGEROUS.read_text().split("\n")[:-1]


def test_without_a_setting_no_log_in_is_old(settings: Any) -> None:
    settings.FRESH_SIGN_IN_MINUTES = 0

    assert is_fresh({}, timezone.now())
