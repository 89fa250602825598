"""What finance and support do to invoices in the back office."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.models import User
from credits.models import CreditGrant
from invoicing.models import (
    CreditNote,
    CustomerBalance,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    Payment,
    Refund,
)
from invoicing.selectors.invoices import lines_of_grant
from invoicing.services.invoices import finalize_invoice
from invoicing.services.packs import sell_credit_pack
from tests.console.backoffice import action_url, client_of, page_of, send, told
from tests.invoicing.builders import (
    START,
    Shop,
    fee_invoice,
    paid,
    set_limits,
    sold_pack,
    subscribed,
)

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=1)


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def draft(shop: Shop) -> Invoice:
    """Return the draft of a fee of USD 49.00."""
    return fee_invoice(subscribed(shop))


@pytest.fixture
def issued(shop: Shop, draft: Invoice) -> Invoice:
    """Return the issued fee; support credits up to 100.00 of it by itself."""
    set_limits(shop, notes_above={"USD": 10_000})
    return finalize_invoice(invoice=draft, by=shop.maker, at=NOW)


def line_of(invoice: Invoice) -> InvoiceLine:
    return invoice.lines.get()


def credit_form(client: Client, invoice: Invoice, amount: str, **words: str) -> dict[str, str]:
    """Fill in the credit note's form as it is shown."""
    form = client.get(action_url(invoice, "credit")).context["form"]
    return {
        "nonce": form["nonce"].value(),
        "reason": "goodwill",
        "memo": "sorry",
        f"line_{line_of(invoice).pk}": amount,
        **words,
    }


def test_a_draft_is_finalized_once(draft: Invoice, shop: Shop) -> None:
    client = client_of(shop.maker)

    first = send(client, action_url(draft, "finalize"))

    draft.refresh_from_db()
    assert draft.status == InvoiceStatus.FINALIZED
    assert told(first) == f"success: Issued {draft.number} over 49.00 USD."
    page = client.get(page_of(draft)).content.decode()
    assert action_url(draft, "finalize") not in page
    assert action_url(draft, "pay") in page


def test_a_payment_is_recorded_once_for_a_double_click(issued: Invoice, shop: Shop) -> None:
    client, url = client_of(shop.maker), action_url(issued, "pay")

    first = send(client, url, amount="49.00", reference="WIRE-7")
    client.post(
        url,
        {
            "nonce": "abcdefghijklmnopqrst", "amount": "49.00", "method": "bank_transfer",
            "reference": "WIRE-7", "paid_at_0": "2026-10-22", "paid_at_1": "00:00:00",
        },
    )  # fmt: skip

    payment = Payment.objects.get()
    assert told(first) == f"success: Recorded 49.00 USD for {issued}."
    assert (payment.amount_minor, payment.recorded_by, payment.paid_at) == (4900, shop.maker, NOW)
    issued.refresh_from_db()
    assert issued.status == InvoiceStatus.PAID


@pytest.mark.parametrize("amount", ["0.001", "0", "-5", "NaN", "", "49,00 USD"])
def test_an_amount_that_is_none_is_not_recorded(issued: Invoice, shop: Shop, amount: str) -> None:
    response = send(
        client_of(shop.maker), action_url(issued, "pay"), amount=amount, reference="WIRE-7"
    )

    assert response.status_code == 422
    assert not Payment.objects.exists()


def test_more_than_is_open_is_refused_and_the_form_keeps_what_was_typed(
    issued: Invoice, shop: Shop
) -> None:
    response = send(
        client_of(shop.maker), action_url(issued, "pay"), amount="49.01", reference="WIRE-7"
    )

    assert response.status_code == 422
    assert told(response).startswith(f"error: {issued.number} has 49.00 USD open")
    assert response.context["form"]["amount"].value() == "49.01"
    assert response.context["form"]["reference"].value() == "WIRE-7"
    assert not Payment.objects.exists()


def test_who_comes_back_to_a_form_finds_it_fresh(issued: Invoice, support: User) -> None:
    page = client_of(support).get(action_url(issued, "credit"))

    # What the browser would fill in again is another attempt, with a nonce of its own.
    assert '<form method="post" autocomplete="off"' in page.content.decode()


