"""Every call we make, every way in which it is lost: one object at Stripe, one fact here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from invoicing.crediting import Settlement
from invoicing.models import (
    CallKind,
    CallState,
    Invoice,
    MirroredUsage,
    Payment,
    ProcessorFee,
    Refund,
    RefundFailure,
    StripeCall,
    StripeCustomer,
    StripeDifference,
    StripeMeter,
)
from invoicing.stripe_sync.collecting import open_attempts
from invoicing.stripe_sync.customers import ask_for_card, ask_for_customer
from invoicing.stripe_sync.gateway import Unreachable
from invoicing.stripe_sync.mirroring import ask_for_mirror
from invoicing.stripe_sync.reconciling import reconcile
from invoicing.stripe_sync.refunding import open_refunds
from invoicing.stripe_sync.sending import send_due
from metering.models import Customer
from tests.invoicing.builders import customer_of, issued, note_on, sold_pack
from tests.invoicing.stripe_sync.test_mirroring import _noon, _use
from tests.invoicing.stripe_sync.till import Till, real_now

SOON, A_DAY_LATER = timedelta(minutes=70), timedelta(hours=25)
PATHS = {
    CallKind.CUSTOMER: "customers", CallKind.SETUP: "checkout/sessions",
    CallKind.PAYMENT: "payment_intents", CallKind.REFUND: "refunds",
    CallKind.METER: "billing/meters", CallKind.USAGE: "billing/meter_events",
    CallKind.GRANT: "billing/credit_grants", CallKind.COPY: "invoices",
    CallKind.COPY_LINES: r"invoices/\w+/add_lines",
}  # fmt: skip


@dataclass
class Story:
    """A customer who pays, gets some back, and is mirrored; each call goes wrong at first."""

    till: Till
    fault: str
    later: timedelta
    moved: int = 0

    def strike(self, *kinds: CallKind) -> None:
        """Let the next call of each kind go wrong, once."""
        rules = [
            {"fault": self.fault, "calls": f"POST /v1/{PATHS[kind]}$", "times": 1} for kind in kinds
        ]
        self.till.fake.faults(*rules)

    def run(self, until: Callable[[], bool]) -> None:
        """Work as the tasks do, until it is so."""
        till = self.till
        for _ in range(9):
            open_attempts(by=till.shop.worker, at=till.at)
            open_refunds(by=till.shop.worker, at=till.at)
            ask_for_mirror(by=till.shop.worker, at=till.at)
            send_due(by=till.shop.worker, now=lambda: till.at, kinds=tuple(CallKind))
            if until():
                return
            till.at += self.later
            self.moved += int(self.later.total_seconds())
            till.fake.tell("move_clock", seconds=int(self.later.total_seconds()))
        calls = StripeCall.objects.values_list("subject", "generation", "state", "error_code")
        raise AssertionError(f"it never came to that: {list(calls)}")

    def live(self) -> tuple[Customer, Invoice]:
        """Go through all calls."""
        till = self.till
        customer = customer_of(till.shop)
        ask_for_customer(customer=customer, by=till.shop.worker, at=till.at)
        self.strike(CallKind.CUSTOMER, CallKind.METER)
        known = StripeCustomer.objects.filter(customer=customer)
        self.run(lambda: known.exists() and StripeMeter.objects.exists())
        self.strike(CallKind.SETUP)
        for _ in range(2):  # A person asks for another page where none came.
            ask_for_card(customer=customer, by=till.shop.worker, at=till.at)
            self.run(lambda: not StripeCall.objects.filter(state__in=OPEN).exists())
        [page, *_] = till.fake.tell("find", object="checkout.session", customer=known[0].stripe_id)
        till.fake.tell("complete_session", session=page["id"], card="4242424242424242")
        till.hear()
        sold_pack(till.shop, customer, 9_000, till.at)
        invoice = issued(till.shop, customer, 10_000, at=till.at)
        _use(till, "7", _noon(2))
        self.strike(CallKind.PAYMENT, CallKind.COPY, CallKind.COPY_LINES, CallKind.USAGE)
        self.run(lambda: Payment.objects.count() == 2)
        self.strike(CallKind.GRANT, CallKind.REFUND)
        note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000), at=till.at)
        self.run(lambda: _all_done({CallKind.GRANT: 1, CallKind.REFUND: 1, CallKind.USAGE: 1,
                                    CallKind.COPY: 2, CallKind.COPY_LINES: 2}))  # fmt: skip
        till.hear()
        return customer, invoice


OPEN = (CallState.PENDING, CallState.UNKNOWN)


def _all_done(wanted: dict[CallKind, int]) -> bool:
    done = StripeCall.objects.filter(state=CallState.DONE)
    return all(done.filter(kind=kind).count() == count for kind, count in wanted.items())


@pytest.mark.parametrize(
    ("fault", "later"),
    [
        *((fault, SOON) for fault in ("lost_request", "lost_answer", "error", "error_after",
                                      "in_use", "too_many", "unavailable")),
        *((fault, A_DAY_LATER) for fault in ("lost_request", "lost_answer", "error_after")),
    ],
)  # fmt: skip
def test_every_call_takes_effect_once_however_it_is_lost(
    till: Till, settings: Any, fault: str, later: timedelta
) -> None:
    settings.STRIPE_MIRROR = True
    story = Story(till, fault, later)

    try:
        customer, invoice = story.live()
    finally:
        till.fake.faults()
        till.fake.tell("move_clock", seconds=-story.moved)

    known = StripeCustomer.objects.get(customer=customer).stripe_id
    find: Callable[..., list[dict[str, Any]]] = till.fake.tell
    customers = [
        one for one in find("find", object="customer")
        if one["metadata"].get("billing_call", "").startswith(settings.STRIPE_NAMESPACE)
    ]  # fmt: skip
    copies = find("find", object="invoice", customer=known)
    events = [
        one["payload"]["value"] for one in find("find", object="billing.meter_event")
        if one["payload"]["stripe_customer_id"] == known
    ]  # fmt: skip
    charged = sorted(one["amount"] for one in till.charges(customer))
    meters = [
        one for one in find("find", object="billing.meter")
        if one["event_name"].startswith(settings.STRIPE_NAMESPACE)
    ]  # fmt: skip
    assert (len(customers), len(meters)) == (1, 1)
    assert (charged, events) == ([9_000, 10_000], ["7"])
    assert [one["amount"] for one in find("find", object="refund", customer=known)] == [3_000]
    assert len(find("find", object="billing.credit_grant", customer=known)) == 1
    assert sorted((one["total"], len(one["lines"]["data"])) for one in copies) == [
        (9_000, 1), (10_000, 1)
    ]  # fmt: skip
    assert sorted(Payment.objects.values_list("amount_minor", flat=True)) == [9_000, 10_000]
    assert ProcessorFee.objects.count() == 2
    assert (Refund.objects.count(), RefundFailure.objects.count()) == (1, 0)
    assert not StripeCall.objects.filter(state__in=OPEN).exists()
    assert MirroredUsage.objects.filter(call__state=CallState.DONE).count() == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"


def test_a_listing_that_fails_changes_nothing(till: Till) -> None:
    row = StripeDifference.objects.create(
        kind="amount", subject="payment pi_gone", here="6", there="5", owner="finance",
        first_seen_at=till.at, last_seen_at=till.at,
    )  # fmt: skip
    hour = timedelta(hours=1)
    for fault in ("lost_request", "lost_answer", "too_many", "unavailable"):
        for name in ("charges", "refunds", "disputes", "balance_transactions", "payouts"):
            till.fake.faults({"fault": fault, "calls": f"GET /v1/{name}", "times": 1})
            with pytest.raises(Unreachable):
                reconcile(since=real_now() - hour, until=real_now() + hour, at=till.at)

    row.refresh_from_db()
    assert (row.resolved_at, StripeDifference.objects.count()) == (None, 1)
