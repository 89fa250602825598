"""The documents: right words and numbers, inert names, the same bytes for the same rows."""

import hashlib
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing_project.kernel.errors import Conflict
from billing_project.kernel.locales import Formats
from invoicing.api.hosted_data import page_data
from invoicing.crediting import Settlement
from invoicing.documents import (
    credit_note_data,
    credit_note_pdf,
    invoice_data,
    invoice_pdf,
)
from invoicing.models import CreditNote, Invoice, InvoiceDocument
from invoicing.services import documents
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.documents import keep_document
from invoicing.services.invoices import draft_overage_invoices, finalize_due, finalize_invoice
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.subscriptions import subscribe
from invoicing.writing import Writer
from metering.services.customers import update_customer
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    customer_of,
    fee_invoice,
    overage_invoices,
    sell_plan,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

HOSTILE = '#read("/etc/passwd") *b* $x$ <a> "\\ #image("x.png") [c]  \n' + "W" * 120


def _overage(shop: Shop) -> Invoice:
    subscription = subscribed(shop)
    use(shop, 150, START + DAY, "req-1", model="small")
    use(shop, 30, START + DAY, "req-2", model="large")
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    [invoice] = overage_invoices(subscription)
    return invoice


def test_an_invoice_shows_money_above_and_credits_apart(shop: Shop) -> None:
    data = invoice_data(_overage(shop))

    assert (data["number"], data["total"], data["open"]) == ("INV-000002", "$0.96", "$0.96")
    assert (data["issued"], data["due"]) == ("November 21, 2026", "December 21, 2026")
    assert data["period"] == "Oct 21, 2026 \N{EN DASH} Nov 19, 2026"
    assert data["lines"] == [
        {
            "description": "Credits used beyond those granted",
            "service": "Oct 21, 2026 \N{EN DASH} Nov 19, 2026",
            "quantity": "80 credits",
            "unit_price": "$0.012",
            "amount": "$0.96",
        }
    ]
    assert data["statement"] == {
        "unit": "credit",
        "rows": [
            {"description": "Output tokens, small", "used": "150 tokens", "credits": "150"},
            {"description": "Output tokens, large", "used": "30 tokens", "credits": "30"},
        ],
        "total": "180",
        "drawn": "100",
        "overage": "80",
    }


def test_a_document_stays_as_it_was_issued(shop: Shop) -> None:
    invoice = finalize_invoice(invoice=fee_invoice(subscribed(shop)), by=shop.maker, at=START)
    before = invoice_data(invoice)
    record_payment(
        invoice=invoice, amount_minor=4000, method="bank_transfer", reference="wire-7",
        paid_at=START, by=shop.maker, at=START + DAY,
    )  # fmt: skip
    note = issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), 1500)], reason="service_failure",
        memo="Slow", key="n", by=shop.maker, at=START + 2 * DAY,
        settlement=Settlement(refund_minor=400, balance_minor=150, out_of_band_minor=50),
    )  # fmt: skip
    invoice.refresh_from_db()

    assert invoice_data(invoice) == before
    assert (before["settlements"], before["open"], before["is_paid"]) == ([], "$49.00", False)
    seen = credit_note_data(note)
    assert (seen["reason"], seen["memo"], seen["invoice"]) == (
        "Service failure", "Slow", "INV-000001",
    )  # fmt: skip
    assert (seen["total"], seen["off_open"]) == ("$15.00", "$9.00")
    assert seen["settlement"] == [
        {"label": "Was paid: will be refunded to you", "amount": "$4.00"},
        {"label": "Was paid: your balance, for the next invoices", "amount": "$1.50"},
        {"label": "Was paid: already given back to you", "amount": "$0.50"},
    ]
    assert credit_note_pdf(note) == credit_note_pdf(note)

    pack = sell_credit_pack(
        customer=invoice.customer, pricing_unit=shop.unit, amount=Decimal(1), price_minor=200,
        key="pack", by=shop.maker, at=START + 3 * DAY,
    )  # fmt: skip
    assert invoice_data(pack)["settlements"] == [
        {"label": "Your balance, applied October 24, 2026", "amount": "\N{MINUS SIGN}$1.50"}
    ]
    assert invoice_data(pack)["open"] == "$0.50"


def test_a_document_is_tagged_so_that_it_can_be_read_aloud(shop: Shop) -> None:
    pdf = invoice_pdf(_overage(shop))

    tags = re.findall(rb"/S ?/(H1|H2|Table|TR|TH|TD)\b", pdf)
    # A table of claims with four heads and one of credits with three; the facts stand in a third.
    assert [tags.count(tag) for tag in (b"H1", b"H2", b"Table", b"TH")] == [1, 1, 4, 7]
    assert all(word in pdf for word in (b"/StructTreeRoot", b"pdfuaid:part", b"/Lang"))


def test_the_same_rows_give_the_same_bytes(shop: Shop) -> None:
    invoice = _overage(shop)

    pdf = invoice_pdf(invoice)

    assert pdf.startswith(b"%PDF-")
    assert invoice_pdf(Invoice.objects.get(pk=invoice.pk)) == pdf


