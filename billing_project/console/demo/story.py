"""The month itself: traffic over HTTP, the chain, invoices, notes, the close, a late event."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

import metering.tasks
from billing_project.console.demo.economics import (
    draft_a_dearer_plan,
    propose_next_rates,
    reconcile_a_bill,
)
from billing_project.console.demo.embeddings import embedding_events
from billing_project.console.demo.errors import DemoRefused
from billing_project.console.demo.odd import look_after_odd_hours
from billing_project.console.demo.sender import send_events
from billing_project.console.demo.setting import Setting
from billing_project.console.demo.through_stripe import Collected, collect_through_stripe
from billing_project.console.demo.traffic import (
    UNKNOWN_NAME,
    Request,
    event,
    late_row,
    read_requests,
    stream,
)
from billing_project.console.demo.upgrade import upgrade_in_mid_period
from billing_project.console.tasks import drain_chain
from billing_project.kernel import clock, outbox
from billing_project.kernel.period import DAY, Period, midnight, months_between
from billing_project.kernel.users import worker_user
from credits.services.rating import rate_pending
from invoicing.crediting import Settlement
from invoicing.models import CreditNote, CreditNoteReason, Invoice, InvoiceStatus, LineKind
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.payments import record_payment
from invoicing.services.refunds import record_refund
from invoicing.stripe_sync import gateway
from metering.models import Customer
from metering.services.customers import add_alias
from metering.services.quarantine import replay_quarantine
from revrec.models import AccountingPeriod
from revrec.selectors.closing import close_checklist, owners_of
from revrec.services.periods import (
    close_period,
    ensure_period,
    propose_close,
    sign_exception,
)
from revrec.services.recognise import recognise_pending
from revrec.services.sealing import make_sealing_key

Progress = Callable[[int], None]
PERIOD = timedelta(days=30)
HEAVY = "cust-01"  # Its last request is overage, and invoiced.
# What a bad day costs, and how what was paid goes back: the first fee is not paid yet.
_CREDITED: dict[str, tuple[int, Settlement | None]] = {
    "cust-03": (2_000, None),
    "cust-04": (1_200, Settlement(refund_minor=1_200)),
    "cust-05": (800, Settlement(balance_minor=800)),
    "cust-06": (500, Settlement(out_of_band_minor=500)),
}
STAGES = ("send events", "rate and recognise", "invoice", "close months", "late event")


@dataclass
class Story:
    """What happened, counted as it happens."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    collected: Collected | None = None  # Through Stripe, where the demo has one.
    traced: str = ""  # Customer and identifier of an overage event, "cust-01/req-7".

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one part of the story."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)


def last_30_days(at: datetime) -> Period:
    """Return the 30 days that end at the last midnight UTC."""
    end = midnight(at.astimezone(UTC).date())
    return Period(end - PERIOD, end)


def tell(
    setting: Setting, url: str, key: str, at: datetime, story: Story, progress: Progress
) -> None:
    """Run the month; `progress` hears of every thousandth part that is done."""
    requests = read_requests()
    upgrade_in_mid_period(setting, at)
    with story.stage(STAGES[0]):
        events = stream(requests, setting.period)
        story.counts.update(send_events(url, key, events, progress))
        send_events(url, key, embedding_events(setting.period), progress)  # Counted apart.
        last = max((r for r in requests if r.customer == HEAVY), key=lambda r: r.row)
        story.traced = f"{HEAVY}/{last.identifier}"
        _map_unknown_customer(setting, story)
    with story.stage(STAGES[1]):
        _drain(progress)
    with story.stage(STAGES[2]):
        _invoice(setting, at)
        propose_next_rates(setting, at)
        draft_a_dearer_plan(setting, at)
        reconcile_a_bill(setting, at)
        look_after_odd_hours(setting, at)
        _drain(progress)
    if gateway.is_on():
        with story.stage("stripe"):
            story.collected = collect_through_stripe(setting)
            _drain(progress)
    with story.stage(STAGES[3]):
        _close_months(setting, at, story)
    with story.stage(STAGES[4]):
        _send_late_event(requests, setting, url, key, story)
        _drain(progress)


