"""An issued invoice reaches its customer by mail: once for each cause, however servers behave."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import DatabaseError, connection

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from invoicing.mailing import MOST_TRIES, WAITS, Said, is_refused_for_good, next_try, subject, text
from invoicing.models import Invoice, InvoiceMail
from invoicing.services import mails
from invoicing.services.documents import keep_document
from invoicing.services.endings import void_invoice
from invoicing.services.invoices import finalize_invoice
from invoicing.services.mails import ask_for_mail, send_due_mails
from invoicing.services.subscriptions import subscribe
from tests.console.backoffice import action_url, client_of, send
from tests.invoicing.builders import (
    START,
    Shop,
    at_once,
    customer_of,
    fee_invoice,
    issued,
    sell_plan,
)

ADDRESS = "billing@acme.example"
MINUTE = timedelta(minutes=1)


def test_tries_grow_apart_and_end_after_three_days_and_a_half() -> None:
    assert next_try(1, START) == START + MINUTE
    assert next_try(2, START) == START + 5 * MINUTE
    assert next_try(MOST_TRIES, START) is None
    assert sum(WAITS, timedelta()) == timedelta(days=3, hours=7, minutes=21)


def test_only_an_address_that_every_reply_refuses_is_given_up_at_once() -> None:
    assert is_refused_for_good([550])
    assert not is_refused_for_good([450])
    assert not is_refused_for_good([550, 451])
    assert not is_refused_for_good([])


def test_names_cannot_write_headers_or_lines() -> None:
    said = Said("A\nB", "INV-1", "today", "$1.00", "$1.00", "tomorrow", False, "url", "S\r\nBcc: x")

    assert subject(said) == "Invoice INV-1 from S Bcc: x"
    assert text(said).startswith("Dear A B,\n\n")


@pytest.fixture
def shop_that_mails(shop: Shop, settings: Any) -> Shop:
    settings.MAIL_INVOICES = True
    settings.PUBLIC_URL = "https://billing.example/"
    return shop


def _issued(shop: Shop, **about: Any) -> Invoice:
    return issued(shop, customer_of(shop, **{"email": ADDRESS, **about}), 10_000)


def _send(shop: Shop, at: datetime = START) -> int:
    return send_due_mails(by=shop.worker, now=lambda: at)


def _one() -> InvoiceMail:
    return InvoiceMail.objects.get()


@pytest.mark.django_db
def test_an_issued_invoice_is_mailed_once_with_its_document_and_a_link(
    shop_that_mails: Shop,
) -> None:
    invoice = _issued(shop_that_mails)

    assert [_send(shop_that_mails), _send(shop_that_mails, START + MINUTE)] == [1, 0]

    [sent] = mail.outbox
    assert sent.to == [ADDRESS]
    assert sent.subject == f"Invoice {invoice.number} from Example AI, Inc."
    assert "$100.00 is due by" in sent.body
    assert "https://billing.example/invoice/" in sent.body
    document = keep_document(subject=invoice, at=START)
    assert sent.attachments[0].content == bytes(document.content)
    row = _one()
    assert (row.state, row.sent_at, row.attempts) == ("sent", START, 1)
    assert sent.extra_headers["Message-ID"] == f"<invoice-mail-{row.pk}@localhost>"


@pytest.mark.django_db
def test_nothing_is_mailed_where_mails_are_off_or_nobody_has_an_address(
    shop: Shop, settings: Any
) -> None:
    _issued(shop)
    settings.MAIL_INVOICES = True
    _issued(shop, external_id="silent", email="")

    assert not InvoiceMail.objects.exists()


@pytest.mark.django_db
def test_a_mail_belongs_to_the_issue_and_falls_with_it(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = customer_of(shop_that_mails, email=ADDRESS)
    sold = subscribe(
        customer=customer, plan_version=sell_plan(shop_that_mails), start_at=START,
        by=shop_that_mails.maker, at=START,
    )  # fmt: skip

    def fail(*_: object) -> None:
        mails.mail_issued(*_)  # type: ignore[arg-type]
        raise DatabaseError("gone")

    monkeypatch.setattr("invoicing.services.invoices.mail_issued", fail)
    with pytest.raises(DatabaseError):
        finalize_invoice(invoice=fee_invoice(sold), by=shop_that_mails.maker, at=START)

    assert not InvoiceMail.objects.exists()


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: OSError | None) -> None:
    def answer(self: EmailBackend, messages: list[Any]) -> int:
        if error is not None:
            raise error
        mail.outbox.extend(messages)
        return len(messages)

    monkeypatch.setattr(EmailBackend, "send_messages", answer)


@pytest.mark.django_db
def test_a_failed_try_waits_and_the_next_one_goes_out(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(shop_that_mails)
    _fails_with(monkeypatch, SMTPServerDisconnected("gone away"))

    assert _send(shop_that_mails) == 0
    assert (_one().state, _one().failure) == ("waits", "gone away")
    assert _one().next_try_at == START + MINUTE
    _fails_with(monkeypatch, None)
    assert _send(shop_that_mails, START + MINUTE - timedelta(seconds=1)) == 0
    assert _send(shop_that_mails, START + MINUTE) == 1
    assert (_one().state, _one().failure, _one().attempts) == ("sent", "", 2)


@pytest.mark.django_db
def test_an_address_that_is_refused_is_given_up_at_once_and_another_goes_on(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(shop_that_mails, external_id="gone", email="gone@acme.example")
    _issued(shop_that_mails)

    def answer(self: EmailBackend, messages: list[Any]) -> int:
        if messages[0].to == ["gone@acme.example"]:
            raise SMTPRecipientsRefused({"gone@acme.example": (550, b"no such user")})
        mail.outbox.extend(messages)
        return len(messages)

    monkeypatch.setattr(EmailBackend, "send_messages", answer)

    assert _send(shop_that_mails) == 1
    states = dict(InvoiceMail.objects.values_list("address", "given_up_at"))
    assert states == {"gone@acme.example": START, ADDRESS: None}
    assert "no such user" in InvoiceMail.objects.get(address="gone@acme.example").failure


@pytest.mark.django_db
def test_nobody_tries_for_ever(shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    _issued(shop_that_mails)
    _fails_with(monkeypatch, SMTPServerDisconnected("gone away"))

    at = START
    for _ in range(MOST_TRIES):
        _send(shop_that_mails, at)
        at += timedelta(days=1)

    assert (_one().state, _one().attempts) == ("given up", MOST_TRIES)


@pytest.mark.django_db
def test_a_worker_that_died_in_the_last_try_leaves_a_mail_that_is_given_up(
    shop_that_mails: Shop,
) -> None:
    _issued(shop_that_mails)
    InvoiceMail.objects.update(attempts=MOST_TRIES, next_try_at=START)

    assert (_send(shop_that_mails), mail.outbox) == (0, [])
    assert (_one().state, "without an answer" in _one().failure) == ("given up", True)


@pytest.mark.django_db
def test_no_try_is_used_up_while_the_server_is_away(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(shop_that_mails)

    monkeypatch.setattr(EmailBackend, "open", _refuse)

    assert (_send(shop_that_mails), _one().attempts, _one().state) == (0, 0, "waits")


@pytest.mark.django_db
def test_an_invoice_that_became_void_is_not_mailed(shop_that_mails: Shop) -> None:
    invoice = _issued(shop_that_mails)
    void_invoice(invoice=invoice, reason="never owed", by=shop_that_mails.maker, at=START)

    assert (_send(shop_that_mails), mail.outbox, _one().state) == (0, [], "given up")
    with pytest.raises(Conflict, match="none that is void"):
        ask_for_mail(invoice=Invoice.objects.get(), key="k", by=shop_that_mails.maker, at=START)


@pytest.mark.django_db
def test_who_asks_twice_with_one_key_gets_one_mail(shop: Shop) -> None:
    invoice = _issued(shop)
    asked: dict[str, Any] = {"invoice": invoice, "key": "k", "by": shop.maker, "at": START}

    assert ask_for_mail(**asked) == ask_for_mail(**asked)
    with pytest.raises(Conflict, match="another address"):
        ask_for_mail(**asked, address="other@acme.example")
    with pytest.raises(Invalid, match="no address for mail"):
        ask_for_mail(**{**asked, "key": "l"}, address="nobody")
    with pytest.raises(NotAllowed):
        ask_for_mail(**{**asked, "by": shop.approver})


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change", ["address = 'x@y.example'", "source_key = 'x'", "queued_at = now()"]
)
def test_what_was_asked_for_is_not_edited(shop_that_mails: Shop, change: str) -> None:
    _issued(shop_that_mails)

    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE invoice_mail SET {change}")


@pytest.mark.django_db
def test_support_sends_an_invoice_to_another_address(shop: Shop) -> None:
    invoice = _issued(shop)
    client = client_of(shop.maker)
    url = action_url(invoice, "send")

    send(client, url, address="other@acme.example")

    assert _one().address == "other@acme.example"
    assert _one().source_key.startswith(f"invoice:{invoice.pk}:asked:console:")


@pytest.mark.django_db
def test_who_listed_a_mail_before_another_took_it_leaves_it(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(shop_that_mails)

    def slowly(self: EmailBackend, messages: list[Any]) -> int:
        mail.outbox.extend(messages)
        if len(mail.outbox) == 1:  # While it is sent, the other worker comes to it, minutes later.
            row = _one()
            assert mails._try(row.pk, self, shop_that_mails.worker, START + 5 * MINUTE, []) == 0
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slowly)

    assert (_send(shop_that_mails), len(mail.outbox)) == (1, 1)


@pytest.mark.django_db
def test_a_server_that_is_lost_in_the_middle_uses_up_no_try(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        _issued(shop_that_mails, external_id=name)

    def lose(self: EmailBackend, *_: object) -> None:
        monkeypatch.setattr(EmailBackend, "open", _refuse)
        raise SMTPServerDisconnected("gone away")

    monkeypatch.setattr(EmailBackend, "send_messages", lose)

    assert _send(shop_that_mails) == 0
    assert set(InvoiceMail.objects.values_list("attempts", flat=True)) == {0}


def _refuse(self: EmailBackend) -> None:
    raise ConnectionRefusedError("nobody listens")


def _race(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let two workers find one mail before either takes it; return how many went out."""
    found = threading.Barrier(2, timeout=5)
    take: Callable[..., bool] = mails._claim

    def late(row: InvoiceMail, at: datetime) -> bool:
        found.wait()
        return take(row, at)

    monkeypatch.setattr(mails, "_claim", late)
    at_once(lambda: _send(shop), lambda: _send(shop))
    return len(mail.outbox)


@pytest.mark.django_db(transaction=True)
def test_two_workers_send_one_mail(shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    _issued(shop_that_mails)

    assert _race(shop_that_mails, monkeypatch) == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_claim_two_workers_send_it_twice(
    shop_that_mails: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issued(shop_that_mails)
    monkeypatch.setattr(mails, "_claim", lambda row, at: True)

    assert _race(shop_that_mails, monkeypatch) == 2
