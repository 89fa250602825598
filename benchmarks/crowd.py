"""Many customers who use much: one is made by the services, the others are copies of that one.

Rates of twelve dimension combinations, a billing period around now, and four grants each: included,
promotional, goodwill for one meter, and paid; what they lack is overage.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F

from billing_project.console.demo.database import make_fresh_database
from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import HOUR, Period, hour_of
from credits.models import CreditGrant, GrantCategory, RateCard
from credits.services.grants import issue_grant
from credits.services.periods import open_billing_period
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from metering.aggregation import dimensions_key
from metering.models import Aggregation, Meter
from metering.services.customers import create_customer
from metering.services.meters import create_meter

METERS = ("input_tokens", "cached_input_tokens", "output_tokens")
MODELS = ("gpt-5.4", "gpt-5.4-mini", "claude-opus-4-6", "claude-haiku-4-5")
COMBINATIONS = len(METERS) * len(MODELS)
_PRICES = ("0.00125", "0.000125", "0.01")  # Credits a token of each meter.

# A row as it is, but for what is named: columns that are added later are copied, too.
_COPY = """
INSERT INTO {table}
SELECT r.* FROM {table} t CROSS JOIN generate_series(2, %(count)s) n
CROSS JOIN LATERAL jsonb_populate_record(t, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('{table}', 'id')), {changes})) r
"""
_COPIED = (
    ("customer", "'id', n, 'external_id', 'c-' || n"),
    ("billing_period", "'customer_id', n, 'source_key', 'bench:' || n"),
    ("credit_grant", "'customer_id', n, 'remaining', 0, 'source_key', t.source_key || ':' || n"),
)
_FILLED = """
INSERT INTO ledger_transaction
SELECT r.* FROM ledger_transaction l JOIN credit_grant m ON m.id = l.grant_id
JOIN credit_grant g ON g.source_key = m.source_key || ':' || g.customer_id
CROSS JOIN LATERAL jsonb_populate_record(l, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('ledger_transaction', 'id')),
    'customer_id', g.customer_id, 'grant_id', g.id,
    'source_key', l.source_key || ':' || g.customer_id)) r
"""
_WINDOWS = """
INSERT INTO usage_window (customer_id, meter_id, dimensions, dimensions_key, start_at, quantity,
                          event_count, revision, updated_at)
SELECT c, k.meter_id, k.dimensions, k.key, %(start)s + h * %(every)s * interval '1 hour',
       100 + (c * 7919 + k.number * 104729 + h * 31) %% 20000, %(events)s, 1, %(at)s
FROM generate_series(1, %(customers)s) c CROSS JOIN generate_series(0, %(hours)s - 1) h
CROSS JOIN unnest(%(meters)s::bigint[], %(dimensions)s::jsonb[], %(keys)s::text[])
    WITH ORDINALITY k (meter_id, dimensions, key, number)
