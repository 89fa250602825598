"""What-if: a million events priced under a draft plan, billed, recognised and costed, in seconds.

Each event is a usage window of its own, which is the worst case: many events of an hour are one
window. Every customer's usage is read, rated by the code that rates proposals, billed and held
against suppliers' prices. The ceiling sums the same windows once in the database.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection

from benchmarks.crowd import COMBINATIONS, MODELS, last_hour, make_crowd, use
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from credits.models import RateCard
from credits.services.supplier_rates import propose_supplier_rates
from credits.supplier_prices import SupplierPrice, TokenKind
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from metering.models import Customer
from revrec.scenario import outcome_of
from revrec.selectors.scenarios import layers_for, prices_for, terms_of, workloads_of

EVENTS = int(os.environ.get("WHATIF_EVENTS", "1000000"))
HOURS = int(os.environ.get("WHATIF_HOURS", "480"))
GOAL_SECONDS = 30
_BARE = "SELECT count(*), sum(quantity) FROM usage_window"


def run() -> None:
    """Measure, and print one line a figure."""
    customers = -(-EVENTS // (COMBINATIONS * HOURS))
    make_crowd(customers)
    windows = use(customers, last_hour() - timedelta(hours=HOURS - 1), hours=HOURS)
    at = datetime.now(UTC)
    terms = terms_of(_draft(at))
    begin = time.perf_counter()
    layers, prices = layers_for(terms.card, None, at), prices_for(terms, at)
    everybody = list(Customer.objects.order_by("pk"))
    works = list(workloads_of(everybody, terms, layers, prices, at))
    outcomes = [outcome_of(work, terms.worth) for work in works]
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_BARE)
        count, quantity = cursor.fetchone()
    bare = time.perf_counter() - begin
    if count != windows or sum(work.tokens for work in works) != quantity:
        raise SystemExit("the what-if did not see every event")
    losing = sum(one.margin.amount < 0 for one in outcomes)
    print(
        f"{windows:,} events of {customers} customers under a draft plan: {seconds:.1f} s;"
        f" {losing} customers under water"
    )
    print(
        f"  one sum of the same windows in the database: {bare:.1f} s; ratio {bare / seconds:.0%}"
    )
    print(f"  goal: below {GOAL_SECONDS} s; ratio to it {seconds / GOAL_SECONDS:.0%}")


def _draft(at: datetime) -> PolicyChange:
    by = User.objects.get(username="bench")
    prices = [
        SupplierPrice("bench", model, kind, Decimal("0.000005"))
        for model in MODELS
        for kind in (TokenKind.INPUT, TokenKind.CACHED_INPUT, TokenKind.OUTPUT)
    ]
    since = Proposal("Prices", "To be measured", "No code change", "launch", at - timedelta(40))
    sheet = propose_supplier_rates(
        prices=prices, currency="USD", source="bench", proposal=since, by=by, at=at
    )
    approver = User.objects.get(username="approver")
    approve(change=sheet.policy_change, by=approver, reason="to be measured", at=at)
    plan = create_plan(code="scale", name="Scale", by=by, at=at)
    terms = PlanTerms(
        currency="USD", fee_minor=112_500, included_credits=Decimal(15_000),
        overage_price=Decimal("0.01"), rate_card=RateCard.objects.get(), interval_unit="day",
        interval_count=30,
    )  # fmt: skip
    words = Proposal("A draft", "To be measured", "No code change", "launch", at)
    return propose_plan_version(plan=plan, terms=terms, proposal=words, by=by, at=at).policy_change
