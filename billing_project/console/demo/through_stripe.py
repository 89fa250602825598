"""The month's money through Stripe: a card that recovers, a refund, a lost dispute, recharges.

What people would do at Stripe (type a card, contest a payment) is done at the fake, which delivers
its webhooks to the running server. The rest is what the worker does.
"""

import json
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing_project.console import processes
from billing_project.console.demo.errors import DemoRefused
from billing_project.console.demo.setting import PACK_CREDITS, Setting
from billing_project.kernel import clock
from billing_project.kernel.money import Money
from billing_project.kernel.users import worker_user
from credits.models import Alert, AlertKind
from invoicing.crediting import Settlement
from invoicing.models import (
    MIRRORED,
    AttemptState,
    CallKind,
    CallState,
    CreditNoteReason,
    Dispute,
    DisputeOutcome,
    Invoice,
    InvoiceStatus,
    LineKind,
    PaymentAttempt,
    ProcessorFee,
    Recharge,
    RechargeState,
    Refund,
    StripeCall,
    StripeCustomer,
)
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.packs import sell_credit_pack
from invoicing.services.recharging import Wish, recharge_due, set_up_recharge
from invoicing.stripe_sync import mirroring
from invoicing.stripe_sync.collecting import METHOD, open_attempts
from invoicing.stripe_sync.pages import card_page
from invoicing.stripe_sync.reconciling import SETTLING, reconcile
from invoicing.stripe_sync.refunding import open_refunds
from invoicing.stripe_sync.sending import send_due
from metering.models import Customer

GOOD, WITHOUT_MONEY = "4242424242424242", "4000000000009995"
REFUNDED, RECOVERS, DISPUTES, RECHARGES = "cust-08", "cust-09", "cust-10", "cust-12"
PACK_PRICE_MINOR, REFUND_MINOR = 12_000, 1_500
_PATIENCE_SECONDS = 30
_MIRRORED_AT_ONCE = 60


@contextmanager
def fake_stripe(port: int) -> Iterator[None]:
    """Run the fake where the settings look for Stripe, if they say so; its events come to us.

    Args:
        port: Where our own server listens.
    """
    if not settings.STRIPE_API_BASE:
        yield
        return
    where = urllib.parse.urlsplit(settings.STRIPE_API_BASE).port or 0
    processes.ensure_port_is_free(where)
    webhook = f"http://{processes.HOST}:{port}/stripe/webhook"
    command = [sys.executable, "-m", "tests.fakes.stripe", "--port", str(where)]
    with processes.running([*command, "--webhook", webhook], "stripe") as process:
        _wait(lambda: _answers() or process.poll() is not None, "its own start")
        yield


def _answers() -> bool:
    try:
        return bool(_tell("find", object="customer"))
    except OSError:
        return False


@dataclass(frozen=True)
class Collected:
    """What the story shows; amounts in minor units of US dollars."""

    payments: int
    declines: int
    fees_minor: int
    refunded_minor: int
    disputes_lost: int
    recharges: int
    limits_met: int  # Recharges that would have passed their month's limit.
    differences: int
    mirrored: Counter[str]  # Calls of the mirror, by kind; "waiting" and "refused" beside them.


def collect_through_stripe(setting: Setting) -> Collected:
    """Let four customers pay by card; each fact comes over the wire."""
    for name, card in ((REFUNDED, GOOD), (RECOVERS, WITHOUT_MONEY), (DISPUTES, GOOD)):
        _type_card(setting, name, card)
    sell_credit_pack(
        customer=Customer.objects.get(external_id=DISPUTES), pricing_unit=setting.pricing_unit,
        amount=PACK_CREDITS, price_minor=PACK_PRICE_MINOR, key="demo-card-pack",
        by=setting.cast.maker, at=clock.now(),
    )  # fmt: skip
    _work()
    _type_card(setting, RECOVERS, GOOD)
    _credit(setting)
    _work()
    _lose_a_dispute()
    _recharge_to_the_limit(setting)
    at = clock.now()
    found = reconcile(since=at - timedelta(days=1), until=at + SETTLING, at=at).found
    for one in found:
        raise DemoRefused(f"Stripe and the books differ: {one}")
    _mirror()
    return _collected(len(found))


def _mirror() -> None:
    """Tell the fake of usage, grants and invoices of those it knows; some, as each call takes time.

    What is left waits on its page, and is told by the worker where STRIPE_MIRROR stays on.
    """
    if not mirroring.is_on():
        return
    by = worker_user()
    for _ in range(3):  # Meters first, then what is about them and others, then lines of copies.
        mirroring.ask_for_mirror(by=by, at=clock.now())
        for kinds in ((CallKind.METER, CallKind.GRANT, CallKind.COPY_LINES), (CallKind.USAGE,)):
            send_due(by=by, now=clock.now, kinds=kinds, limit=_MIRRORED_AT_ONCE)
        send_due(by=by, now=clock.now, kinds=(CallKind.COPY,), limit=_MIRRORED_AT_ONCE)


