"""A period's end for many customers: drafted and finalized, thirteen lines each, and one PDF.

The ceiling is a COPY of the same invoices, lines and links to usage into bare tables of the same
columns: what the rows cost without locks, checks, numbers, tax and guards. INVOICE_CUSTOMERS says
how many customers; run it with two numbers to see whether the time is linear. Two processes bill,
from both ends, as two workers do; INVOICE_WORKERS=1 lets one do it alone.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median

from django.contrib.auth.models import Group
from django.db import connection, connections

from benchmarks.cpu import postmaster, seconds_of
from benchmarks.setting import EVENT_NAME, METERS, make_meters
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.users import worker_user
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.services.rating import rate_pending
from invoicing.documents import invoice_pdf
from invoicing.models import Invoice, InvoiceLine, PlanVersion
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.markets import Checklist, propose_market_gate
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.subscriptions import subscribe
from metering.events import EventInput
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events

CUSTOMERS = int(os.environ.get("INVOICE_CUSTOMERS", "1000"))
WORKERS = int(os.environ.get("INVOICE_WORKERS", "2"))
_CORES = 2  # Of the machine that the goal is for.
GOAL_CUSTOMERS, GOAL_SECONDS, GOAL_PDF_MS = 10_000, 300, 60
_MODELS = ("a", "b", "c", "d")
_LINES = 1 + len(METERS) * len(_MODELS)  # One claims the overage, the others state its use.
_AT_ONCE = 1000
_DAYS = 30
_TABLES = ("invoice", "invoice_line", "line_usage")


def run() -> None:
    """Measure, and print one line a figure."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = today + timedelta(days=1)
    _sell_and_use(end - timedelta(days=_DAYS), end)
    database, before = {"database": postmaster()}, _cpu()
    begin, served = time.perf_counter(), seconds_of(database)
    _bill(end)
    seconds, used = time.perf_counter() - begin, _cpu() - before
    served_for = seconds_of(database)["database"] - served["database"]
    issued, lines = Invoice.objects.exclude(number=None).count(), InvoiceLine.objects.count()
    if (issued, lines) != (CUSTOMERS, CUSTOMERS * _LINES):
        raise SystemExit(f"{issued} issued, {lines} lines")
    bare = _bare_seconds()
    print(
        f"{CUSTOMERS:,} customers of {_LINES} lines drafted and issued by {WORKERS} processes in"
        f" {seconds:.1f} s: {1000 * seconds / CUSTOMERS:.1f} ms each"
    )
    print(f"  COPY of the same rows: {bare:.2f} s; ratio {bare / seconds:.1%}")
    whole = seconds / CUSTOMERS * GOAL_CUSTOMERS
    print(f"  {GOAL_CUSTOMERS:,} at this pace: {whole:.0f} s; goal {GOAL_SECONDS}")
    each = 1000 * (used + served_for) / CUSTOMERS
    print(
        f"  CPU seconds: services {used:.1f}, database {served_for:.1f};"
        f" {each:.1f} ms a customer of {_CORES * 1000 * GOAL_SECONDS / GOAL_CUSTOMERS:.0f}"
        f" that {_CORES} cores have for the goal"
    )
    print(f"  PDF, median of 20: {_pdf_ms():.0f} ms; goal {GOAL_PDF_MS}")


def _bill(end: datetime) -> None:
    """Bill by processes of their own, every second one from the other end."""
    worker_user()
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_work, args=(end, bool(n % 2))) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _work(end: datetime, backwards: bool) -> None:
    by = worker_user()
    draft_overage_invoices(by=by, at=end, backwards=backwards)
    finalize_due(by=by, at=end, backwards=backwards)
    connections.close_all()


def _cpu() -> float:
    """Return what finished processes of this one used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sell_and_use(start: datetime, end: datetime) -> None:
    """Subscribe customers for the days before the end, and let each use every meter and model."""
    customers = make_meters([f"bench-{number:06}" for number in range(CUSTOMERS)])
    maker, approver = User.objects.get(username="bench"), User.objects.create_user("approver")
    approver.groups.add(Group.objects.get(name="finance_approver"))
    version, changes = _terms(maker, start)
    for change in changes:
        approve(change=change, by=approver, reason="to be measured", at=start)
    for customer in customers:
        subscribe(
            customer=customer, plan_version=version, start_at=start, by=worker_user(), at=start
        )
    batch: list[EventInput] = []
    used_at = datetime.now(UTC)  # Meters read nothing that was used before they were made.
    for event in _events([customer.external_id for customer in customers], used_at):
        batch.append(event)
        if len(batch) == _AT_ONCE:
            capture_events(items=batch, sender="bench", at=used_at)
            batch = []
    if batch:
        capture_events(items=batch, sender="bench", at=used_at)
    aggregate_batches(at=end)
    while rate_pending(by=worker_user(), at=end):
        pass
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _terms(maker: User, start: datetime) -> tuple[PlanVersion, list[PolicyChange]]:
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=start)
    card = create_rate_card(code="standard", name="Standard", pricing_unit=unit, by=maker, at=start)
    words = Proposal("A version", "To be measured", "No code change", "launch", start)
    rates = propose_rate_card_version(
        rate_card=card, rates=[RateInput(meter, {}, Decimal("0.001")) for meter in METERS],
        proposal=words, by=maker, at=start,
    )  # fmt: skip
    policy = propose_credit_policy(proposal=words, by=maker, at=start)
    gate = propose_market_gate(
        checklist=Checklist("", "USD", "not_required", "USD", "US", payout_days=2),
        proposal=words, by=maker, at=start,
    )  # fmt: skip
    terms = PlanTerms(
        currency="USD", fee_minor=0, included_credits=Decimal(0), overage_price=Decimal("0.01"),
        rate_card=card, interval_unit="day", interval_count=_DAYS, grace_hours=0,
    )  # fmt: skip
    plan = create_plan(code="bench", name="Bench", by=maker, at=start)
    version = propose_plan_version(plan=plan, terms=terms, proposal=words, by=maker, at=start)
    versions = (rates, policy, gate, version)
    return version, [each.policy_change for each in versions]


def _events(external_ids: list[str], used_at: datetime) -> Iterator[EventInput]:
    for external_id in external_ids:
        for number, model in enumerate(_MODELS):
            tokens = dict.fromkeys(METERS, 1_000_000 + number)
            yield EventInput(
                event_name=EVENT_NAME, identifier=f"{external_id}-{number}", customer=external_id,
                timestamp=used_at, properties={"model": model, **tokens},
            )  # fmt: skip


def _bare_seconds() -> float:
    """Copy the same rows into tables without keys, checks or triggers."""
    with connection.cursor() as cursor:
        data = {}
        for table in _TABLES:
            with cursor.copy(f"COPY {table} TO STDOUT") as rows:
                data[table] = b"".join(bytes(piece) for piece in rows)
            cursor.execute(f"CREATE TABLE bare_{table} AS SELECT * FROM {table} WITH NO DATA")
        begin = time.perf_counter()
        for table in _TABLES:
            with cursor.copy(f"COPY bare_{table} FROM STDIN") as rows:
                rows.write(data[table])
        return time.perf_counter() - begin


def _pdf_ms() -> float:
    times = []
    for invoice in Invoice.objects.select_related("customer").order_by("id")[:20]:
        begin = time.perf_counter()
        invoice_pdf(invoice)
        times.append(1000 * (time.perf_counter() - begin))
    return median(times)
