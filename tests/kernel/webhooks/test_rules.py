"""Webhooks out, as far as it is rules: signatures, waits, and where nothing is sent to."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from billing_project.kernel.webhooks.addresses import (
    LOOPBACK,
    PUBLIC,
    Refused,
    Target,
    is_public,
    pinned,
    target_of,
)
from billing_project.kernel.webhooks.schedule import (
    MOST_TRIES,
    WAITS,
    is_taken,
    next_try,
    why_to_disable,
)
from billing_project.kernel.webhooks.standard import headers, secret_text, signature

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
# The published vector of Standard Webhooks' reference libraries.
SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')


def test_a_message_is_signed_as_the_published_vector() -> None:
    assert signature(SECRET, *MESSAGE) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert secret_text(SECRET) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_both_secrets_sign_while_one_rotates() -> None:
    said = headers([SECRET, b"another"], *MESSAGE)

    assert said["webhook-id"] == MESSAGE[0]
    assert said["webhook-timestamp"] == "1614265330"
    first, second = said["webhook-signature"].split(" ")
    assert first == signature(SECRET, *MESSAGE)
    assert second == signature(b"another", *MESSAGE)


def test_tries_grow_apart_over_three_days_and_end() -> None:
    assert next_try(1, AT) == AT + timedelta(seconds=5)
    assert next_try(2, AT) == AT + timedelta(minutes=5)
    assert next_try(MOST_TRIES, AT) is None
    assert timedelta(days=3) < sum(WAITS, timedelta()) < timedelta(days=4)


def test_only_2xx_is_taken() -> None:
    assert [code for code in (199, 200, 204, 299, 301, 302, 404, 500) if is_taken(code)] == [
        200, 204, 299,
    ]  # fmt: skip


def test_an_endpoint_is_switched_off_when_gone_or_after_five_days() -> None:
    assert why_to_disable(410, AT, AT) == "it answered 410: gone"
    assert why_to_disable(500, AT - timedelta(days=5, seconds=-1), AT) == ""
    assert "nothing was taken since" in why_to_disable(None, AT - timedelta(days=5), AT)


@pytest.mark.parametrize(
    "inside",
    [
        "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192",
        "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
        "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::8.8.8.8",
        "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1",
        "2001:0:4136:e378::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
    ],
)  # fmt: skip
def test_nothing_inside_is_public(inside: str) -> None:
    assert not is_public(ip_address(inside))


@pytest.mark.parametrize("outside", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111"])
def test_the_open_internet_is_public(outside: str) -> None:
    assert is_public(ip_address(outside))


def test_an_address_is_read_with_its_name_port_and_path() -> None:
    assert target_of("https://hooks.example.com/a%20b?c=d", PUBLIC) == Target(
        "https", "hooks.example.com", 443, "/a%20b?c=d"
    )
    assert target_of("https://B\u00fccher.example:8443", PUBLIC) == Target(
        "https", "xn--bcher-kva.example", 8443, "/"
    )
    assert target_of("http://127.0.0.1:9000/x", LOOPBACK).port == 9000


@pytest.mark.parametrize(
    "bad",
    [
        "", "hooks.example.com", "http://hooks.example.com/", "ftp://hooks.example.com/",
        "file:///etc/passwd", "gopher://x.example/", "https://", "https:///path",
        "https://user@hooks.example.com/", "https://user:word@hooks.example.com/",
        "https://hooks.example.com:22/", "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/", "https://hooks.example.com:x/",
        "https://hooks.example.com/#part", "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nHost: inside", "https://hooks.example.com\\@inside/",
        "https://[::1%25eth0]/", "https://" + "a" * 64 + ".example/", "https://ex_ample.com/",
        "https://hooks.example.com/" + "a" * 1_000, "https://.example/", "https://hooks..example/",
        "https://hooks.example.com/\u2028", "\thttps://hooks.example.com/",
    ],
)  # fmt: skip
def test_what_is_no_such_address_is_refused(bad: str) -> None:
    with pytest.raises(Refused):
        target_of(bad, PUBLIC)


def test_one_address_inside_refuses_all_of_a_name() -> None:
    assert pinned(["8.8.8.8", "2606:4700::1111"], PUBLIC) == "8.8.8.8"
    for found in ([], ["8.8.8.8", "10.0.0.1"], ["fe80::1%eth0"], ["nonsense"]):
        with pytest.raises(Refused):
            pinned(found, PUBLIC)


def test_the_setting_for_demonstrations_reaches_this_machine_and_nothing_else() -> None:
    assert pinned(["127.0.0.1"], LOOPBACK) == "127.0.0.1"
    for found in ("8.8.8.8", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"):
        with pytest.raises(Refused):
            pinned([found], LOOPBACK)
