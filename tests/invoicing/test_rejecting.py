"""Held drafts that are rejected, and drafts that wait for a market and go on once it is open."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from invoicing.models import BillingHold, DraftRejection, Invoice
from invoicing.selectors.completeness import figures_of
from invoicing.services.holds import release_hold
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.packs import sell_credit_pack
from invoicing.services.rejecting import reject_draft
from metering.models import Customer
from tests.console.backoffice import action_url, client_of, page_of, send, told
from tests.invoicing.builders import (
    DAY,
    END,
    START,
    Shop,
    cancel,
    customer_of,
    fee_invoice,
    first_period,
    open_market,
    overage_invoices,
    set_limits,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db


def _hold() -> BillingHold:
    return BillingHold.objects.get(released_at=None)


def test_a_rejected_fee_is_given_up_and_never_issued(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 1})
    draft = fee_invoice(subscribed(shop))
    finalize_due(by=shop.worker, at=START)
    hold = _hold()
    with pytest.raises(NotAllowed):
        reject_draft(held=hold, reason="not agreed", by=shop.maker, at=START)
    with pytest.raises(Invalid, match="needs a reason"):
        reject_draft(held=hold, reason=" ", by=shop.approver, at=START)

    row = reject_draft(held=hold, reason="not agreed", by=shop.approver, at=START)

    assert (row.total_minor, row.currency) == (4_900, "USD")
    assert reject_draft(held=hold, reason="not agreed", by=shop.approver, at=START) == row
    with pytest.raises(Conflict, match="was ended by"):
        reject_draft(held=hold, reason="another", by=shop.approver, at=START)
    draft.refresh_from_db()
    assert (draft.status, draft.total_minor, draft.lines.count()) == ("draft", 0, 0)
    assert finalize_due(by=shop.worker, at=END) == 0
    assert not BillingHold.objects.filter(released_at=None).exists()
    with pytest.raises(DatabaseError), transaction.atomic():
        DraftRejection.objects.update(reason="")


def test_usage_of_a_rejected_draft_waits_for_its_correction_with_the_reason(shop: Shop) -> None:
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    set_limits(shop, approval_above={"USD": 1})
    use(shop, 150, START + DAY)
    use(shop, 1_000, START + DAY, "doubled")
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    reject_draft(held=_hold(), reason="counted twice", by=shop.approver, at=END + DAY)

    waits, period = _hold(), first_period(subscription)
    assert (waits.cause, waits.detail) == (
        "rejected", "its draft was rejected: counted twice",
    )  # fmt: skip
    assert figures_of([period])[0].figures.is_parked
    assert draft_overage_invoices(by=shop.worker, at=END + DAY) == 0
    with pytest.raises(Conflict, match="no draft is held"):
        reject_draft(held=waits, reason="again", by=shop.approver, at=END + DAY)

    cancel(shop, "doubled", END + DAY)
    release_hold(hold=waits, reason="corrected", by=shop.maker, at=END + DAY)
    draft_overage_invoices(by=shop.worker, at=END + DAY)
    finalize_due(by=shop.worker, at=END + 3 * DAY)

    (draft,) = overage_invoices(subscription)
    assert (draft.status, draft.total_minor) == ("draft", 60)  # 50 credits beyond, at 0.012.
    release_hold(hold=_hold(), reason="right now", by=shop.approver, at=END + 3 * DAY)
    assert finalize_due(by=shop.worker, at=END + 3 * DAY) == 1


def test_what_was_rejected_is_held_again_in_the_same_words(shop: Shop) -> None:
    subscription = subscribed(shop)
    finalize_due(by=shop.worker, at=START)
    set_limits(shop, approval_above={"USD": 1})
    use(shop, 150, START + DAY)
    draft_overage_invoices(by=shop.worker, at=END)
    finalize_due(by=shop.worker, at=END + DAY)
    reject_draft(held=_hold(), reason="look again", by=shop.approver, at=END + DAY)

    release_hold(hold=_hold(), reason="looked", by=shop.maker, at=END + DAY)
    draft_overage_invoices(by=shop.worker, at=END + DAY)
    assert finalize_due(by=shop.worker, at=END + 3 * DAY) == 0

    assert (_hold().cause, _hold().detail) == ("approval", "0.60 USD is above 0.01 USD")
    assert overage_invoices(subscription)[0].status == "draft"


def test_drafts_of_a_closed_market_go_on_once_it_is_open(shop: Shop) -> None:
    subscriptions = [subscribed(shop, name) for name in ("acme", "other")]
    Customer.objects.update(country="FR")
    assert finalize_due(by=shop.worker, at=START) == 0
    assert finalize_due(by=shop.worker, at=START + DAY) == 0
    assert set(BillingHold.objects.values_list("cause", "released_at")) == {("market", None)}

    open_market(shop, "FR", "USD")

    assert finalize_due(by=shop.worker, at=START + 2 * DAY) == 2
    assert {fee_invoice(one).status for one in subscriptions} == {"finalized"}
    assert {hold.released_by_id for hold in BillingHold.objects.all()} == {shop.worker.pk}


def test_rejecting_is_a_dialog_of_approvers_that_says_what_becomes_of_the_claim(
    shop: Shop, settings: Any
) -> None:
    settings.BILLING_CLOCK = START.isoformat()
    set_limits(shop, approval_above={"USD": 1})
    fee_invoice(subscribed(shop))
    finalize_due(by=shop.worker, at=START)
    hold, client = _hold(), client_of(shop.approver)

    asked = client.get(action_url(hold, "reject")).content.decode()
    done = send(client, action_url(hold, "reject"), reason="not agreed")

    assert "49.00 USD" in asked
    assert "are given up" in asked
    assert told(done).startswith("success: Rejected draft")
    assert "49.00 USD" in client.get(page_of(hold)).content.decode()


def test_a_rejected_sale_is_not_made_again_under_its_key(shop: Shop) -> None:
    set_limits(shop, approval_above={"USD": 1})
    customer = customer_of(shop)

    def sell(key: str) -> Invoice:
        return sell_credit_pack(
            customer=customer, pricing_unit=shop.unit, amount=Decimal(5), price_minor=500,
            key=key, by=shop.worker, at=START,
        )  # fmt: skip

    draft = sell("order 7")
    reject_draft(held=_hold(), reason="not agreed", by=shop.approver, at=START)

    with pytest.raises(Conflict, match="was rejected"):
        sell("order 7")
    assert sell("order 8") != draft
