"""The way out, against real sockets: pinned, named, bounded, and never led elsewhere."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from billing_project.kernel.webhooks.addresses import PUBLIC, Reach
from billing_project.kernel.webhooks.door import Answer, Door, Letter
from tests.kernel.webhooks.receiver import (
    Receiver,
    certificate_for,
    door_to,
    raw_receiving,
    receiving,
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def _letter(url: str) -> Letter:
    return Letter(
        url, {"webhook-id": "msg_1", "content-type": "application/json"}, '{"a":"\u00fc"}'
    )


def test_a_letter_arrives_as_it_was_written(receiver: Receiver) -> None:
    url = f"http://hooks.example:{receiver.port}/hook?x=1"

    assert door_to().send(_letter(url)) == Answer(204)

    [(headers, body)] = receiver.got
    assert body == '{"a":"\u00fc"}'
    assert headers["host"] == f"hooks.example:{receiver.port}"
    assert headers["webhook-id"] == "msg_1"


def test_no_redirect_is_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"location": f"{receiver.url}2"}

    assert door_to().send(_letter(receiver.url)).status == 307
    assert len(receiver.got) == 1


def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.status, receiver.body = 500, b"x" * 1_000_000

    answer = door_to().send(_letter(receiver.url))

    assert (answer.status, len(answer.said)) == (500, 1_024)


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(
    receiver: Receiver,
) -> None:
    """A name that is public when it is checked and inside when it is used: DNS rebinding."""
    answers: Iterator[list[str]] = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    asked = []

    def rebind(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    only = Reach(frozenset({"http"}), None, lambda address: str(address) == "127.0.0.1")
    way = Door(only, rebind, door_to().context, 2, 3)
    url = f"http://rebinding.example:{receiver.port}/"

    assert way.send(_letter(url)).status == 204
    assert asked == ["rebinding.example"]
    assert way.send(_letter(url)).said == "not sent: 127.0.0.2 is no public address"
    assert len(receiver.got) == 1


@pytest.mark.parametrize("inside", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1"])
def test_a_name_that_leads_inside_is_not_connected_to(
    inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("nothing connects")

    monkeypatch.setattr(socket, "create_connection", connect)

    answer = door_to("8.8.8.8", inside, reach=PUBLIC).send(_letter("https://hooks.example/"))

    assert answer == Answer(None, f"not sent: {inside} is no public address")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_numbers_in_disguise_are_resolved_before_they_are_judged(host: str) -> None:
    way = Door(PUBLIC, _as_the_machine_does, door_to().context, 2, 3)

    assert way.send(_letter(f"https://{host}/")).said == "not sent: 127.0.0.1 is no public address"


def _as_the_machine_does(host: str, port: int) -> list[str]:
    return [socket.inet_ntoa(socket.inet_aton(host))]


def test_tls_is_spoken_to_the_name_and_its_certificate_is_checked(tmp_path: Path) -> None:
    serves, trusts = certificate_for("hooks.example", tmp_path)
    with receiving(serves) as receiver:
        way = door_to(context=trusts)
        good = way.send(_letter(f"https://hooks.example:{receiver.port}/"))
        other = way.send(_letter(f"https://other.example:{receiver.port}/"))
        untrusted = door_to().send(_letter(f"https://hooks.example:{receiver.port}/"))

        assert good.status == 204
        assert receiver.asked_for == ["hooks.example", "other.example", "hooks.example"]
        assert len(receiver.got) == 1
    for refused in (other, untrusted):
        assert refused.status is None
        assert "CERTIFICATE_VERIFY_FAILED" in refused.said


def test_nobody_there_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert "Connection refused" in door_to().send(_letter(f"http://x.example:{port}/")).said


def test_a_name_that_cannot_be_resolved_is_an_answer() -> None:
    def fail(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    answer = Door(PUBLIC, fail, door_to().context).send(_letter("https://nowhere.example/"))

    assert answer.said.startswith("its name cannot be resolved")


def test_who_answers_a_byte_at_a_time_is_cut_off() -> None:
    def drip(link: socket.socket) -> None:
        with suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000:
                link.send(bytes([byte]))
                time.sleep(0.05)

    with raw_receiving(drip) as url:
        begin = time.monotonic()
        answer = door_to(whole=1).send(_letter(url))

    assert answer.status is None
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("nonsense", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_is_an_answer(nonsense: bytes) -> None:
    with raw_receiving(lambda link: link.sendall(nonsense)) as url:
        assert door_to().send(_letter(url)).status is None


def test_who_says_yes_and_breaks_off_has_taken_it() -> None:
    def break_off(link: socket.socket) -> None:
        link.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    with raw_receiving(break_off) as url:
        assert door_to().send(_letter(url)).status == 200