ORDER BY h, c, k.number
"""
_NOTES = """
INSERT INTO outbox_message (topic, object_id, parts, created_at)
SELECT 'usage_changed', customer_id, jsonb_agg(id ORDER BY id), %s
FROM usage_window GROUP BY customer_id ORDER BY customer_id
"""


def make_crowd(customers: int, paid: int = 500) -> Period:
    """Make a fresh database with so many customers, ids from 1, and return their billing period.

    Args:
        paid: Credits that each has bought.
    """
    make_fresh_database()
    call_command("setup_roles", stdout=StringIO())
    at = datetime.now(UTC)
    maker, approver = User.objects.create_user("bench"), User.objects.create_user("approver")
    approver.groups.add(Group.objects.get(name="finance_approver"))
    begin = (at - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    period = Period(begin, begin + timedelta(days=30))
    _make_meters(maker, at)
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=at)
    card = create_rate_card(code="standard", name="Standard", pricing_unit=unit, by=maker, at=at)
    for change in (_rates(card, maker, begin, at), _burn_order(maker, begin, at)):
        approve(change=change, by=approver, reason="to be measured", at=at)
    first = create_customer(external_id="c-1", name="Crowd", currency="USD", by=maker, at=at)
    assert first.pk == 1
    open_billing_period(customer=first, rate_card=card, period=period, source_key="bench", at=at)
    for number, values in enumerate(_grants(period, Decimal(paid))):
        issue_grant(
            customer=first, pricing_unit=unit, reason_code="bench", by=maker, at=at,
            source_key=f"bench:{number}", effective_at=period.start, **values,
        )  # fmt: skip
    _copy(customers)
    return period


def use(customers: int, start: datetime, hours: int, events: int = 1, every: int = 1) -> int:
    """Store windows of every customer and combination, as aggregation leaves them.

    Args:
        start: A whole hour.
        events: How many each window stands for.
        every: Hours from one window to the next; one hour of so many is used.

    Returns:
        How many windows there are.
    """
    meters = dict(Meter.objects.values_list("code", "pk"))
    keys = [(meters[meter], {"model": model}) for meter in METERS for model in MODELS]
    words: dict[str, Any] = {
        "customers": customers, "start": start, "hours": hours, "events": events,
        "every": every, "at": datetime.now(UTC), "meters": [meter for meter, _ in keys],
        "dimensions": [f'{{"model": "{dimensions["model"]}"}}' for _, dimensions in keys],
        "keys": [dimensions_key(dimensions) for _, dimensions in keys],
    }  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox_message WHERE topic = 'usage_changed'")
        cursor.execute(_WINDOWS, words)
        count: int = cursor.rowcount
        cursor.execute(_NOTES, [datetime.now(UTC)])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    return count


def last_hour() -> datetime:
    """Return the start of the hour before this one."""
    return hour_of(datetime.now(UTC)) - HOUR


def _make_meters(by: User, at: datetime) -> None:
    for code in METERS:
        create_meter(
            code=code, name=code, event_name="llm_request", aggregation=Aggregation.SUM,
            value_property=code, dimensions=("model",), unit="token", by=by, at=at,
        )  # fmt: skip


def _rates(card: RateCard, maker: User, begin: datetime, at: datetime) -> PolicyChange:
    rates = [
        RateInput(meter_code=meter, dimensions={"model": model}, unit_price=Decimal(price) * factor)
        for meter, price in zip(METERS, _PRICES, strict=True)
        for factor, model in enumerate(MODELS, start=1)
    ]
    return propose_rate_card_version(
        rate_card=card, rates=rates, proposal=_words(begin), by=maker, at=at
    ).policy_change


def _burn_order(maker: User, begin: datetime, at: datetime) -> PolicyChange:
    return propose_credit_policy(proposal=_words(begin), by=maker, at=at).policy_change


def _words(effective_at: datetime) -> Proposal:
    return Proposal("A version", "To be measured", "No code change", "launch", effective_at)


def _grants(period: Period, paid: Decimal) -> list[dict[str, Any]]:
    """Say what each customer is given; together less than most of them use."""
    return [
        {"category": GrantCategory.INCLUDED, "amount": Decimal(200), "expires_at": period.end},
        {"category": GrantCategory.PROMOTIONAL, "amount": Decimal(50), "priority": 10},
        {"category": GrantCategory.GOODWILL, "amount": Decimal(25), "meter_codes": METERS[2:]},
        {"category": GrantCategory.PAID, "amount": paid, "price_minor": 2 * int(paid)},
    ]


def _copy(customers: int) -> None:
    words = {"count": customers}
    with transaction.atomic(), connection.cursor() as cursor:
        for table, changes in _COPIED:
            cursor.execute(_COPY.format(table=table, changes=changes), words)
        cursor.execute(_FILLED)
    left = CreditGrant.objects.filter(remaining__lt=F("amount")).exists()
    count = CreditGrant.objects.values("customer_id").distinct().count()
    if left or count != customers:
        raise SystemExit(f"{count} customers have grants, not {customers}")
