"""Commits on invoices: the shortfall with the overage, trued up once a term, followed by usage."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import Proposal, approve, is_as_proposed
from billing_project.kernel.errors import Invalid
from invoicing.items import Item
from invoicing.models import ChangeKind, CreditNote, InvoiceLine, LineKind, Subscription
from invoicing.phases import Moment
from invoicing.selectors import preview
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.closing import close_quiet_periods
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.packages import propose_packages
from invoicing.services.plans import propose_plan_version
from invoicing.services.seats import change_seats
from invoicing.services.subscriptions import end_subscription, renew_due, subscribe
from tests.invoicing.builders import (
    DAY,
    END,
    LAUNCH,
    START,
    Shop,
    check_what_is_deferred,
    customer_of,
    first_period,
    overage_invoices,
    propose,
    sell_plan,
    subscribed,
    terms,
    use,
)

pytestmark = pytest.mark.django_db

COMMIT = Item("commit", "minimum", "Minimum", 5_000, kinds=("overage",))
QUARTER = Item("commit", "minimum", "Minimum", 9_000, periods=3, kinds=("overage",))


def _committed(shop: Shop, item: Item = COMMIT) -> Subscription:
    """Sell 100 credits, then USD 0.50 each, at least USD 50.00 a period."""
    return subscribed(shop, overage_price=Decimal("0.5"), items=(item,))


def _close(shop: Shop, periods: int = 1) -> None:
    """Let periods pass with their grace."""
    for index in range(1, periods + 1):
        at = START + 30 * DAY * index
        renew_due(by=shop.worker, at=at)
        draft_overage_invoices(by=shop.worker, at=at)
        finalize_due(by=shop.worker, at=at + timedelta(hours=24))
        close_quiet_periods(at=at + timedelta(hours=24))


def _amounts(subscription: Subscription) -> list[tuple[str, int]]:
    lines = InvoiceLine.objects.filter(invoice__subscription=subscription).exclude(
        kind__in=[LineKind.RECURRING, LineKind.CREDITS_USED]
    )
    return list(lines.order_by("invoice_id", "position").values_list("kind", "amount_minor"))


def test_what_a_commit_lacks_is_claimed_beside_the_overage(shop: Shop) -> None:
    subscription = _committed(shop)
    use(shop, 140, START + DAY)  # 40 beyond: USD 20.00.

    _close(shop)

    assert _amounts(subscription) == [("overage", 2_000), ("commit_shortfall", 3_000)]
    (invoice,) = overage_invoices(subscription)
    assert (invoice.total_minor, invoice.status) == (5_000, "finalized")
    line = invoice.lines.get(kind=LineKind.COMMIT_SHORTFALL)
    assert line.description == "Minimum: 50.00 USD less 20.00 USD counted"
    assert (line.service_start_at, line.service_end_at) == (START, END)
    check_what_is_deferred()


def test_a_period_without_overage_owes_all_of_its_commit(shop: Shop) -> None:
    subscription = _committed(shop)
    use(shop, 60, START + DAY)

    _close(shop)
    _close(shop)

    assert _amounts(subscription) == [("commit_shortfall", 5_000)]
    (invoice,) = overage_invoices(subscription)
    statement = invoice.lines.get(kind=LineKind.CREDITS_USED)
    assert (statement.quantity, statement.amount_minor) == (Decimal(60), 0)


def test_usage_beyond_the_commit_leaves_no_shortfall(shop: Shop) -> None:
    subscription = _committed(shop)
    use(shop, 300, START + DAY)

    _close(shop)

    assert _amounts(subscription) == [("overage", 10_000)]


def test_usage_of_the_grace_lowers_the_shortfall_of_the_draft(shop: Shop) -> None:
    subscription = _committed(shop)
    draft_overage_invoices(by=shop.worker, at=END)
    use(shop, 140, END - DAY, known_at=END + timedelta(hours=2))

    finalize_due(by=shop.worker, at=END + timedelta(hours=24))

    assert _amounts(subscription) == [("overage", 2_000), ("commit_shortfall", 3_000)]


def test_late_usage_gives_the_shortfall_back_by_a_note(shop: Shop) -> None:
    subscription = _committed(shop)
    _close(shop)
    late = END + 3 * DAY
    use(shop, 140, END - DAY, known_at=late)

    draft_overage_invoices(by=shop.worker, at=late)
    finalize_due(by=shop.worker, at=late + DAY)

    assert _amounts(subscription) == [("commit_shortfall", 5_000), ("overage", 2_000)]
    note = CreditNote.objects.get()
    assert (note.total_minor, note.reason) == (2_000, "billing_error")  # 50.00 in all.
    assert note.invoice == overage_invoices(subscription)[0]
    finalize_due(by=shop.worker, at=late + 2 * DAY)
    assert CreditNote.objects.count() == 1


def test_a_term_of_three_periods_is_trued_up_once_at_its_end(shop: Shop) -> None:
    subscription = _committed(shop, QUARTER)
    use(shop, 160, START + DAY, "first")  # USD 30.00
    use(shop, 120, START + 31 * DAY, "second")  # USD 10.00

    _close(shop, periods=3)

    assert _amounts(subscription) == [
        ("overage", 3_000),
        ("overage", 1_000),
        ("commit_shortfall", 5_000),  # 90.00 - 30.00 - 10.00
    ]
    line = InvoiceLine.objects.get(kind=LineKind.COMMIT_SHORTFALL)
    assert (line.service_start_at, line.service_end_at) == (START, START + 90 * DAY)


def test_a_term_that_ends_early_owes_its_whole_commit(shop: Shop) -> None:
    subscription = _committed(shop, QUARTER)
    end_subscription(
        subscription=subscription, ends_at=END, reason="moved", by=shop.maker, at=START
    )

    _close(shop)

    assert _amounts(subscription) == [("commit_shortfall", 9_000)]


def test_the_preview_shows_what_a_commit_would_lack(shop: Shop) -> None:
    subscription = _committed(shop)
    use(shop, 140, START + DAY)

    seen = preview(first_period(subscription))

    claims = [(line.kind, line.amount_minor) for line in seen.lines if line.amount_minor]
    assert claims == [("overage", 2_000), ("commit_shortfall", 3_000)]
    assert seen.total_minor == 5_000


def test_items_are_approved_with_their_version_and_never_change(shop: Shop) -> None:
    version = propose(shop, items=(COMMIT,))

    assert json.loads(version.policy_change.content)["items"] == [
        {"kind": "commit", "code": "minimum", "name": "Minimum", "amount_minor": 5_000,
         "periods": 1, "kinds": ["overage"]}
    ]  # fmt: skip
    assert is_as_proposed(version.policy_change)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE plan_item SET amount_minor = 1")
    approve(change=version.policy_change, by=shop.approver, reason="as sold", at=LAUNCH)
    with (
        pytest.raises(DatabaseError, match="no parts after the decision"),
        transaction.atomic(),
    ):
        version.items.create(
            position=2, kind="commit", code="more", name="More", amount_minor=1, timing="advance"
        )


def test_an_unsound_item_refuses_the_version(shop: Shop) -> None:
    with pytest.raises(Invalid, match="item minimum: a commit is more than nothing"):
        propose(shop, items=(Item("commit", "minimum", "Minimum", kinds=("overage",)),))


def test_terms_that_begin_after_earlier_ones_ran_out_are_refused(shop: Shop) -> None:
    version = propose(shop)
    plan = version.plan
    brief = Proposal("Brief", "A", "B", "launch", LAUNCH, expires_at=START)
    only = propose_plan_version(
        plan=plan, terms=terms(shop), proposal=brief, by=shop.maker, at=LAUNCH
    )
    approve(change=only.policy_change, by=shop.approver, reason="as sold", at=LAUNCH)

    late = Proposal("Late", "A", "B", "launch", END)
    with pytest.raises(Invalid, match=r"no terms from 2026-10-21T00:00:00\+00:00 to 2026-11-20"):
        propose_plan_version(plan=plan, terms=terms(shop), proposal=late, by=shop.maker, at=LAUNCH)
    in_time = Proposal("In time", "A", "B", "launch", START)
    propose_plan_version(plan=plan, terms=terms(shop), proposal=in_time, by=shop.maker, at=LAUNCH)


def test_both_packages_are_proposed_once(shop: Shop) -> None:
    first = propose_packages(
        rate_card=shop.rate_card, effective_at=LAUNCH, by=shop.maker, at=LAUNCH
    )
    again = propose_packages(
        rate_card=shop.rate_card, effective_at=LAUNCH, by=shop.maker, at=LAUNCH
    )

    assert again == first
    commits = [version.items.get().amount_minor for version in first]
    assert commits == [87_500, 112_500]
    assert all(version.included_credits > 0 for version in first)


def _charged(subscription: Subscription, *kinds: str) -> int:
    """Sum what the first period's lines of these kinds claim in the end."""
    period = first_period(subscription)
    lines = InvoiceLine.objects.filter(billing_period=period, kind__in=kinds)
    return sum(line.amount_minor - line.credited_minor for line in lines)


