"""Periods that grants covered: an invoice over nothing states their credits, if the policy asks."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_project.kernel.approvals import is_as_proposed
from billing_project.kernel.books import run_checks
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant
from invoicing.completeness import account_of
from invoicing.documents import invoice_data
from invoicing.items import Item
from invoicing.models import InvoicePolicy, LineDiscount, LineUsage, Subscription
from invoicing.selectors.completeness import figures_of
from invoicing.selectors.covered import periods_to_draft
from invoicing.services.closing import close_quiet_periods, is_usage_closed
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.splitting import split_invoices
from revrec.services.recognise import recognise_customer
from tests.console.backoffice import action_url, client_of, send
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    first_period,
    overage_invoices,
    set_limits,
    subscribed,
    use,
    words,
)

pytestmark = pytest.mark.django_db
DUE = END + 2 * DAY


def _bill(shop: Shop, days: int = 2) -> None:
    for _ in range(2):
        draft_overage_invoices(by=shop.worker, at=END + DAY)
        finalize_due(by=shop.worker, at=END + days * DAY)


def _covered(shop: Shop) -> Subscription:
    """Use 40 of 100 credits."""
    set_limits(shop, invoices_covered=True)
    subscription = subscribed(shop)
    use(shop, 40, START + DAY)
    return subscription


def _stated(subscription: Subscription) -> list[tuple[str | None, str, int, list[str]]]:
    found = []
    for one in overage_invoices(subscription):
        quantities = [plain(line.quantity) for line in one.lines.order_by("position")]
        found.append((one.number, one.status, one.total_minor, quantities))
    return found


def test_a_covered_period_is_stated_by_an_invoice_that_is_paid_at_once(shop: Shop) -> None:
    subscription = _covered(shop)

    _bill(shop)

    assert _stated(subscription) == [("INV-000002", "paid", 0, ["40"])]
    period = first_period(subscription)
    assert is_usage_closed(period)
    [seen] = figures_of([period])
    assert account_of(seen.figures, DUE, DUE).is_complete
    data = invoice_data(overage_invoices(subscription)[0])
    assert (data["number"], data["lines"]) == ("INV-000002", [])
    recognise_customer(customer_id=subscription.customer_id, by=shop.worker, at=DUE)
    known = {"kernel.commits_are_durable"}
    assert not [f for result in run_checks() for f in result.findings if result.name not in known]


def test_a_note_gives_credits_of_it_back(shop: Shop) -> None:
    subscription = _covered(shop)
    _bill(shop)
    invoice = overage_invoices(subscription)[0]

    send(
        client_of(shop.maker), action_url(invoice, "credit"), reason="goodwill", memo="sorry",
        **{f"line_{invoice.lines.get().pk}": "15"},
    )  # fmt: skip
    note = issue_credit_note(
        invoice=invoice, lines=[], restored=[(invoice.lines.get(), Decimal(25))],
        reason="goodwill", memo="", key="rest", by=shop.maker, at=DUE,
    )  # fmt: skip

    assert (note.total_minor, plain(note.restored_credits)) == (0, "25")
    linked = CreditGrant.objects.filter(origin__isnull=False)
    assert sum(grant.remaining for grant in linked) == 40


def test_a_draft_of_the_policy_asks_for_it_and_its_effect_counts_them(shop: Shop) -> None:
    subscribed(shop)
    use(shop, 40, START + DAY)
    content = {**example_of("invoice_policy"), "invoices_covered": True}
    kept = draft(kind="invoice_policy", content=content, proposal=words(DUE), by=shop.maker, at=DUE)
    submit(change=kept, by=shop.maker, at=DUE)

    policy = InvoicePolicy.objects.get()
    assert policy.invoices_covered
    assert is_as_proposed(policy.policy_change)
    effect = policy.policy_change.effect
    assert effect is not None
    assert effect["rows"][-1]["subject"] == "Periods that owe nothing and get an invoice"
    assert (effect["rows"][-1]["before"], effect["rows"][-1]["after"]) == ("0", "1")


def test_where_nobody_asks_for_it_a_covered_period_has_no_invoice(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 40, START + DAY)

    _bill(shop)

    assert _stated(subscription) == []


def test_a_period_without_usage_has_nothing_to_state(shop: Shop) -> None:
    set_limits(shop, invoices_covered=True)
    subscription = subscribed(shop)

    _bill(shop)
    close_quiet_periods(at=DUE)

    assert _stated(subscription) == []
    assert is_usage_closed(first_period(subscription))


def test_periods_that_ended_before_the_policy_stay_as_they_were(shop: Shop) -> None:
    subscription = subscribed(shop)
    use(shop, 40, START + DAY)
    set_limits(shop, effective_at=END + timedelta(seconds=1), invoices_covered=True)

    _bill(shop)

    assert _stated(subscription) == []


def test_the_policy_is_asked_once_for_all_periods_that_end_at_once(shop: Shop) -> None:
    _covered(shop)
    subscribed(shop, "two")
    use(shop, 40, START + DAY, customer="two")

    with CaptureQueriesContext(connection) as seen:
        assert periods_to_draft(END + DAY).count() == 2

    asked = [one for one in seen if 'FROM "invoice_policy"' in one["sql"]]
    assert len(asked) == 2  # Since when any version asks for it, and whether this end's does.


def test_usage_that_is_cancelled_within_the_grace_is_not_stated(shop: Shop) -> None:
    subscription = _covered(shop)
    draft_overage_invoices(by=shop.worker, at=END)
    cancel(shop, "req-1", END + DAY)

    _bill(shop)

    assert _stated(subscription) == [(None, "draft", 0, [])]


def test_late_usage_is_stated_by_a_further_one_and_a_correction_by_none(shop: Shop) -> None:
    subscription = _covered(shop)
    _bill(shop)
    use(shop, 5, START + DAY, "late", known_at=DUE)
    _bill(shop, days=4)
    cancel(shop, "req-1", DUE)
    _bill(shop, days=6)

    assert _stated(subscription) == [
        ("INV-000002", "paid", 0, ["40"]), ("INV-000003", "paid", 0, ["5"]),
    ]  # fmt: skip


def test_what_is_claimed_is_claimed_as_ever(shop: Shop) -> None:
    set_limits(shop, invoices_covered=True)
    off = Item("discount", "launch", "Launch", percent=Decimal(50), kinds=("recurring",), periods=1)
    subscription = subscribed(shop, items=(off,))
    use(shop, 130, START + DAY)

    _bill(shop)

    # 30 x 0.012 = 0.36; the discount was for one fee, and is used up by no statement.
    assert _stated(subscription) == [("INV-000002", "finalized", 36, ["30", "130"])]
    assert LineDiscount.objects.count() == 1
    assert LineUsage.objects.filter(kind="credits_used").count() == 1


def test_a_statement_is_not_cut_by_workspace(shop: Shop) -> None:
    subscription = _covered(shop)
    split_invoices(
        customer=subscription.customer, split_by="workspace", reason="asked", by=shop.maker,
        at=START,
    )  # fmt: skip

    _bill(shop)

    assert _stated(subscription) == [("INV-000002", "paid", 0, ["40"])]
