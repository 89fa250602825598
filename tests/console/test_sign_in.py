"""The log-in page counts tries, says nothing about who exists, and remembers devices."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing_project.console.sign_in.origin import origin_of
from billing_project.kernel.models import SignedInDevice, SignInAttempt, User
from billing_project.kernel.signins.factors import enrol_factor, secret_to_enrol
from billing_project.kernel.signins.totp import code_of, secret_text, step_at
from tests.console.backoffice import action_url

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def sign_in(name: str, password: str = PASSWORD, address: str = "192.0.2.1") -> tuple[Client, Any]:
    client = Client(REMOTE_ADDR=address, HTTP_USER_AGENT="Test/1")
    data = {"username": name, "password": password}
    return client, client.post(reverse("admin:login"), data)


def test_who_signs_in_is_remembered_with_address_and_browser(support: User) -> None:
    client, answer = sign_in("sam.support")

    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
    device = SignedInDevice.objects.select_related("attempt").get()
    assert (device.user, device.attempt.user) == (support, support)
    assert (device.attempt.address, device.attempt.agent) == ("192.0.2.1", "Test/1")
    body = client.get(reverse("console:own_sign_in")).content.decode()
    assert "this one" in body
    assert "Test/1" in body


def test_a_wrong_password_and_an_unknown_name_get_the_same_words_and_the_same_wait(
    support: User,
) -> None:
    words = []
    for name in ("sam.support", "nobody"):
        for number in range(5):
            _, refused = sign_in(name, "wrong", f"198.51.100.{number}")
        _, waits = sign_in(name, PASSWORD)
        assert "_auth_user_id" not in waits.client.session
        words.append([_errors(refused), _errors(waits)])

    assert words[0] == words[1]
    assert "Too many tries failed" in words[0][1]
    assert SignInAttempt.objects.filter(user=support, outcome="failed").count() == 5
    assert SignInAttempt.objects.filter(user=None, outcome="failed").count() == 5


def _errors(answer: Any) -> str:
    return str(answer.context["form"].non_field_errors())


def test_who_may_not_enter_the_back_office_fails_like_a_stranger(db: None) -> None:
    User.objects.create_user("customer", password=PASSWORD)

    _, answer = sign_in("customer")

    assert "staff account" in _errors(answer)
    assert SignInAttempt.objects.get().outcome == "failed"


def test_a_device_that_is_signed_out_elsewhere_opens_nothing(support: User) -> None:
    lost, _ = sign_in("sam.support", address="192.0.2.7")
    here, _ = sign_in("sam.support")
    there = SignedInDevice.objects.get(attempt__address="192.0.2.7")
    url = reverse("console:sign_out_device")

    assert lost.get(reverse("admin:index")).status_code == 200
    assert here.post(url, {"device": there.pk}).status_code == 302

    assert lost.get(reverse("admin:index")).status_code == 302
    assert here.get(reverse("admin:index")).status_code == 200


def test_everywhere_else_keeps_the_device_at_hand(support: User) -> None:
    other, _ = sign_in("sam.support")
    here, _ = sign_in("sam.support")

    here.post(reverse("console:sign_out_device"), {"device": "others"})

    assert other.get(reverse("admin:index")).status_code == 302
    assert here.get(reverse("admin:index")).status_code == 200


def test_a_session_from_before_devices_were_kept_ends_with_all_others(
    support: User, approver: User
) -> None:
    olds, anns = Client(), Client()
    olds.force_login(support)
    anns.force_login(approver)
    here, _ = sign_in("sam.support")

    here.post(reverse("console:sign_out_device"), {"device": "others"})

    statuses = [one.get(reverse("console:own_sign_in")).status_code for one in (olds, here, anns)]
    assert statuses == [302, 200, 200]
    anns.post(reverse("console:sign_out_device"), {"device": "others"})
    assert anns.get(reverse("console:own_sign_in")).status_code == 200  # The one at hand stays.


@pytest.mark.parametrize("wanted", ["", "x", "-1", "9" * 30, "٣"])
def test_a_mad_device_is_refused(client: Client, support: User, wanted: str) -> None:
    client.force_login(support)

    assert client.post(reverse("console:sign_out_device"), {"device": wanted}).status_code == 403


def test_nobody_signs_out_another_persons_device(support: User, approver: User) -> None:
    sams, _ = sign_in("sam.support")
    anns, _ = sign_in("ann.approver")

    anns.post(
        reverse("console:sign_out_device"), {"device": SignedInDevice.objects.get(user=support).pk}
    )

    assert sams.get(reverse("admin:index")).status_code == 200


@pytest.mark.parametrize("next_one", ["sam.support", "ann.approver"])
def test_whoever_signs_in_next_in_a_browser_ends_the_device_of_before(
    support: User, approver: User, next_one: str
) -> None:
    client, _ = sign_in("sam.support")

    data = {"username": next_one, "password": PASSWORD}
    client.post(f"{reverse('admin:login')}?next=/admin/", data)

    newer, older = SignedInDevice.objects.all()
    assert (newer.user.username, newer.ended_at) == (next_one, None)
    assert older.ended_by == support


def test_signing_out_ends_the_device(support: User) -> None:
    client, _ = sign_in("sam.support")

    client.post(reverse("admin:logout"))

    assert SignedInDevice.objects.get().ended_by == support


def test_an_owner_lets_in_and_signs_out(support: User) -> None:
    owner = User.objects.create_superuser("owner", password=PASSWORD)
    sams, _ = sign_in("sam.support")
    olgas, _ = sign_in("owner")
    said = {"reason": "Lost laptop", "nonce": "a" * 24}

    olgas.post(action_url(support, "sign_out"), said)
    for _ in range(5):
        sign_in("sam.support", "wrong")
    olgas.post(action_url(support, "let_in"), said)

    assert sams.get(reverse("admin:index")).status_code == 302
    assert sign_in("sam.support")[1].status_code == 302
    assert SignedInDevice.objects.filter(ended_by=owner).count() == 1


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        (0, "203.0.113.5", "192.0.2.1"),  # Nobody of ours wrote it.
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "10.9.9.9, 203.0.113.5", "203.0.113.5"),  # The caller wrote the first one.
        (2, "10.9.9.9, 203.0.113.5, 10.0.0.1", "203.0.113.5"),
        (2, "203.0.113.5", "192.0.2.1"),  # Passed one of ours only: it is not believed.
        (1, "<script>", "192.0.2.1"),
        (1, "::ffff:203.0.113.5", "203.0.113.5"),
        (1, "2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_only_our_own_proxies_are_believed(
    rf: Any, settings: Any, proxies: int, said: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies

    request = rf.get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=said)

    assert origin_of(request).address == address


FACTOR = "console:second_factor"


def enrolled(user: User) -> bytes:
    """Give somebody a second factor and return its secret."""
    secret, at = secret_to_enrol("a nonce"), timezone.now()
    enrol_factor(user=user, nonce="a nonce", code=code_of(secret, step_at(at) - 1), at=at)
    return secret


def code_now(secret: bytes) -> str:
    """Return a code that is still good if the half minute ends meanwhile."""
    return code_of(secret, step_at(timezone.now()))


def test_who_has_a_second_factor_sees_no_page_without_it(support: User) -> None:
    secret = enrolled(support)
    client, _ = sign_in("sam.support")
    wanted = reverse("admin:kernel_user_changelist")

    barred = client.get(wanted)

    assert barred["Location"] == f"{reverse(FACTOR)}?next=%2Fadmin%2Fkernel%2Fuser%2F"
    assert client.post(reverse("admin:password_change")).status_code == 302
    assert client.get(reverse("console:own_sign_in")).status_code == 302
    assert b"authenticator app shows" in client.get(barred["Location"]).content
    passed = client.post(barred["Location"], {"code": code_now(secret), "next": wanted})
    assert passed["Location"] == wanted
    assert client.get(wanted).status_code == 200
    steps = SignInAttempt.objects.order_by("id").values_list("step", "outcome")
    assert list(steps) == [("password", "code_wanted"), ("code", "signed_in")]


def test_guessed_codes_count_as_tries_whoever_knows_the_password(support: User) -> None:
    secret = enrolled(support)

    for number in range(5):
        client, _ = sign_in("sam.support", address=f"198.51.100.{number}")
        refused = client.post(reverse(FACTOR), {"code": "x"})
    _, waits = sign_in("sam.support")

    assert refused.status_code == 422
    assert "Too many tries" in _errors(waits)
    late = client.post(reverse(FACTOR), {"code": code_now(secret)})
    assert "Too many tries" in _errors(late)
    assert client.get(reverse("admin:index")).status_code == 302


def test_where_it_is_required_the_first_log_in_sets_one_up(support: User, settings: Any) -> None:
    settings.SECOND_FACTOR = True
    client, _ = sign_in("sam.support")
    assert client.get(reverse("admin:index"))["Location"].startswith(reverse(FACTOR))

    page = client.get(reverse(FACTOR)).content.decode()
    assert "<svg" in page
    assert "viewBox" in page  # Else it is cut where the page is narrower.
    secret = secret_to_enrol(client.session["second_factor_nonce"])
    assert secret_text(secret) in page
    assert client.post(reverse(FACTOR), {"code": "123"}).status_code == 422
    codes = client.post(reverse(FACTOR), {"code": code_now(secret)})

    assert len(codes.context["codes"]) == 10
    assert codes["Cache-Control"].count("no-store") == 1
    assert client.get(reverse("admin:index")).status_code == 200
    again, _ = sign_in("sam.support")
    assert "<svg" not in again.get(reverse(FACTOR)).content.decode()


def test_the_next_log_in_in_the_same_browser_is_asked_again(support: User) -> None:
    secret = enrolled(support)
    client, _ = sign_in("sam.support")
    client.post(reverse(FACTOR), {"code": code_now(secret)})

    data = {"username": "sam.support", "password": PASSWORD}
    client.post(f"{reverse('admin:login')}?next=/admin/", data)

    assert client.get(reverse("admin:index")).status_code == 302


def test_nobody_is_sent_elsewhere(support: User) -> None:
    secret = enrolled(support)
    client, _ = sign_in("sam.support")

    data = {"code": code_now(secret), "next": "https://evil.example/"}

    assert client.post(reverse(FACTOR), data)["Location"] == reverse("admin:index")


def test_strangers_are_sent_to_the_log_in_and_api_and_invoices_ask_for_no_factor(
    client: Client, db: None, settings: Any
) -> None:
    settings.SECOND_FACTOR = True

    assert "login" in client.get(reverse(FACTOR))["Location"]
    assert client.get("/v1/customers").status_code == 401


def test_an_owner_resets_a_lost_one_and_the_person_is_out(support: User) -> None:
    secret = enrolled(support)
    client, _ = sign_in("sam.support")
    client.post(reverse(FACTOR), {"code": code_now(secret)})
    User.objects.create_superuser("owner", password=PASSWORD)
    owner, _ = sign_in("owner")

    said = {"reason": "Lost phone", "nonce": "a" * 24}
    assert owner.post(action_url(support, "reset_factor"), said).status_code == 302

    assert "login" in client.get(reverse("admin:index"))["Location"]
    assert sign_in("sam.support")[0].get(reverse("admin:index")).status_code == 200
