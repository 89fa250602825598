"""Whatever is known after a term was trued up, it charges max(commit, what counts) in the end."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from invoicing import item_checks
from invoicing.items import Item
from invoicing.models import ChangeKind, InvoiceLine, InvoiceStatus, LineKind, Subscription
from invoicing.phases import Moment
from invoicing.selectors import overage_state
from invoicing.services import invoices
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.closing import close_quiet_periods
from invoicing.services.commits import give_back_shortfall
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.disputes import record_dispute, record_dispute_outcome
from invoicing.services.endings import void_invoice
from invoicing.services.holds import release_hold
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.subscriptions import renew_due
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    check_what_is_deferred,
    first_period,
    overage_invoices,
    paid,
    set_limits,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

COMMIT = Item("commit", "minimum", "Minimum", 5_000, kinds=("overage",))
TWO_MONTHS = Item("commit", "minimum", "Minimum", 9_000, periods=2, kinds=("overage",))
SERVICE = Item("recurring", "service", "Service", 2_000, timing="arrears")


def _sold(shop: Shop, *items: Item) -> Subscription:
    """Sell 100 credits, then USD 0.50 each."""
    return subscribed(shop, overage_price=Decimal("0.5"), items=items)


def _bill(shop: Shop, at: datetime) -> None:
    """Do what the worker does at an instant, and when the grace of its drafts is over."""
    renew_due(by=shop.worker, at=at)
    for moment in (at, at + DAY):
        draft_overage_invoices(by=shop.worker, at=moment)
        finalize_due(by=shop.worker, at=moment)
        close_quiet_periods(at=moment)


def _charged(subscription: Subscription) -> dict[str, int]:
    """Sum what standing invoices claim at the end of periods, less what notes took off."""
    lines = InvoiceLine.objects.filter(invoice__subscription=subscription).exclude(
        invoice__status__in=[InvoiceStatus.VOID, InvoiceStatus.DRAFT]
    )
    sums: dict[str, int] = {}
    for line in lines.filter(kind__in=[LineKind.OVERAGE, LineKind.COMMIT_SHORTFALL]):
        sums[line.kind] = sums.get(line.kind, 0) + line.amount_minor - line.credited_minor
    return sums


def _findings(settings: Any, at: datetime) -> list[str]:
    settings.BILLING_CLOCK = at.isoformat()
    return [finding.message for finding in item_checks.terms_charge_their_commit()]


def test_late_usage_of_an_earlier_period_counts_toward_its_term(
    shop: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold = _sold(shop, TWO_MONTHS)
    use(shop, 160, START + 29 * DAY)  # USD 30.00
    _bill(shop, END)
    _bill(shop, END + 30 * DAY)
    late = END + 32 * DAY
    use(shop, 40, START + 29 * DAY, "late", known_at=late)  # USD 20.00
    monkeypatch.setattr(invoices, "give_back_shortfall", lambda *_: [])

    _bill(shop, late)

    assert _charged(sold) == {"overage": 5_000, "commit_shortfall": 6_000}
    assert _findings(settings, late + 2 * DAY) == ["its term claims 2000 too much"]
    give_back_shortfall(first_period(sold), late + 2 * DAY)
    assert _charged(sold) == {"overage": 5_000, "commit_shortfall": 4_000}
    assert _findings(settings, late + 3 * DAY) == []
    check_what_is_deferred()


def test_what_usage_made_up_for_goes_back_once_its_dispute_is_won(
    shop: Shop, settings: Any
) -> None:
    sold = _sold(shop, COMMIT)
    _bill(shop, END)
    line = InvoiceLine.objects.get(kind=LineKind.COMMIT_SHORTFALL)  # USD 50.00
    paid(shop, line.invoice)
    dispute = record_dispute(
        invoice=line.invoice, amount_minor=4_000, reason="general", method="card", reference="d1",
        opened_at=END + DAY, by=shop.worker, at=END + DAY,
    )  # fmt: skip
    late = END + 2 * DAY
    use(shop, 140, START + DAY, "late", known_at=late)  # USD 20.00, of which 10.00 are kept.
    _bill(shop, late)
    assert _charged(sold) == {"overage": 2_000, "commit_shortfall": 4_000}

    for _ in range(2):
        record_dispute_outcome(
            dispute=dispute, verdict="won", decided_at=late, by=shop.worker, at=late
        )

    assert _charged(sold) == {"overage": 2_000, "commit_shortfall": 3_000}
    assert _findings(settings, late + 3 * DAY) == []


def test_late_usage_in_a_piece_that_a_pause_cut_counts_toward_its_term(shop: Shop) -> None:
    sold = _sold(shop, COMMIT)
    for kind, day in ((ChangeKind.PAUSE, 10), (ChangeKind.RESUME, 11)):
        at = START + day * DAY
        asked = Asked(kind, Moment.NOW, "holiday", str(day))
        change_subscription(subscription=sold, asked=asked, by=shop.worker, at=at)
    _bill(shop, END)
    late = END + 3 * DAY
    use(shop, 150, START + 9 * DAY, "late", known_at=late)  # USD 25.00

    _bill(shop, late)

    assert sum(_charged(sold).values()) == 4_833  # 29 of 30 days.


def test_usage_that_was_held_past_the_true_up_counts_toward_its_term(shop: Shop) -> None:
    sold = _sold(shop, TWO_MONTHS)
    set_limits(shop, most_lines=1)  # Of overage and its statement there are two.
    use(shop, 160, START + DAY)
    _bill(shop, END)
    hold = overage_invoices(sold)[0].holds.get()
    _bill(shop, END + 30 * DAY)

    release_hold(hold=hold, reason="as used", by=shop.approver, at=END + 33 * DAY)
    _bill(shop, END + 33 * DAY)

    assert sum(_charged(sold).values()) == 9_000


def test_a_correction_after_the_true_up_falls_to_the_commit(shop: Shop, settings: Any) -> None:
    sold = _sold(shop, COMMIT)
    use(shop, 140, START + DAY)  # USD 20.00 of 50.00
    _bill(shop, END)
    later = END + 2 * DAY
    cancel(shop, "req-1", later)
    line = InvoiceLine.objects.get(kind=LineKind.OVERAGE)
    issue_credit_note(
        invoice=line.invoice, lines=[(line, 2_000)], reason="billing_error", memo="", key="false",
        by=shop.worker, at=later,
    )  # fmt: skip

    assert _findings(settings, later + DAY) == ["its term claims 2000 too little"]
    _bill(shop, later)
    _bill(shop, later + 2 * DAY)

    assert _charged(sold) == {"overage": 0, "commit_shortfall": 5_000}
    again = overage_invoices(sold)[1].lines.get(kind=LineKind.COMMIT_SHORTFALL)
    assert (
        again.description == "Minimum: 50.00 USD less 0.00 USD counted and 30.00 USD claimed before"
    )
    assert overage_state(first_period(sold)).unbilled == 0
    assert _findings(settings, later + 4 * DAY) == []
    check_what_is_deferred()


def test_what_is_conceded_after_the_true_up_is_not_claimed_again(shop: Shop, settings: Any) -> None:
    sold = _sold(shop, COMMIT)
    use(shop, 140, START + DAY)
    _bill(shop, END)
    later = END + 2 * DAY
    for line in InvoiceLine.objects.filter(amount_minor__in=[2_000, 3_000]):
        issue_credit_note(
            invoice=line.invoice, lines=[(line, 500)], reason="goodwill", memo="",
            key=f"favour:{line.pk}", by=shop.worker, at=later,
        )  # fmt: skip

    _bill(shop, later)

    assert sum(_charged(sold).values()) == 4_000
    assert _findings(settings, later + 3 * DAY) == []


@pytest.mark.parametrize(
    ("items", "tokens", "claims"),
    [
        ((SERVICE,), 140, [("overage", 2_000), ("recurring", 2_000)]),
        ((SERVICE,), 40, [("recurring", 2_000)]),
        ((COMMIT,), 40, [("commit_shortfall", 5_000)]),
    ],
)
def test_what_a_void_claimed_of_a_period_is_claimed_again_and_refers_to_it(
    shop: Shop, items: tuple[Item, ...], tokens: int, claims: list[tuple[str, int]]
) -> None:
    sold = _sold(shop, *items)
    use(shop, tokens, START + DAY)
    _bill(shop, END)
    [void] = overage_invoices(sold)
    later = END + 2 * DAY
    void_invoice(invoice=void, reason="wrong address", by=shop.approver, at=later)

    _bill(shop, later)
    _bill(shop, later + timedelta(days=2))

    [_, again] = overage_invoices(sold)
    assert (again.status, again.replaces) == ("finalized", void)
    lines = again.lines.exclude(kind=LineKind.CREDITS_USED).order_by("position")
    assert list(lines.values_list("kind", "amount_minor")) == claims