def _map_unknown_customer(setting: Setting, story: Story) -> None:
    engineer, at = setting.cast.engineer, clock.now()  # After the events came in.
    add_alias(
        external_id=UNKNOWN_NAME, customer=Customer.objects.get(external_id="cust-07"),
        reason="the same customer's deployment in Europe", by=engineer, at=at,
    )  # fmt: skip
    result = replay_quarantine(by=engineer, at=at, customer_external_id=UNKNOWN_NAME)
    story.counts["replayed"] = result.replayed


def _drain(progress: Progress) -> None:
    """Move the chain until nothing waits; customer by customer, so that progress shows."""
    worker, at = worker_user(), clock.now()
    metering.tasks.aggregate()
    for _ in outbox.waiting("usage_changed"):
        progress(rate_pending(by=worker, at=at, limit=1))
    for _ in outbox.waiting("credits_changed"):
        progress(recognise_pending(by=worker, at=at, limit=1))
    progress(drain_chain())


def _invoice(setting: Setting, at: datetime) -> None:
    """Invoice the overage, and credit some customers for a bad day."""
    draft_overage_invoices(by=setting.cast.maker, at=at)
    finalize_due(by=setting.cast.maker, at=at)
    for name, (amount_minor, settlement) in _CREDITED.items():
        invoice = (
            Invoice.objects.exclude(status=InvoiceStatus.DRAFT)
            .filter(customer__external_id=name, lines__kind=LineKind.RECURRING)
            .earliest("id")
        )
        if settlement:
            _pay(setting, invoice, at)
        issue_credit_note(
            invoice=invoice, lines=[(invoice.lines.get(kind=LineKind.RECURRING), amount_minor)],
            reason=CreditNoteReason.SERVICE_FAILURE, memo="Slow answers for a day",
            key=f"demo-note-{name}", by=setting.cast.support, at=at, settlement=settlement,
        )  # fmt: skip
    _refund(setting, CreditNote.objects.filter(refund_minor__gt=0).earliest("id"), at)


def _pay(setting: Setting, invoice: Invoice, at: datetime) -> None:
    record_payment(
        invoice=invoice, amount_minor=invoice.open_minor, method="card",
        reference=f"demo-card-{invoice.number}", paid_at=at, by=setting.cast.maker, at=at,
    )  # fmt: skip


def _refund(setting: Setting, note: CreditNote, at: datetime) -> None:
    """Refund most of what a note promised; the rest is still due."""
    record_refund(
        credit_note=note, amount_minor=note.refund_minor - 200, method="card",
        reference="demo-refund-1", refunded_at=at, key="demo-refund-1", by=setting.cast.maker,
        at=at,
    )  # fmt: skip


def _close_months(setting: Setting, at: datetime, story: Story) -> None:
    if not Path(settings.SEALING_KEY_FILE).exists():
        make_sealing_key()
    today = at.astimezone(UTC).date()
    first = setting.period.start.date()
    if first.day == 1 and (first + PERIOD).month == first.month:
        first -= DAY  # On a 31st no month of the period has ended; the one before it has.
    for start_on, end_on in months_between(first, today):
        period = ensure_period(start_on)
        if end_on <= today:
            propose_close(period=period, by=setting.cast.maker, at=at, reason="month-end")
            _sign_exceptions(setting, period, at)
            close_period(period=period, by=setting.cast.approver, at=at, reason="checked")
            story.closed.append(f"{start_on:%Y-%m}")


def _sign_exceptions(setting: Setting, period: AccountingPeriod, at: datetime) -> None:
    """Let whoever answers for a step sign for what it leaves behind."""
    for item in close_checklist(period, at):
        if item.is_met or item.step is None:
            continue
        [owner, *_] = owners_of(item.step, at)
        sign_exception(
            period=period, item=item.code, by=owner, at=at,
            reason="Known, and in hand: it is a fact of the next month.",
        )  # fmt: skip


def _send_late_event(
    requests: list[Request], setting: Setting, url: str, key: str, story: Story
) -> None:
    late = requests[late_row(requests) - 1]
    answer = send_events(url, key, [event(late, setting.period)], lambda _: None)
    if answer["accepted"] != 1:
        raise DemoRefused("the late event was not accepted")
    story.counts.update(answer)
