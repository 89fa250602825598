"""What a run over many invoices remembers, and how few questions it asks of each."""

from typing import Any

import pytest

from billing_project.kernel.approvals import approve
from billing_project.kernel.remembering import look_again, remembered, remembering
from credits.selectors.usage import has_usage_to_rate, windows_to_rate
from credits.services.rating import rate_customer
from invoicing.models import BillingHold, Invoice
from invoicing.services import invoices as issuing
from invoicing.services.holds import propose_invoice_policy
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from metering.events import EventInput
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    ensure_market,
    subscribed,
    use,
    words,
)


def test_nothing_is_remembered_outside_a_run() -> None:
    answers = iter("ab")

    assert [remembered("question", lambda: next(answers)) for _ in range(2)] == ["a", "b"]


@pytest.mark.django_db
def test_an_answer_stands_until_something_is_approved(shop: Shop) -> None:
    answers = iter("abc")

    def ask() -> str:
        look_again()
        return remembered("question", lambda: next(answers))

    with remembering():
        before = [ask(), ask()]
        ensure_market(shop, "FR", "EUR")  # Approves its checklist.
        after = [ask(), ask()]
    with remembering():
        another_run = ask()

    assert (before, after, another_run) == (["a", "a"], ["b", "b"], "c")


@pytest.mark.django_db
def test_a_limit_that_is_approved_during_a_run_holds_its_next_draft(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("acme", "brook"):
        subscribed(shop, name)
    policy = propose_invoice_policy(
        approval_above={"USD": 10}, approves_first=False, notes_above={}, most_lines=1000,
        most_drafts=50, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    real = issuing.issue_unless_held

    def approved_after(**said: Any) -> Invoice:
        done = real(**said)
        approve(change=policy.policy_change, by=shop.approver, reason="agreed", at=LAUNCH)
        return done

    monkeypatch.setattr(issuing, "issue_unless_held", approved_after)

    assert finalize_due(by=shop.worker, at=START) == 1

    assert BillingHold.objects.get().detail == "49.00 USD is above 0.10 USD"


@pytest.mark.django_db
def test_a_period_end_asks_few_questions_of_each_customer(
    shop: Shop, django_assert_max_num_queries: Any
) -> None:
    subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    use(shop, 150, START + DAY)

    with django_assert_max_num_queries(29):
        assert draft_overage_invoices(by=shop.worker, at=END) == 1
    with django_assert_max_num_queries(33):
        assert finalize_due(by=shop.worker, at=END + DAY) == 1


@pytest.mark.django_db
def test_usage_is_to_be_rated_as_long_as_a_note_or_a_changed_window_says_so(shop: Shop) -> None:
    customer = subscribed(shop).customer
    rate_customer(customer_id=customer.pk, by=shop.worker, at=START)
    found = [has_usage_to_rate(customer.pk)]
    for identifier, at in (("in the period", START + DAY), ("before it", START - DAY)):
        event = EventInput(
            event_name="llm_request", identifier=identifier, customer="acme", timestamp=at,
            properties={"model": "small", "output_tokens": "5"},
        )  # fmt: skip
        assert capture_events(items=[event], sender="test", at=START + DAY).accepted
        aggregate_batches(at=START + DAY)
        found.append(has_usage_to_rate(customer.pk))
        rate_customer(customer_id=customer.pk, by=shop.worker, at=START + DAY)
        assert has_usage_to_rate(customer.pk) == windows_to_rate([customer.pk]).exists()

    assert found == [False, True, True]
    assert not has_usage_to_rate(customer.pk)