def test_a_double_click_issues_one_credit_note(issued: Invoice, support: User) -> None:
    client = client_of(support)
    sent = credit_form(client, issued, "9.00")

    answers = [client.post(action_url(issued, "credit"), sent) for _ in range(2)]

    note = CreditNote.objects.get()
    assert [answer.status_code for answer in answers] == [302, 302]
    assert (note.total_minor, note.reason, note.memo) == (900, "goodwill", "sorry")
    assert note.source_key == f"console:{sent['nonce']}"
    issued.refresh_from_db()
    assert issued.open_minor == 4000


def test_a_second_form_issues_a_second_note(issued: Invoice, support: User) -> None:
    client = client_of(support)

    for _ in range(2):
        client.post(action_url(issued, "credit"), credit_form(client, issued, "9.00"))

    assert CreditNote.objects.count() == 2


def test_the_form_shows_what_is_left_and_refuses_more(issued: Invoice, support: User) -> None:
    client, url = client_of(support), action_url(issued, "credit")
    client.post(url, credit_form(client, issued, "9.00"))

    shown = client.get(url).content.decode()
    answer = client.post(url, credit_form(client, issued, "40.01"))

    assert "40.00 USD" in shown  # 49.00 - 9.00
    assert answer.status_code == 422
    assert "Only 40.00 USD is left." in answer.content.decode()
    assert answer.context["form"][f"line_{line_of(issued).pk}"].value() == "40.01"
    assert CreditNote.objects.count() == 1


def test_a_note_is_settled_refunded_and_what_came_back_pays_an_invoice(
    issued: Invoice, shop: Shop
) -> None:
    client, url = client_of(shop.maker), action_url(issued, "credit")
    paid(shop, issued, 4500)
    wrong = credit_form(client, issued, "9.00", refund="3.00", balance="1.00")

    refused = client.post(url, wrong)  # Of 9.00 are 4.00 still open: 5.00 was paid.
    sent = {**wrong, "balance": "2.00"}
    assert [client.post(url, sent).status_code for _ in range(2)] == [302, 302]

    words = "5.00 USD was paid and goes back, but the settlement says 4.00 USD."
    assert (refused.status_code, words in refused.content.decode()) == (422, True)
    note = CreditNote.objects.get()
    assert (note.open_minor, note.refund_minor, note.balance_minor) == (400, 300, 200)
    for _ in range(2):
        send(
            client, action_url(note, "refund"), amount="3.00", reference="re_1", method="card",
            nonce="n" * 20,
        )  # fmt: skip
    refund = Refund.objects.get()
    assert (refund.amount_minor, refund.reference) == (300, "re_1")
    send(client, action_url(refund, "fail"), reason="account closed")
    balance = CustomerBalance.objects.get()
    answer = send(client, action_url(balance, "refund_balance"), amount="1.00", reference="re_2")
    assert "Recorded 1.00 USD out of the balance" in told(answer)
    pack = sell_credit_pack(
        customer=issued.customer, pricing_unit=shop.unit, amount=Decimal(1), price_minor=900,
        key="pack", by=shop.maker, at=NOW,
    )  # fmt: skip
    assert (pack.applied_minor, pack.open_minor) == (400, 500)
    client.post(url, credit_form(client, issued, "1.00"))  # All of it to the balance.
    told_last = told(send(client, action_url(pack, "apply_balance")))
    assert told_last == f"success: The balance paid 1.00 USD of {pack.number}."


@pytest.mark.parametrize(
    ("amount", "words"),
    [("", {}), ("0", {}), ("1.00", {"reason": ""}), ("1.00", {"memo": ""}), ("0.005", {})],
)
def test_an_incomplete_note_is_not_issued(
    issued: Invoice, support: User, amount: str, words: dict[str, str]
) -> None:
    client = client_of(support)

    answer = client.post(action_url(issued, "credit"), credit_form(client, issued, amount, **words))

    assert answer.status_code == 422
    assert not CreditNote.objects.exists()


def test_a_line_of_another_invoice_is_not_credited(
    issued: Invoice, shop: Shop, support: User
) -> None:
    other = finalize_invoice(invoice=fee_invoice(subscribed(shop, "beta")), by=shop.maker, at=NOW)
    client = client_of(support)
    sent = credit_form(client, issued, "1.00", **{f"line_{line_of(other).pk}": "5.00"})

    client.post(action_url(issued, "credit"), sent)

    assert CreditNote.objects.get().total_minor == 100
    other.refresh_from_db()
    assert other.credited_minor == 0


