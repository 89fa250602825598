"""A customer sees an invoice under a signed link: what is owed now, its documents, nothing else."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client

from billing_project.api.logs import logging_config
from billing_project.kernel.errors import Conflict, NotAllowed
from invoicing.models import HostedLink, Invoice
from invoicing.services.endings import void_invoice, write_off_invoice
from invoicing.services.links import find_link, link_to, revoke_links, token_of, url_of
from tests.console.backoffice import action_url, client_of, send, told
from tests.invoicing.builders import (
    DAY,
    START,
    Shop,
    customer_of,
    issued,
    note_on,
    paid,
)
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clock(settings: Any) -> None:
    settings.BILLING_CLOCK = START.isoformat()


def _link(shop: Shop, invoice: Invoice) -> HostedLink:
    return link_to(invoice=invoice, by=shop.maker, at=START)


def _path(shop: Shop, invoice: Invoice, tail: str = "") -> str:
    return f"/invoice/{token_of(_link(shop, invoice))}{tail}"


def _page(shop: Shop, invoice: Invoice) -> str:
    return Client().get(_path(shop, Invoice.objects.get(pk=invoice.pk))).content.decode()


def test_a_link_shows_the_invoice_without_a_login_and_hides_its_address(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop, name="<b>Acme</b>"), 10_000)

    answer = Client().get(_path(shop, invoice))

    assert answer.status_code == 200
    body = answer.content.decode()
    assert f"Invoice {invoice.number}" in body
    assert "$100.00" in body
    assert "&lt;b&gt;Acme&lt;/b&gt;" in body
    assert "sessionid" not in answer.cookies
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "private, no-store"
    assert "noindex" in answer["X-Robots-Tag"]
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_follows_what_happens_to_the_invoice(shop: Shop, settings: Any) -> None:
    customer = customer_of(shop)
    open_one, part, done, gone, lost = (issued(shop, customer, 10_000) for _ in range(5))
    paid(shop, part, 4_000)
    note = note_on(shop, part, 1_000)
    paid(shop, done)
    void_invoice(invoice=gone, reason="never owed", by=shop.maker, at=START)
    write_off_invoice(invoice=lost, reason="bankrupt", by=shop.approver, at=START)

    assert ">Open</p>" in _page(shop, open_one)
    settings.BILLING_CLOCK = (START + 2 * DAY).isoformat()
    assert ">Overdue</p>" in _page(shop, open_one)
    settings.BILLING_CLOCK = START.isoformat()
    partly = _page(shop, part)
    assert '<p class="amount">$50.00</p>' in partly
    assert f"Credit note {note.number}" in partly
    assert "Paid by bank transfer" in partly
    assert ">Paid</p>" in _page(shop, done)
    assert ">Void</p>" in _page(shop, gone)
    assert '<p class="amount">$0.00</p>' in _page(shop, gone)
    assert '<p class="amount">$100.00</p>' in _page(shop, lost)  # A payment still recovers it.


@pytest.mark.parametrize("forge", ["", "x", "1", "1:x", "1:", ":", "é:1", "9" * 400, "1%00"])
def test_what_was_not_signed_here_is_not_found(shop: Shop, forge: str) -> None:
    token = token_of(_link(shop, issued(shop, customer_of(shop), 10_000)))

    assert Client().get(f"/invoice/{forge}").status_code == 404
    assert Client().get(f"/invoice/{token}x").status_code == 404
    other = f"{int(token.partition(':')[0]) + 1}:{token.partition(':')[2]}"
    assert Client().get(f"/invoice/{other}").status_code == 404


def test_a_link_ends_by_time_or_by_hand(shop: Shop, settings: Any) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    link = _link(shop, invoice)

    assert find_link(token_of(link), link.expires_at - timedelta(seconds=1)) == link
    with pytest.raises(Conflict, match="not valid any more"):
        find_link(token_of(link), link.expires_at)
    other = link_to(invoice=invoice, by=shop.maker, at=link.expires_at - DAY)
    assert other != link
    assert revoke_links(invoice=invoice, reason="misdirected", by=shop.maker, at=START) == 2
    assert Client().get(f"/invoice/{token_of(link)}").status_code == 410
    assert Client().get(f"/invoice/{token_of(link)}/document.pdf").status_code == 410
    assert _link(shop, invoice) != link
    revoke_links(invoice=invoice, reason="again", by=shop.maker, at=START)
    with pytest.raises(Conflict, match="no link to INV-000001 stands"):
        revoke_links(invoice=invoice, reason="once more", by=shop.maker, at=START)


def test_one_link_is_used_again_until_half_of_its_days_are_over(shop: Shop, settings: Any) -> None:
    settings.HOSTED_LINK_DAYS = 10
    settings.PUBLIC_URL = "https://billing.example"
    invoice = issued(shop, customer_of(shop), 10_000)
    first = _link(shop, invoice)

    assert link_to(invoice=invoice, by=shop.maker, at=START + 5 * DAY) == first
    assert link_to(invoice=invoice, by=shop.maker, at=START + 6 * DAY) != first
    assert url_of(first) == f"https://billing.example/invoice/{token_of(first)}"


def test_only_who_sends_invoices_makes_links_and_only_to_issued_ones(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    with pytest.raises(NotAllowed):
        link_to(invoice=invoice, by=shop.approver, at=START)
    with pytest.raises(NotAllowed):
        revoke_links(invoice=invoice, reason="x", by=shop.approver, at=START)


def test_documents_are_the_kept_ones_and_a_note_of_another_invoice_is_none(shop: Shop) -> None:
    customer = customer_of(shop)
    mine, theirs = issued(shop, customer, 10_000), issued(shop, customer, 10_000)
    note, other = note_on(shop, mine, 1_000), note_on(shop, theirs, 1_000)

    first, second = (Client().get(_path(shop, mine, "/document.pdf")) for _ in range(2))
    assert first.content == second.content
    assert first.content.startswith(b"%PDF")
    assert first["ETag"] == second["ETag"]
    assert Client().get(_path(shop, mine, f"/notes/{note.number}.pdf")).status_code == 200
    assert Client().get(_path(shop, mine, f"/notes/{other.number}.pdf")).status_code == 404
    assert Client().get(_path(shop, mine, "/notes/CN-999999.pdf")).status_code == 404


def test_nothing_can_be_changed_under_a_link(shop: Shop) -> None:
    path = _path(shop, issued(shop, customer_of(shop), 10_000))
    strict = Client(enforce_csrf_checks=True)

    assert strict.get(f"{path}/card").status_code == 405
    assert strict.post(f"{path}/card", headers={"Origin": "null"}).status_code == 503
    assert {strict.put(path).status_code, strict.delete(path).status_code} == {403}


def test_card_pages_are_offered_only_where_stripe_is_on(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)

    assert "Pay by card" not in _page(shop, invoice)
    assert Client().post(_path(shop, invoice, "/card")).status_code == 503


def test_no_card_is_asked_for_that_nobody_would_charge(shop: Shop, settings: Any) -> None:
    settings.STRIPE_API_KEY = "sk_test_fake"
    customer = customer_of(shop)
    owed, given_up = issued(shop, customer, 10_000), issued(shop, customer, 10_000)
    odd = issued(shop, customer_of(shop, "kw", currency="KWD"), 1_001, "KWD")
    write_off_invoice(invoice=given_up, reason="bankrupt", by=shop.approver, at=START)

    offers = ["Pay by card" in _page(shop, one) for one in (owed, given_up, odd)]

    assert offers == [True, False, False]


@pytest.mark.parametrize(
    "change", ["UPDATE hosted_link SET expires_at = now()", "DELETE FROM hosted_link"]
)
def test_a_link_is_not_edited_or_deleted(shop: Shop, change: str) -> None:
    _link(shop, issued(shop, customer_of(shop), 10_000))

    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(change)


def test_no_note_has_an_address_that_no_database_takes(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)

    assert Client().get(_path(shop, invoice, "/notes/%00.pdf")).status_code == 404


def test_support_opens_the_customers_page_and_revokes_a_link(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop), 10_000)
    client = client_of(shop.maker)

    url = action_url(invoice, "customer_page")
    client.get(url)
    assert not HostedLink.objects.exists()  # To look at a page makes nothing.
    answer = send(client, url)
    [link] = HostedLink.objects.all()
    assert f'href="/invoice/{token_of(link)}"' in told(answer)

    send(client, action_url(link, "revoke"), reason="sent to the wrong person")
    link.refresh_from_db()
    assert link.revoked_by == shop.maker


def test_the_api_gives_a_link_and_lists_mails(shop: Shop) -> None:
    invoice = issued(shop, customer_of(shop, email="billing@acme.example"), 10_000)

    admin_api = Api("admin")

    link = admin_api.post(f"invoices/{invoice.number}/link", {})
    assert link.status_code == 200
    assert "/invoice/" in link.json()["url"]
    sent = admin_api.post(f"invoices/{invoice.number}/mails", {}, key="once")
    again = admin_api.post(f"invoices/{invoice.number}/mails", {}, key="once")
    assert (sent.status_code, sent.json()) == (201, again.json())
    [row] = admin_api.get(f"invoices/{invoice.number}/mails").json()["data"]
    assert (row["address"], row["state"]) == ("billing@acme.example", "waits")


def test_no_log_line_opens_an_invoice() -> None:
    config = logging_config("INFO")["formatters"]["json"]
    token = "12:qbEap57CgYgduXhDGsYP7DdAT3dqDXWfxnshg8HxrMg"
    record = logging.makeLogRecord(
        {"msg": f"Forbidden: /invoice/{token}/card", "request": f"<POST '/invoice/{token}/card'>"}
    )

    line = config["()"]().format(record)

    assert "qbEap57" not in line
    assert json.loads(line)["event"] == "Forbidden: /invoice/-/card"


def test_who_comes_back_from_the_card_page_is_thanked_and_told_nothing() -> None:
    answer = Client().get("/invoice/back")

    assert (answer.status_code, answer["Referrer-Policy"]) == (200, "no-referrer")
    assert "INV-" not in answer.content.decode()
