"""A customer's page answers first what people ask first."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_project.console.account import figures_of
from billing_project.console.customer_sections import sections_of
from billing_project.console.timeline import timeline_of
from billing_project.kernel.models import User
from invoicing.services.note_voids import void_credit_note
from tests.console.backoffice import client_of, page_of
from tests.console.chain import CLOSED_AT, USED_AT, run_chain, settle

pytestmark = pytest.mark.django_db

MOST_QUERIES = 11
MOST_OF_SECTIONS = 16


def test_a_customer_s_page_shows_credits_usage_claims_and_plan(
    auditor: User, settings: Any
) -> None:
    chain = run_chain()
    settings.BILLING_CLOCK = (USED_AT + timedelta(hours=2)).isoformat()

    answer = client_of(auditor).get(page_of(chain.subscription.customer))

    figures = {figure.title: figure for figure in answer.context["figures"]}
    # 60 + 90 credits were used, 100 of them included. USD 0.60 were claimed, USD 0.10 credited.
    assert figures["Usage in this period"].text == "150 credit"
    assert "50 of them overage" in figures["Usage in this period"].note
    assert figures["Open amount"].text == "0.50 USD"
    assert figures["Last invoice"].text == "0.60 USD"
    assert figures["Last invoice"].url == page_of(chain.overage)
    assert figures["Plan"].text == "plan-acme v1"
    assert figures["Available credits"].text
    assert "Available credits" in answer.content.decode()
    told = [(one.what, one.amount) for one in answer.context["timeline"]]
    assert ("Invoice", "0.60 USD") in told
    assert ("Credit note", "-0.10 USD") in told
    assert told[-1] == ("Plan begins", "")
    assert "Contract, claims and payments" in answer.content.decode()
    # What is recognised later is dated in the month of its service.
    (chart,) = answer.context["usage_charts"]
    assert (chart["unit"], chart["totals"]) == ("token", [("small", "output", "150")])
    assert [row["month"] for row in answer.context["margin_rows"]] == ["2026-10"]
    for title in ("Balance by grant", "Usage of 31 days", "Margin of 3 months", "Controls and"):
        assert title in answer.content.decode()


def test_the_sections_take_few_queries_however_much_there_is() -> None:
    customer = run_chain().subscription.customer
    sections_of(customer, USED_AT)  # The approved rules are remembered.

    with CaptureQueriesContext(connection) as captured:
        sections_of(customer, USED_AT)

    assert len(captured.captured_queries) <= MOST_OF_SECTIONS


def test_the_timeline_takes_one_query_a_source_and_says_what_is_ahead() -> None:
    customer = run_chain().subscription.customer

    with CaptureQueriesContext(connection) as captured:
        lines = timeline_of(customer, USED_AT)

    assert len(captured.captured_queries) == 8
    assert [one.is_ahead for one in lines] == [one.at > USED_AT for one in lines]
    assert {one.is_ahead for one in lines} == {True, False}
    assert [one.at for one in lines] == sorted((one.at for one in lines), reverse=True)


def test_the_timeline_says_what_was_taken_back_and_what_came_back() -> None:
    chain = run_chain()
    settle(chain)
    void_credit_note(credit_note=chain.note, reason="ours", by=chain.shop.maker, at=CLOSED_AT)

    told = [(one.what, one.amount) for one in timeline_of(chain.subscription.customer, CLOSED_AT)]

    # Of the fee USD 25.00 were credited; the refund of USD 20.00 came back, and pays for a pack.
    assert {("Credit note", "-0.10 USD"), ("Credit note voided", "0.10 USD")} <= set(told)
    assert {("Refund", "20.00 USD"), ("Refund failed", "-20.00 USD")} <= set(told)


def test_the_figures_take_few_queries() -> None:
    customer = run_chain().subscription.customer

    with CaptureQueriesContext(connection) as captured:
        figures_of(customer, CLOSED_AT)

    assert len(captured.captured_queries) <= MOST_QUERIES
