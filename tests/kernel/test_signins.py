"""Too many tries wait, whoever makes them; a device that was ended stays ended."""

import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, connection, transaction

from billing_project.kernel.errors import NotFound
from billing_project.kernel.models import AuditEntry, SignInAttempt, SignInOutcome, SignInStep, User
from billing_project.kernel.signins import attempts
from billing_project.kernel.signins.attempts import (
    Origin,
    TooManyTries,
    begin_attempt,
    end_attempt,
    let_in_again,
)
from billing_project.kernel.signins.devices import (
    devices_of,
    see_device,
    sign_in_device,
    sign_out_device,
    sign_out_everywhere,
)

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


def begin(username: str = "sam.support", address: str = "192.0.2.1", at: datetime = AT) -> Any:
    return begin_attempt(step=SignInStep.PASSWORD, username=username, origin=Origin(address), at=at)


def fail(times: int, username: str = "sam.support", address: str = "", at: datetime = AT) -> None:
    for number in range(times):
        attempt = begin(username, address or f"198.51.100.{number}", at)
        end_attempt(attempt=attempt, outcome=SignInOutcome.FAILED, user=None)


@pytest.mark.parametrize("name", ["sam.support", "nobody.of.this.name"])
def test_an_account_waits_after_five_failures_whether_it_exists_or_not(
    support: User, name: str
) -> None:
    fail(5, name)

    with pytest.raises(TooManyTries, match="Wait 15 minutes"):
        begin(f" {name.upper()} ", at=AT + timedelta(seconds=1))
    begin("another")
    begin(name, at=AT + 15 * MINUTE)


def test_a_try_counts_before_its_password_is_looked_at() -> None:
    for number in range(5):
        begin(address=f"198.51.100.{number}")

    with pytest.raises(TooManyTries):
        begin()


def test_an_address_waits_after_thirty_failures_at_any_accounts() -> None:
    for number in range(30):
        fail(1, f"name{number}", "192.0.2.9", AT)

    with pytest.raises(TooManyTries):
        begin("one.more", "192.0.2.9")
    begin("one.more", "192.0.2.10")


def test_an_ipv6_network_is_one_address() -> None:
    for number in range(30):
        fail(1, f"name{number}", f"2001:db8:1:2::{number:x}", AT)

    with pytest.raises(TooManyTries):
        begin("one.more", "2001:db8:1:2:ffff::1")
    begin("one.more", "2001:db8:1:3::1")


def test_success_forgives_the_account_but_not_the_address(support: User) -> None:
    fail(4, address="192.0.2.9")
    end_attempt(attempt=begin(address="192.0.2.9"), outcome=SignInOutcome.SIGNED_IN, user=support)
    fail(4, address="192.0.2.9")
    for number in range(22):
        fail(1, f"name{number}", "192.0.2.9")

    begin(address="192.0.2.8")
    with pytest.raises(TooManyTries):
        begin(address="192.0.2.9")


def test_a_right_password_that_wants_a_code_forgives_nothing(support: User) -> None:
    fail(4)
    end_attempt(attempt=begin(), outcome=SignInOutcome.CODE_WANTED, user=support)
    fail(1)

    with pytest.raises(TooManyTries):
        begin()


def test_an_owner_lets_somebody_in_again(support: User, approver: User) -> None:
    fail(5)

    let_in_again(user=support, by=approver, reason="Called me", at=AT)

    begin()
    assert AuditEntry.objects.get(action="let_in_again").reason == "Called me"


def test_what_was_typed_as_a_name_is_not_kept() -> None:
    row = begin("my-password")

    assert "my-password" not in str(SignInAttempt.objects.filter(pk=row.pk).values().get())


def test_a_try_stays_what_it_was() -> None:
    row = begin()

    for change in ("address = 'elsewhere'", "at = now()"):
        with pytest.raises(Error, match="sign_in_attempt"), transaction.atomic():
            _run(f"UPDATE sign_in_attempt SET {change} WHERE id = {row.pk}")
    with pytest.raises(Error, match="sign_in_attempt"), transaction.atomic():
        _run("DELETE FROM sign_in_attempt")


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _device(user: User) -> Any:
    attempt = end_attempt(attempt=begin(), outcome=SignInOutcome.SIGNED_IN, user=user)
    return sign_in_device(user=user, attempt=attempt, at=AT)


def test_a_device_is_seen_until_it_is_signed_out(support: User) -> None:
    device = _device(support)

    assert see_device(device=device.pk, at=AT + 6 * MINUTE)
    assert devices_of(support, AT).get().seen_at == AT + 6 * MINUTE
    sign_out_device(device=device.pk, by=support, at=AT)
    sign_out_device(device=device.pk, by=support, at=AT + MINUTE)

    assert not see_device(device=device.pk, at=AT)
    assert not devices_of(support, AT).exists()
    device.refresh_from_db()
    assert device.ended_at == AT


def test_nobody_signs_out_somebody_elses_device(support: User, approver: User) -> None:
    device = _device(support)

    with pytest.raises(NotFound, match="not signed in"):
        sign_out_device(device=device.pk, by=approver, at=AT)
    assert see_device(device=device.pk, at=AT)


def test_everywhere_is_everywhere_but_one(support: User, approver: User) -> None:
    kept, other = _device(support), _device(support)

    assert sign_out_everywhere(user=support, by=support, at=AT, but=kept.pk) == 1
    assert not see_device(device=other.pk, at=AT)
    assert sign_out_everywhere(user=support, by=approver, at=AT, reason="Lost laptop") == 1
    assert not see_device(device=kept.pk, at=AT)


@pytest.mark.parametrize(("is_locked", "let_through"), [(True, 1), (False, 2)])
@pytest.mark.django_db(transaction=True)
def test_two_tries_at_once_are_two(
    monkeypatch: pytest.MonkeyPatch, is_locked: bool, let_through: int
) -> None:
    fail(4)
    gap = threading.Barrier(2)
    begun: list[object] = []
    counted = attempts._network_waits

    def slowly(origin: Origin, at: datetime) -> datetime | None:
        with suppress(threading.BrokenBarrierError):
            gap.wait(timeout=0.2 if is_locked else 5)
        return counted(origin, at)

    def one(address: str) -> None:
        with suppress(TooManyTries), closing(connection):
            begun.append(begin(address=address))

    monkeypatch.setattr(attempts, "_network_waits", slowly)
    if not is_locked:  # The canary: without the lock both go through.
        monkeypatch.setattr(attempts, "wait_for", lambda name: None)
    threads = [threading.Thread(target=one, args=[f"192.0.2.{n}"]) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(begun) == let_through