def _type_card(setting: Setting, name: str, number: str) -> None:
    """Open the hosted page as the customer's browser does, and wait until we hear of the card."""
    customer = Customer.objects.get(external_id=name)
    before = StripeCustomer.objects.filter(customer=customer).values_list("payment_method")
    card = before.first()
    page = card_page(customer=customer, by=setting.cast.maker, at=clock.now())
    form = urllib.parse.urlencode({"card": number}).encode()
    opener = urllib.request.build_opener(_Stays)
    opener.open(urllib.request.Request(page, form), timeout=10).close()  # noqa: S310 - the fake
    known = StripeCustomer.objects.filter(customer=customer).exclude(payment_method="")
    _wait(lambda: known.values_list("payment_method").first() not in (None, card), "a card")


class _Stays(urllib.request.HTTPRedirectHandler):
    """Does not follow the page back to our own: nobody looks at it."""

    def http_error_303(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
        """Take the redirect for the answer."""
        return fp


def _work() -> None:
    """Do what the worker does each minute."""
    by, at = worker_user(), clock.now()
    open_attempts(by=by, at=at)
    open_refunds(by=by, at=at)
    send_due(by=by, now=clock.now)


def _credit(setting: Setting) -> None:
    """Credit a paid fee, to go back to the card."""
    invoice = (
        Invoice.objects.filter(status=InvoiceStatus.PAID, customer__external_id=REFUNDED)
        .filter(lines__kind=LineKind.RECURRING, lines__amount_minor__gt=0)
        .earliest("id")
    )
    line = invoice.lines.filter(kind=LineKind.RECURRING, amount_minor__gt=0).earliest("position")
    issue_credit_note(
        invoice=invoice, lines=[(line, REFUND_MINOR)], reason=CreditNoteReason.SERVICE_FAILURE,
        memo="An outage of an hour", key="demo-card-note", by=setting.cast.support,
        at=clock.now(), settlement=Settlement(refund_minor=REFUND_MINOR),
    )  # fmt: skip


def _lose_a_dispute() -> None:
    """Let the bank take a pack's payment back, and decide for its customer."""
    sold = Invoice.objects.get(source_key="credit_pack:demo-card-pack")
    intent = sold.payments.get().reference
    [charge] = _tell("find", object="charge", payment_intent=intent)["result"]
    dispute = _tell("open_dispute", charge=charge["id"], reason="fraudulent")["result"]
    _wait(Dispute.objects.filter(reference=dispute["id"]).exists, "a dispute")
    _tell("close_dispute", dispute=dispute["id"], status="lost")
    _wait(DisputeOutcome.objects.exists, "a verdict")


def _recharge_to_the_limit(setting: Setting) -> None:
    """Fill a balance by itself, 1,000 credits for 12.00, until a month's 30.00 would be passed."""
    _type_card(setting, RECHARGES, GOOD)
    customer, at = Customer.objects.get(external_id=RECHARGES), clock.now()
    wish = Wish(
        pricing_unit=setting.pricing_unit, threshold=Decimal(10**6), amount=Decimal(1_000),
        unit_price=Decimal("0.012"), monthly_limit=Money(3_000, "USD"), cool_down=timedelta(0),
        consent="Order form 12: fill up by card, at most $30 a month",
        consented_by="Customer 12's head of engineering", consented_at=at,
    )  # fmt: skip
    set_up_recharge(customer=customer, wish=wish, by=setting.cast.maker, at=at)
    for _ in range(3):
        recharge_due(by=worker_user(), at=clock.now())
        _work()


def _tell(verb: str, **words: str) -> dict[str, Any]:
    address = f"{settings.STRIPE_API_BASE}/_fake/{verb}"
    request = urllib.request.Request(address, json.dumps(words).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        told: dict[str, Any] = json.load(answer)
        return told


def _wait(is_there: Callable[[], bool], what: str) -> None:
    """Wait for a webhook to take effect in the server."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not is_there():
        if time.monotonic() > end:
            raise DemoRefused(f"the fake Stripe did not tell of {what}; see .local/stripe.log")
        time.sleep(1)


def _collected(differences: int) -> Collected:
    states = [attempt.state for attempt in PaymentAttempt.objects.all()]
    return Collected(
        payments=states.count(AttemptState.SUCCEEDED),
        declines=states.count(AttemptState.DECLINED),
        fees_minor=sum(fee.amount_minor for fee in ProcessorFee.objects.all()),
        refunded_minor=sum(one.amount_minor for one in Refund.objects.filter(method=METHOD)),
        disputes_lost=DisputeOutcome.objects.filter(verdict="lost").count(),
        recharges=Recharge.objects.filter(state=RechargeState.PAID).count(),
        limits_met=Alert.objects.filter(kind=AlertKind.RECHARGE).count(),
        differences=differences,
        mirrored=_mirrored(),
    )


def _mirrored() -> Counter[str]:
    told: Counter[str] = Counter()
    calls = StripeCall.objects.filter(kind__in=MIRRORED)
    for kind, state in calls.values_list("kind", "state"):
        said = {CallState.DONE: kind, CallState.FAILED: "refused"}
        told[said.get(CallState(state), "waiting")] += 1
    return told