def test_a_document_is_set_once_and_kept_byte_for_byte(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = _overage(shop)
    kept = keep_document(subject=invoice, at=END + DAY)

    monkeypatch.setattr(documents, "invoice_pdf", lambda _: b"%PDF- set anew")
    again = keep_document(subject=invoice, at=END + 2 * DAY)

    assert (again.pk, bytes(again.content)) == (kept.pk, invoice_pdf(invoice))
    assert again.sha256 == hashlib.sha256(again.content).hexdigest()


def test_who_sets_a_document_second_gets_the_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = _overage(shop)

    def overtaken(_: Invoice) -> bytes:
        monkeypatch.setattr(documents, "invoice_pdf", lambda _: b"%PDF- first")
        keep_document(subject=invoice, at=END)
        return b"%PDF- second"

    monkeypatch.setattr(documents, "invoice_pdf", overtaken)

    assert bytes(keep_document(subject=invoice, at=END).content) == b"%PDF- first"


def test_the_database_refuses_a_document_that_is_not_its_hash(shop: Shop) -> None:
    invoice = _overage(shop)
    keep_document(subject=invoice, at=END)
    [other] = Invoice.objects.exclude(pk=invoice.pk)

    for broken in ("content_sha256 = ''", "content = ''", "set_at = now()"):
        with (
            pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor,
        ):  # fmt: skip
            cursor.execute(f"UPDATE invoice_document SET {broken}")
    with pytest.raises(IntegrityError, match="invoice_document_sha256"), transaction.atomic():
        InvoiceDocument.objects.create(
            invoice=other, content=b"a", content_sha256=b"b",
            set_at=END,
        )  # fmt: skip


def test_what_people_wrote_is_text_and_nothing_else(shop: Shop) -> None:
    customer = customer_of(shop, "mallory", name=HOSTILE)
    subscription = subscribe(
        customer=customer, plan_version=sell_plan(shop), start_at=START, by=shop.maker, at=START
    )
    invoice = finalize_invoice(invoice=fee_invoice(subscription), by=shop.maker, at=START)
    note = issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), 100)], reason="goodwill", memo=HOSTILE,
        key="n", by=shop.maker, at=START,
    )  # fmt: skip

    assert invoice_pdf(invoice).startswith(b"%PDF-")
    assert credit_note_pdf(note).startswith(b"%PDF-")


def test_a_draft_is_no_document(shop: Shop) -> None:
    with pytest.raises(Conflict, match="finalize it first"):
        invoice_pdf(fee_invoice(subscribed(shop)))


def test_every_kind_of_document_is_set_whenever_it_was_issued(shop: Shop) -> None:
    moment = timedelta(hours=3, minutes=7, seconds=9, microseconds=123_456)
    subscription = subscribed(shop)
    pack = sell_credit_pack(
        customer=subscription.customer, pricing_unit=shop.unit, amount=Decimal(10),
        price_minor=900, key="pack", by=shop.maker, at=START + moment,
    )  # fmt: skip
    use(shop, 150, START + DAY, "req-1")
    use(shop, 50, START + DAY, "req-2", model="large")
    draft_overage_invoices(by=shop.worker, at=END + moment)
    finalize_due(by=shop.worker, at=END + DAY + moment)
    cancel(shop, "req-2", END + 2 * DAY)
    [overage] = overage_invoices(subscription)
    for invoice in (pack, overage, fee_invoice(subscription)):
        record_payment(
            invoice=invoice, amount_minor=50, method="card", reference=f"r{invoice.pk}",
            paid_at=END + 2 * DAY, by=shop.maker, at=END + 2 * DAY + moment,
        )  # fmt: skip
        issue_credit_note(
            invoice=invoice, lines=[(invoice.lines.get(amount_minor__gt=0), 40)], memo="",
            reason="billing_error", key=f"n{invoice.pk}", by=shop.maker, at=END + 2 * DAY + moment,
        )  # fmt: skip
    use(shop, 70, START + DAY, "req-3", known_at=END + 3 * DAY)
    draft_overage_invoices(by=shop.worker, at=END + 3 * DAY + moment)
    finalize_due(by=shop.worker, at=END + 4 * DAY + moment)

    issued = Invoice.objects.exclude(status="draft")
    pdfs = [invoice_pdf(invoice) for invoice in issued]
    pdfs += [credit_note_pdf(note) for note in CreditNote.objects.all()]

    assert len(pdfs) == 4 + 3
    assert all(pdf.startswith(b"%PDF-") for pdf in pdfs)


def test_figures_are_written_as_the_customer_does_and_stay_so(shop: Shop) -> None:
    subscription = subscribed(shop, currency="EUR", fee_minor=1_234_500)
    customer = update_customer(
        customer=subscription.customer, locale="de-de", by=shop.maker, at=START, reason="asked"
    )
    invoice = fee_invoice(subscription)
    assert customer.locale == "de-DE"
    invoice = finalize_invoice(invoice=invoice, by=shop.maker, at=START)
    update_customer(
        customer=customer, locale="fr-FR", by=shop.maker, at=START + DAY, reason="asked"
    )

    data = invoice_data(Invoice.objects.get(pk=invoice.pk))

    assert (data["issued"], data["total"]) == (
        "21. Oktober 2026", "12.345,00\N{NO-BREAK SPACE}€",
    )  # fmt: skip
    assert page_data(invoice, START)["amount_due"] == data["total"]


@pytest.mark.parametrize(
    ("amount", "unit", "words"),
    [(0, "token", "0 tokens"), (1, "token", "1 token"), (2, "token", "2 tokens")],
)
def test_units_are_counted_in_words(amount: int, unit: str, words: str) -> None:
    assert Writer(Formats("en-US"), "USD", "UTC").counted(Decimal(amount), unit) == words