def test_a_pack_is_sold_once_for_a_double_click(draft: Invoice, shop: Shop) -> None:
    client, url = client_of(shop.maker), action_url(draft.customer, "sell_pack")
    form = client.get(url).context["form"]
    sent = {
        "nonce": form["nonce"].value(), "pricing_unit": shop.unit.pk,
        "amount": "10000", "price": "90.00",
    }  # fmt: skip

    answers = [client.post(url, sent) for _ in range(2)]

    sold = Invoice.objects.get(source_key__startswith="credit_pack:")
    assert [answer.status_code for answer in answers] == [302, 302]
    assert (sold.total_minor, sold.status) == (9000, InvoiceStatus.FINALIZED)


def test_documents_open_in_the_browser(issued: Invoice, support: User) -> None:
    client = client_of(support)
    client.post(action_url(issued, "credit"), credit_form(client, issued, "9.00"))

    for document in (issued, CreditNote.objects.get()):
        answer = client.get(action_url(document, "pdf"))

        assert answer["Content-Type"] == "application/pdf"
        assert answer["Content-Disposition"] == f'inline; filename="{document.number}.pdf"'
        assert answer.content.startswith(b"%PDF")


def test_a_draft_has_no_document(draft: Invoice, auditor: User) -> None:
    answer = client_of(auditor).get(action_url(draft, "pdf"))

    assert answer["Location"] == page_of(draft)
    assert told(answer).startswith("error: ")


def test_the_clock_of_the_form_is_the_one_of_the_house(issued: Invoice, shop: Shop) -> None:
    form = client_of(shop.maker).get(action_url(issued, "pay")).context["form"]

    shown = form["paid_at"].value()
    assert isinstance(shown, datetime)
    assert shown == NOW


def test_an_issued_invoice_is_voided_and_made_anew_with_a_reason(
    issued: Invoice, shop: Shop
) -> None:
    client, url = client_of(shop.maker), action_url(issued, "regenerate")

    assert client.post(url, {"nonce": "abcdefghijklmnopqrst"}).status_code == 422  # No reason.
    done = send(client, url, reason="wrong address")

    issued.refresh_from_db()
    replacement = Invoice.objects.get(replaces=issued)
    assert issued.status == InvoiceStatus.VOID
    assert f"{issued.number} is void" in told(done)
    assert action_url(issued, "pay") not in client.get(page_of(issued)).content.decode()
    assert action_url(replacement, "finalize") in client.get(page_of(replacement)).content.decode()


def test_an_approver_writes_off_what_is_open(issued: Invoice, shop: Shop) -> None:
    done = send(client_of(shop.approver), action_url(issued, "write_off"), reason="insolvent")

    issued.refresh_from_db()
    assert told(done) == f"success: Wrote off 49.00 USD of {issued.number}."
    assert issued.written_off_minor == 4900
    page = client_of(shop.maker).get(page_of(issued)).content.decode()
    assert action_url(issued, "write_off") not in page
    assert action_url(issued, "pay") in page


def test_a_grant_s_page_links_to_the_line_that_sold_it(
    shop: Shop, draft: Invoice, auditor: User
) -> None:
    pack = paid(shop, sold_pack(shop, draft.customer, 900))
    bought, included = CreditGrant.objects.order_by("category").reverse()
    client = client_of(auditor)

    pages = {grant.category: client.get(page_of(grant)) for grant in (bought, included)}

    links = {name: page.context["related_links"] for name, page in pages.items()}
    sold = {name: [one.url for one in some if one.title == "Invoice line"]
            for name, some in links.items()}  # fmt: skip
    assert sold == {"paid": [page_of(line_of(pack))], "included": [page_of(line_of(draft))]}


def test_a_gift_was_sold_by_no_line() -> None:
    keys = ("demo:gift", "invoice_line:x:pack", "invoice_line:9:other", "billing_period:9")
    grants = [CreditGrant(source_key=key) for key in keys]

    assert [grant for grant in grants if lines_of_grant(grant).exists()] == []
