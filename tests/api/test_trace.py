"""Lineage over HTTP."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from billing_project.kernel import clock
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import User
from billing_project.kernel.ownership import name_owner
from metering.services.adjust import amend_event
from tests.console.chain import CLOSED_AT, Chain, run_chain
from tests.worlds import standing

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(run_chain, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None) -> Chain:
    return deepcopy(made)


def get(url: str) -> Any:
    _, token = create_api_key(name="reader", scopes=["usage:read"], at=clock.now())
    return Client().get(url, headers={"Authorization": f"Bearer {token}"})


def test_a_trace_is_a_graph_of_exact_texts(chain: Chain) -> None:
    answer = get(f"/v1/trace?invoice_line={chain.overage.number}:1").json()

    nodes = {node["id"]: node for node in answer["nodes"]}
    (line,) = [node for node in answer["nodes"] if node["type"] == "invoice_line"]
    assert set(line) == {
        *("id", "type", "label", "amount", "unit", "step", "policy_version", "why", "at", "owners"),
    }
    assert (line["amount"], line["unit"], line["step"]) == ("0.60", "USD", "invoice")
    assert {edge["from"] for edge in answer["edges"]} <= set(nodes)
    assert {edge["to"] for edge in answer["edges"]} <= set(nodes)
    assert any(id_.startswith("meter_event:") for id_ in nodes)
    assert any(id_.startswith("journal_entry:") for id_ in nodes)
    assert answer["truncated"] is False


def test_a_drawdown_says_why_it_took_its_grant_and_by_which_version(chain: Chain) -> None:
    nodes = get("/v1/trace?event=acme/req-2").json()["nodes"]

    drawn = {node["why"] for node in nodes if node["label"].startswith("drawn")}
    assert drawn == {"the only grant that this usage could burn (burn_order v1, stripe order)"}
    assert {node["why"] for node in nodes if node["type"] != "ledger_transaction"} == {""}


def test_a_trace_names_who_answered_for_the_step_at_the_fact(chain: Chain, approver: User) -> None:
    name_owner(
        step="invoice", function="finance", person=approver, since_at=CLOSED_AT, reason="x",
        by=approver, at=CLOSED_AT,
    )  # fmt: skip

    nodes = get(f"/v1/trace?invoice_line={chain.overage.number}:1").json()["nodes"]

    owners = {node["type"]: node["owners"] for node in nodes}
    nobody = [
        {"function": function, "person": None, "since_at": None}
        for function in ("product", "engineering", "finance")
    ]
    since = CLOSED_AT.isoformat().replace("+00:00", "Z")
    assert owners["meter_event"] == nobody
    assert owners["invoice_line"] == [
        *nobody[:2], {"function": "finance", "person": "ann.approver", "since_at": since},
    ]  # fmt: skip


def test_a_trace_starts_at_a_credit_note_too(chain: Chain) -> None:
    answer = get(f"/v1/trace?credit_note={chain.note.number}").json()

    amounts = {(node["type"], node["amount"]) for node in answer["nodes"]}
    assert {("credit_note", "0.10"), ("journal_entry", "-0.10")} <= amounts


def test_the_event_s_trace_and_its_page_agree(chain: Chain) -> None:
    page = get("/v1/events/acme/req-2").json()

    assert page["state"] == "recognised"
    assert page["properties"] == {"model": "small", "output_tokens": "90"}
    assert page["lineage"] == get("/v1/trace?event=acme/req-2").json()


def test_an_amended_event_shows_what_was_sent_and_what_governs(chain: Chain) -> None:
    amended = {"model": "small", "output_tokens": "70"}
    amend_event(
        customer=chain.subscription.customer, identifier="req-2", properties=amended,
        reason="counted twice", by=chain.shop.maker, at=CLOSED_AT,
    )  # fmt: skip

    page = get("/v1/events/acme/req-2").json()

    assert page["properties"] == amended
    assert page["original_properties"] == {"model": "small", "output_tokens": "90"}
    assert page["adjustments"] == [
        {
            "type": "amend",
            "reason": "counted twice",
            "actor": str(chain.shop.maker),
            "at": CLOSED_AT.isoformat().replace("+00:00", "Z"),
            "properties": amended,
        }
    ]
    types = [node["type"] for node in page["lineage"]["nodes"]]
    assert types.count("meter_event_adjustment") == 1


def test_the_limit_cuts_each_kind(chain: Chain) -> None:
    answer = get(f"/v1/trace?invoice={chain.overage.number}&limit=1").json()

    types = [node["type"] for node in answer["nodes"]]
    assert answer["truncated"] is True
    assert types.count("meter_event") == 1


@pytest.mark.parametrize(
    "query", ["", "event=a/b&invoice=INV-1", "limit=5", "event=acme", "invoice=1&limit=1001", "x=1"]
)
def test_a_trace_starts_at_exactly_one_name(query: str) -> None:
    response = get(f"/v1/trace?{query}")

    assert response.status_code == 422
    assert response.json()["code"] == "invalid_value"


@pytest.mark.parametrize("url", ["/v1/trace?event=acme/none", "/v1/events/acme/a/b:c"])
def test_what_nobody_sent_is_404(url: str) -> None:
    assert get(url).json()["code"] == "not_found"
