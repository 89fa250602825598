"""Customers hear of a failed payment once, with a page for another card."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from billing_project.kernel.keys import create_api_key
from invoicing.api.hosted_data import page_data
from invoicing.models import Invoice, PaymentAttempt
from invoicing.services.links import link_to, token_of
from invoicing.stripe_sync.dunning import mail_declines
from invoicing.stripe_sync.gateway import Unreachable
from invoicing.stripe_sync.pages import card_page
from invoicing.stripe_sync.policy import NotChargeable, from_stripe, next_try, to_stripe, wait
from tests.invoicing.builders import START, customer_of, issued
from tests.invoicing.stripe_sync.till import Till


def _declined(till: Till, code: str) -> Invoice:
    customer = till.customer(email="pay@acme.example")
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=[code])
    invoice = issued(till.shop, customer, 10_000)
    till.collect()
    return invoice


def _mail(till: Till) -> int:
    return mail_declines(by=till.shop.worker, at=till.at)


def test_a_decline_is_told_once_with_the_next_try_and_a_page(till: Till) -> None:
    invoice = _declined(till, "insufficient_funds")

    assert [_mail(till), _mail(till)] == [1, 0]

    [sent] = mail.outbox
    assert sent.to == ["pay@acme.example"]
    assert sent.subject == f"Payment of invoice {invoice.number} failed"
    again = till.at + timedelta(days=1)
    assert f"$100.00 for invoice {invoice.number}" in sent.body
    assert f"We will try again on {again:%B} {again.day}, {again.year}." in sent.body
    assert page_data(invoice, till.at)["declined"] == f"{till.at:%B} {till.at.day}, {till.at.year}"
    assert f"{till.fake.url}/c/pay/cs_fake" in sent.body


def test_a_page_says_that_another_card_is_being_charged(till: Till, settings: Any) -> None:
    invoice = _declined(till, "insufficient_funds")
    link = link_to(invoice=invoice, by=till.shop.maker, at=till.at)
    settings.BILLING_CLOCK = till.at.isoformat()
    said = []
    for step in (lambda: None, lambda: till.new_card(invoice.customer), till.collect):
        step()
        page = Client().get(f"/invoice/{token_of(link)}").content.decode()
        said.append(["was declined" in page, "A card is saved" in page, "Pay by card" in page])

    assert said == [[True, False, True], [False, True, False], [False, False, False]]


def test_the_last_decline_says_that_nobody_tries_again(till: Till) -> None:
    _declined(till, "stolen_card")
    _mail(till)

    assert "We will not try this card again" in mail.outbox[0].body


def test_a_mail_waits_while_stripe_makes_no_page(till: Till) -> None:
    _declined(till, "card_declined")
    till.fake.faults({"fault": "unavailable"})
    assert (_mail(till), mail.outbox) == (0, [])
    till.at += timedelta(minutes=5)

    till.fake.faults()
    assert _mail(till) == 1
    assert PaymentAttempt.objects.get().told_at == till.at


def test_the_api_makes_a_page_for_a_card(till: Till) -> None:
    customer_of(till.shop, "beta")
    _, key = create_api_key(name="t", scopes=["admin"], at=START)
    words: Any = {"headers": {"Authorization": f"Bearer {key}"}, "content_type": "application/json"}

    made = Client().post("/v1/payment_method_sessions", {"customer": "beta"}, **words)
    till.fake.faults({"fault": "lost_request"})
    lost = Client().post("/v1/payment_method_sessions", {"customer": "beta"}, **words)

    assert made.status_code == 201
    assert made.json()["url"].startswith(till.fake.url)
    assert (lost.status_code, lost.json()["code"]) == (503, "stripe_unreachable")


def test_a_page_that_somebody_waits_for_does_not_wait_for_the_next_try(till: Till) -> None:
    customer = customer_of(till.shop, "beta")
    words: Any = {"customer": customer, "by": till.shop.worker}
    till.fake.faults({"fault": "unavailable", "calls": "POST /v1/customers"})
    for minutes in (0, 10, 20, 40):  # It is tried again by itself after an hour, by now.
        with pytest.raises(Unreachable):
            card_page(**words, at=till.at + timedelta(minutes=minutes))
    till.fake.faults()
    with pytest.raises(Unreachable):  # Whoever sent it last may still be waiting for the answer.
        card_page(**words, at=till.at + timedelta(minutes=40, seconds=20))

    page = card_page(**words, at=till.at + timedelta(minutes=41))

    assert page.startswith(till.fake.url)


def test_without_a_key_the_api_says_so(till: Till, settings) -> None:  # type: ignore[no-untyped-def]
    settings.STRIPE_API_KEY = ""
    customer_of(till.shop, "beta")
    _, key = create_api_key(name="t", scopes=["admin"], at=START)

    answer = Client().post(
        "/v1/payment_method_sessions", {"customer": "beta"}, content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )  # fmt: skip

    assert (answer.status_code, answer.json()["code"]) == (409, "stripe_off")


def test_waits_double_to_an_hour_with_a_jitter_of_their_key() -> None:
    waits = [wait(n, "k").total_seconds() for n in (1, 2, 3, 8, 99)]

    assert all(
        low <= found < low * 1.25
        for low, found in zip((30, 60, 120, 3_600, 3_600), waits, strict=True)
    )
    assert wait(5, "k") == wait(5, "k") != wait(5, "l")


@pytest.mark.parametrize(
    ("declines", "code", "days"),
    [(1, "card_declined", 1), (2, "card_declined", 3), (3, "card_declined", None),
     (1, "expired_card", None)],
)  # fmt: skip
def test_declines_are_tried_again_by_the_schedule(
    declines: int, code: str, days: int | None
) -> None:
    found = next_try(declines, code, [1, 3], START)

    assert found == (START + timedelta(days=days) if days else None)


def test_amounts_are_written_as_stripe_counts() -> None:
    pairs = [("USD", 1_234, 1_234), ("JPY", 500, 500), ("KWD", 1_230, 1_230), ("ISK", 7, 700)]

    assert [to_stripe(ours, code) for code, ours, _ in pairs] == [there for *_, there in pairs]
    assert [from_stripe(there, code) for code, _, there in pairs] == [ours for _, ours, _ in pairs]
    with pytest.raises(NotChargeable):
        to_stripe(1_234, "KWD")
