"""What people paste leads to its lineage: drawn by columns, and told in a table."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.console.lineage import NodeType, Ref, start_of, trace
from billing_project.console.lineage_page import picture_of
from billing_project.console.search import find_facts, subject_named
from billing_project.kernel.models import User
from billing_project.kernel.ownership import name_owner
from credits.models import CreditGrant, LedgerTransaction
from invoicing.models import StripeEvent
from revrec.models import JournalEntry
from tests.console.backoffice import client_of, page_of, person
from tests.console.chain import CLOSED_AT, USED_AT, Chain, event, run_chain
from tests.invoicing.builders import cancel
from tests.worlds import standing

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(lambda: run_chain("beta"), django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None) -> Chain:
    return deepcopy(made)


@pytest.fixture
def client(auditor: User) -> Client:
    return client_of(auditor)


def page(client: Client, query: str) -> Any:
    return client.get(f"{reverse('console:lineage')}?{query}")


def test_an_event_is_drawn_from_request_to_journal_entry(chain: Chain, client: Client) -> None:
    picture = page(client, "event=acme/req-2").context["picture"]

    kinds = [box.node.ref.type for box in picture.boxes]
    assert kinds[0] == NodeType.METER_EVENT
    assert kinds[-1] == NodeType.ACCOUNTING_PERIOD
    assert {NodeType.OVERAGE, NodeType.INVOICE_LINE, NodeType.LEDGER_TRANSACTION} <= set(kinds)
    assert picture.columns[0].title == "Event"
    assert [box.node.ref for box in picture.boxes if box.is_start] == [event("req-2")]


def test_each_box_links_to_its_page_and_says_amount_step_and_version(
    chain: Chain, client: Client
) -> None:
    boxes = page(client, "event=acme/req-2").context["picture"].boxes

    for box in boxes:
        assert client.get(box.url).status_code == 200
        assert box.amount.endswith(box.node.unit)
    (rated,) = [box for box in boxes if box.node.ref.type == NodeType.RATED_USAGE]
    assert (rated.amount, rated.rule) == ("90 credit", "rate · standard v1")


def test_who_answered_for_each_step_is_named_and_nobody_is_said(
    chain: Chain, client: Client, product: User
) -> None:
    name_owner(
        step="rate", function="product", person=product, since_at=USED_AT - DAY, reason="x",
        by=product, at=CLOSED_AT,
    )  # fmt: skip
    name_owner(
        step="capture", function="product", person=product, since_at=USED_AT + DAY, reason="x",
        by=product, at=CLOSED_AT,
    )  # fmt: skip

    answer = page(client, "event=acme/req-2")

    lines = {line.step: line for line in answer.context["lines"]}
    assert [cell.person for cell in lines["Rate"].cells] == ["pat.product", "", ""]
    assert [cell.person for cell in lines["Capture"].cells] == ["", "", ""]  # Named later.
    assert answer.content.decode().count("nobody is named") == 17


def test_money_has_the_currency_s_decimals_and_the_sign_of_its_revenue(
    chain: Chain, client: Client
) -> None:
    boxes = page(client, f"credit_note={chain.note.number}").context["picture"].boxes

    amounts = {(box.node.ref.type, box.amount) for box in boxes}
    assert (NodeType.CREDIT_NOTE, "0.10 USD") in amounts
    assert (NodeType.JOURNAL_ENTRY, "-0.10 USD") in amounts  # Goodwill reduces revenue.
    assert (NodeType.INVOICE_LINE, "0.60 USD") in amounts


def test_a_drawdown_of_free_credits_says_why_the_walk_ends(chain: Chain) -> None:
    (drawn,) = trace({event("req-1")}).of(NodeType.LEDGER_TRANSACTION)

    assert drawn.label.endswith("; zero basis: no entry")


def test_a_credit_note_s_page_leads_to_its_lineage(chain: Chain, client: Client) -> None:
    assert f"credit_note={chain.note.number}" in client.get(page_of(chain.note)).content.decode()


def test_the_picture_fits_its_container_and_names_are_told_in_full(
    chain: Chain, client: Client
) -> None:
    answer = page(client, "event=acme/req-2")

    html, picture = answer.content.decode(), answer.context["picture"]
    assert f'width="100%" style="max-width: {picture.width + 4}px"' in html
    assert all(f"<title>{box.kind}: {box.node.label}" in html for box in picture.boxes)


def test_boxes_stand_in_the_columns_of_their_step(chain: Chain) -> None:
    lineage = trace({event("req-2")})
    picture = picture_of(lineage, [event("req-2")])

    steps = [column.x for column in picture.columns]
    place = {box.node.ref: steps.index(box.x) for box in picture.boxes}
    assert place.keys() == {node.ref for node in lineage.nodes}
    assert all(
        place[edge.source] < place[edge.target]
        for edge in lineage.edges
        if edge.source.type != NodeType.INVOICE_LINE  # A sold pack leads back to its grant.
    )


def test_an_adjusted_event_has_a_column_more(chain: Chain, client: Client) -> None:
    cancel(chain.shop, "req-2", CLOSED_AT)

    picture = page(client, "event=acme/req-2").context["picture"]

    assert [column.title for column in picture.columns][:3] == [
        "Event", "Adjustment", "Usage window",
    ]  # fmt: skip
    assert len({box.x for box in picture.boxes}) == 9
    (box,) = [b for b in picture.boxes if b.node.ref.type == NodeType.METER_EVENT_ADJUSTMENT]
    assert client.get(box.url).status_code == 200


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("acme/req-2", "event"),
        ("INV-000002", "invoice"),
        ("cn-000001", "credit_note"),
        ("inv-000002", "invoice"),
        (" INV-000002:1 ", "invoice_line"),
    ],
)
def test_what_is_pasted_leads_to_its_fact(
    chain: Chain, client: Client, text: str, kind: str
) -> None:
    (found,) = find_facts(text)

    answer = page(client, f"q={text}")

    assert found.kind == kind
    assert answer["Location"] == found.url
    assert client.get(found.url).context["picture"].boxes


def test_entries_and_ledger_transactions_are_found_by_their_ids(chain: Chain) -> None:
    entry = JournalEntry.objects.earliest("pk")
    row = LedgerTransaction.objects.latest("pk")

    assert [fact.kind for fact in find_facts(f"JE-{entry.pk}")] == ["journal_entry"]
    assert [fact.kind for fact in find_facts(f"je-{entry.pk}")] == ["journal_entry"]
    assert [fact.kind for fact in find_facts(f"LT-{row.pk}")] == ["ledger_transaction"]
    assert [fact.name for fact in find_facts(row.source_key)] == [str(row.pk)]


def test_an_identifier_of_two_customers_asks_which(chain: Chain, client: Client) -> None:
    answer = page(client, "q=req-1")

    assert {fact.name for fact in answer.context["found"]} == {"acme/req-1", "beta/req-1"}
    assert "Which one?" in answer.content.decode()


@pytest.mark.parametrize("text", ["nothing", "JE-", "JE-99999999999999999999", "%", "a/b/c", "१२"])
def test_what_names_nothing_is_said_so(chain: Chain, client: Client, text: str) -> None:
    answer = client.get(reverse("console:lineage"), {"q": text})

    assert answer.status_code == 200
    assert "Nothing is named" in answer.content.decode()


def test_an_auditor_takes_the_pack_of_the_invoice_from_there(chain: Chain, support: User) -> None:
    of_line = f"{reverse('console:lineage')}?invoice_line={chain.overage.number}:1"
    form = f"{reverse('admin:revrec_auditpack_ask')}?invoices={chain.overage.number}"
    auditor = client_of(person("auditor"))

    assert form in auditor.get(of_line).content.decode()
    assert form not in client_of(support).get(of_line).content.decode()
    assert str(chain.overage.number) in auditor.get(form).content.decode()


@pytest.mark.parametrize("query", ["event=acme", "event=acme/no", "invoice=%00", "journal_entry=x"])
def test_an_address_that_names_nothing_says_why(chain: Chain, client: Client, query: str) -> None:
    answer = page(client, query)

    assert answer.status_code == 200
    assert answer.context["problem"]
    assert "picture" not in answer.context


def test_a_large_lineage_is_cut_and_says_so(
    chain: Chain, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_project.console.lineage_page.SHOWN", 1)

    cut = page(client, f"invoice={chain.overage.number}")
    whole = client.get(cut.context["fact"].url + "&all=1")

    assert "Show up to" in cut.content.decode()
    assert len(whole.context["picture"].boxes) > len(cut.context["picture"].boxes)
    assert not whole.context["is_truncated"]


def test_a_picture_of_one_fact_has_every_column(chain: Chain) -> None:
    (start,) = start_of("event", "acme/req-1")
    picture = picture_of(trace({start}, limit=1), [start])

    assert len(picture.columns) == 8
    assert isinstance(picture.boxes[0].node.ref, Ref)


def test_the_command_palette_finds_pages_and_lineages(chain: Chain, client: Client) -> None:
    def found(text: str) -> str:
        answer = client.get(reverse("admin:search"), {"s": text, "extended": "1"})
        return answer.content.decode()

    assert "/admin/metering/customer/" in found("Acme")
    assert "Lineage of invoice INV-000002" in found("INV-000002")
    assert "Lineage of event acme/req-2" in found("acme/req-2")


def test_the_command_palette_finds_grants_subjects_and_what_stripe_names(
    chain: Chain, client: Client
) -> None:
    grant = CreditGrant.objects.latest("pk")
    StripeEvent.objects.create(
        stripe_id="evt_1Abc", type="charge.refunded", object_id="ch_1Abc", effect="none",
        made_at=USED_AT, received_at=USED_AT,
    )  # fmt: skip

    def found(text: str) -> str:
        answer = client.get(reverse("admin:search"), {"s": text, "extended": "1"})
        return answer.content.decode()

    page_of_grant = f"/admin/credits/creditgrant/{grant.pk}/change/"
    texts = (str(grant), f"grant {grant.pk}", grant.source_key, f"creditgrant:{grant.pk}")
    assert [text for text in texts if page_of_grant not in found(text)] == []
    assert all("/admin/invoicing/stripeevent/" in found(text) for text in ("evt_1Abc", "ch_1Abc"))


def test_every_subject_of_the_audit_trail_is_found_or_is_none(chain: Chain) -> None:
    names = [str(model._meta.model_name) for model in admin.site._registry]

    customer = chain.subscription.customer
    assert [row.title for row in subject_named(f"customer:{customer.pk}")] == [
        f"Customer {customer}"
    ]
    assert all(len(list(subject_named(f"{name}:1"))) <= 1 for name in names)
    assert list(subject_named("customer:999999999999999999")) == []