def test_a_concession_on_a_shortfall_is_not_claimed_again(shop: Shop) -> None:
    subscription = _committed(shop)
    use(shop, 140, START + DAY)
    _close(shop)
    line = InvoiceLine.objects.get(kind=LineKind.COMMIT_SHORTFALL)
    issue_credit_note(
        invoice=line.invoice, lines=[(line, 1_000)], reason="goodwill", memo="", key="favour",
        by=shop.worker, at=END + 2 * DAY,
    )  # fmt: skip

    late = END + 3 * DAY
    use(shop, 10, END - DAY, "late", known_at=late)
    draft_overage_invoices(by=shop.worker, at=late)
    finalize_due(by=shop.worker, at=late + DAY)

    # max(50.00, 25.00) - 10.00: the late 5.00 came off the shortfall by a note of its own.
    assert _charged(subscription, "overage", "commit_shortfall") == 4_000
    assert CreditNote.objects.get(reason="billing_error").total_minor == 500


def test_seats_that_were_given_back_do_not_count(shop: Shop) -> None:
    seats = Item("seat", "seats", "Seats", 2_000)
    commit = Item("commit", "minimum", "Minimum", 22_000, kinds=("seat",))
    version = sell_plan(shop, "team", items=(seats, commit))
    sold = subscribe(
        customer=customer_of(shop), plan_version=version, start_at=START, by=shop.maker,
        at=START, seats=10,
    )  # fmt: skip
    finalize_due(by=shop.worker, at=START)
    half = START + 15 * DAY
    change_seats(
        subscription=sold, seats=-5, effective_at=half, reason="left", key="left", by=shop.maker,
        at=half,
    )  # fmt: skip

    _close(shop)

    # 200.00 were claimed, 50.00 of it went back: 70.00 are missing.
    assert _charged(sold, "seat") == 15_000
    assert _charged(sold, "seat", "commit_shortfall") == 22_000


def test_a_fee_that_a_cancellation_gives_back_does_not_count(shop: Shop) -> None:
    commit = Item("commit", "minimum", "Minimum", 4_900, kinds=("recurring",))
    sold = subscribed(shop, items=(commit,))
    finalize_due(by=shop.worker, at=START)
    half = START + 15 * DAY
    asked = Asked(ChangeKind.CANCEL, Moment.NOW, "moved", "cancel")
    change_subscription(subscription=sold, asked=asked, by=shop.worker, at=half)

    draft_overage_invoices(by=shop.worker, at=half)
    finalize_due(by=shop.worker, at=half + DAY)

    assert _charged(sold, "recurring") == 2_450
    assert _charged(sold, "recurring", "commit_shortfall") == 4_900
