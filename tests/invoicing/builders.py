"""A small shop: one customer, one meter, one plan, and the people who decide."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any, Protocol

from django.contrib.auth.models import Group
from django.db import connection

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.users import ensure_roles, worker_user
from credits.models import BillingPeriod, PricingUnit, RateCard
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.services.rating import rate_customer
from invoicing.crediting import Settlement
from invoicing.lines import Kind, Line
from invoicing.models import (
    CreditNote,
    Invoice,
    InvoicePolicy,
    MarketGate,
    PlanVersion,
    Subscription,
)
from invoicing.selectors import billing_periods_of
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.holds import propose_invoice_policy
from invoicing.services.invoices import finalize_invoice
from invoicing.services.markets import Checklist, propose_market_gate, propose_tax_rate
from invoicing.services.packs import sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.subscriptions import subscribe
from metering.events import EventInput
from metering.models import Aggregation, Customer
from metering.services.adjust import cancel_event
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from metering.services.customers import create_customer
from metering.services.meters import create_meter

START = datetime(2026, 10, 21, tzinfo=UTC)  # The first period: 30 days, to 20 November.
END = START + timedelta(days=30)
LAUNCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Shop:
    """What a test needs to name."""

    maker: User
    approver: User
    worker: User
    unit: PricingUnit
    rate_card: RateCard


def open_shop() -> Shop:
    """Make people, a meter of tokens with an approved rate (1 token, 1 credit), a burn order."""
    ensure_roles()
    maker, approver = _person("mia.shop", "finance_maker"), _person("ann.shop", "finance_approver")
    create_meter(
        code="output_tokens", name="Output tokens", event_name="llm_request",
        aggregation=Aggregation.SUM, value_property="output_tokens", dimensions=("model",),
        unit="token", by=maker, at=LAUNCH,
    )  # fmt: skip
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=LAUNCH)
    card = create_rate_card(
        code="standard", name="Standard", pricing_unit=unit, by=maker, at=LAUNCH
    )
    rates = propose_rate_card_version(
        rate_card=card, rates=[RateInput("output_tokens", {}, Decimal(1))],
        proposal=words(LAUNCH), by=maker, at=LAUNCH,
    )  # fmt: skip
    approve(change=rates.policy_change, by=approver, reason="margin holds", at=LAUNCH)
    policy = propose_credit_policy(proposal=words(LAUNCH), by=maker, at=LAUNCH)
    approve(change=policy.policy_change, by=approver, reason="as sold", at=LAUNCH)
    shop = Shop(maker, approver, worker_user(), unit, card)
    open_market(shop)
    return shop


class Pair(Protocol):
    """Two people who stand behind a rule."""

    @property
    def maker(self) -> User: ...

    @property
    def approver(self) -> User: ...


def open_market(shop: Pair, country: str = "", currency: str = "USD", **terms: Any) -> MarketGate:
    """Open a market in which no tax is due, unless terms say otherwise."""
    standard = {
        "tax_registration": "not_required", "settlement_currency": currency,
        "bank_country": "US", "payout_days": 2,
    }  # fmt: skip
    gate = propose_market_gate(
        checklist=Checklist(country, currency, **{**standard, **terms}),
        proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    approve(change=gate.policy_change, by=shop.approver, reason="ready", at=LAUNCH)
    return gate


def set_limits(shop: Shop, effective_at: datetime = LAUNCH, **changes: Any) -> InvoicePolicy:
    """Let a policy of invoices govern since the launch: without limits, but for the changes."""
    standard: dict[str, Any] = {
        "approval_above": {}, "approves_first": False, "notes_above": {}, "most_lines": 1000,
        "most_drafts": 50,
    }  # fmt: skip
    policy = propose_invoice_policy(
        proposal=words(effective_at), by=shop.maker, at=LAUNCH, **{**standard, **changes}
    )
    approve(change=policy.policy_change, by=shop.approver, reason="agreed", at=LAUNCH)
    return policy


def ensure_market(shop: Shop, country: str, currency: str, entity: str = "main") -> None:
    """Open a market to an entity unless it is open."""
    gates = MarketGate.objects.filter(country=country, currency=currency)
    if not gates.filter(entity__code=entity).exists():
        open_market(shop, country, currency, entity=entity)


def registered_in(
    shop: Shop, country: str, rate: str, currency: str = "EUR", entity: str = "main", **terms: Any
) -> None:
    """Open a market where we are registered and charge a tax."""
    open_market(
        shop, country, currency, entity=entity, tax_registration="registered",
        tax_number=f"{country}999", registered_on=LAUNCH.date(), threshold_minor=1_000_000,
    )  # fmt: skip
    standard = {"name": "VAT", "is_inclusive": False, "has_reverse_charge": True}
    row = propose_tax_rate(
        country=country, rate=Decimal(rate), proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
        **{**standard, **terms},
    )  # fmt: skip
    approve(change=row.policy_change, by=shop.approver, reason="the law", at=LAUNCH)


def dollar_card(shop: Shop) -> RateCard:
    """Make a card in US dollars: the first 100 tokens cost 0.03 each, all others 0.02."""
    unit = create_pricing_unit(
        code="usd", name="US dollars", currency="USD", by=shop.maker, at=LAUNCH
    )
    card = create_rate_card(
        code="dollars", name="Dollars", pricing_unit=unit, by=shop.maker, at=LAUNCH
    )
    tiers = [{"up_to": "100", "unit_price": "0.03"}, {"up_to": None, "unit_price": "0.02"}]
    version = propose_rate_card_version(
        rate_card=card, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
        rates=[RateInput("output_tokens", {}, model="graduated", terms={"tiers": tiers})],
    )  # fmt: skip
    approve(change=version.policy_change, by=shop.approver, reason="margin holds", at=LAUNCH)
    return card


def words(effective_at: datetime) -> Proposal:
    """Return a complete proposal."""
    return Proposal("A version", "Customers asked", "New rows only", "launch", effective_at)


def terms(shop: Shop, **changes: Any) -> PlanTerms:
    """Return a plan's terms: USD 49.00 for 30 days with 100 credits, then USD 0.012 each."""
    standard: dict[str, Any] = {
        "currency": "USD", "fee_minor": 4900, "included_credits": Decimal(100),
        "overage_price": Decimal("0.012"), "rate_card": shop.rate_card, "interval_unit": "day",
        "interval_count": 30, "grace_hours": 24, "payment_days": 30,
    }  # fmt: skip
    return PlanTerms(**{**standard, **changes})


def sell_plan(shop: Shop, code: str = "starter", **changes: Any) -> PlanVersion:
    """Make a plan whose first version is approved and governs since the launch."""
    version = propose(shop, code, **changes)
    approve(change=version.policy_change, by=shop.approver, reason="price list", at=LAUNCH)
    return version


def propose(shop: Shop, code: str = "starter", **changes: Any) -> PlanVersion:
    """Make a plan whose newest version is only proposed."""
    plan = create_plan(code=code, name=code.capitalize(), by=shop.maker, at=LAUNCH)
    return propose_plan_version(
        plan=plan, terms=terms(shop, **changes), proposal=words(LAUNCH), by=shop.maker, at=LAUNCH
    )


def customer_of(shop: Shop, external_id: str = "acme", **changes: Any) -> Customer:
    """Make a customer who is billed in USD, and open their market."""
    content = {"name": external_id.capitalize(), "currency": "USD", **changes}
    ensure_market(shop, content.get("country", ""), content["currency"])
    return create_customer(external_id=external_id, by=shop.maker, at=LAUNCH, **content)


def subscribed(
    shop: Shop, external_id: str = "acme", start_at: datetime = START, **changes: Any
) -> Subscription:
    """Make a customer with a plan of their own."""
    customer = customer_of(shop, external_id, currency=changes.get("currency", "USD"))
    version = sell_plan(shop, f"plan-{external_id}", **changes)
    return subscribe(
        customer=customer, plan_version=version, start_at=start_at, by=shop.maker, at=start_at
    )


def use(
    shop: Shop,
    tokens: int | str,
    at: datetime,
    identifier: str = "req-1",
    customer: str = "acme",
    model: str = "small",
    known_at: datetime | None = None,
) -> None:
    """Report one request and carry it through aggregation and rating."""
    known_at = known_at or at
    event = EventInput(
        event_name="llm_request", identifier=identifier, customer=customer, timestamp=at,
        properties={"model": model, "output_tokens": str(tokens)},
    )  # fmt: skip
    result = capture_events(items=[event], sender="test", at=known_at)
    assert result.accepted == 1, result
    rate(shop, customer, known_at)


def cancel(shop: Shop, identifier: str, at: datetime, customer: str = "acme") -> None:
    """Cancel one request and carry that through rating."""
    owner = Customer.objects.get(external_id=customer)
    cancel_event(customer=owner, identifier=identifier, reason="not theirs", by=shop.maker, at=at)
    rate(shop, customer, at)


def rate(shop: Shop, customer: str, at: datetime) -> None:
    """Aggregate what waits and rate one customer."""
    aggregate_batches(at=at)
    owner = Customer.objects.get(external_id=customer)
    rate_customer(customer_id=owner.pk, by=shop.worker, at=at)


def issued(
    shop: Shop, customer: Customer, minor: int, currency: str = "USD", at: datetime = START
) -> Invoice:
    """Issue an invoice over one fee of so many minor units."""
    ensure_market(shop, customer.country, currency)
    key = f"test:{Invoice.objects.count()}"
    draft = create_draft(Draft(customer, None, currency, Period(START, END), START, key), at)
    write_lines(draft, [Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(minor), minor, "fee")])
    return finalize_invoice(invoice=draft, by=shop.worker, at=at)


def sold_pack(shop: Shop, customer: Customer, minor: int, at: datetime = START) -> Invoice:
    """Issue the invoice of a pack of 100 credits."""
    return sell_credit_pack(
        customer=customer, pricing_unit=shop.unit, amount=Decimal(100), price_minor=minor,
        key=f"pack-{Invoice.objects.count()}", by=shop.worker, at=at,
    )  # fmt: skip


def paid(shop: Shop, invoice: Invoice, minor: int | None = None, at: datetime = START) -> Invoice:
    """Pay what an invoice still owes, or a part of it."""
    record_payment(
        invoice=invoice, amount_minor=minor or invoice.open_minor, method="bank_transfer",
        reference=f"wire-{invoice.payments.count()}", paid_at=at, by=shop.worker, at=at,
    )  # fmt: skip
    invoice.refresh_from_db()
    return invoice


def note_on(
    shop: Shop,
    invoice: Invoice,
    minor: int,
    settlement: Settlement | None = None,
    key: str = "note-1",
    at: datetime = START,
) -> CreditNote:
    """Credit an invoice's first line."""
    return issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(position=1), minor)], reason="goodwill",
        memo="", key=f"{key}:{invoice.pk}", by=shop.worker, at=at, settlement=settlement,
    )  # fmt: skip


def check_what_is_deferred() -> None:
    """Let deferred triggers speak as at a commit, so that nothing waits for one."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def first_period(subscription: Subscription) -> BillingPeriod:
    """Return the period that subscribing opened."""
    period = billing_periods_of(subscription).first()
    assert period is not None
    return period


def fee_invoice(subscription: Subscription) -> Invoice:
    """Return the draft or issued fee of the first period."""
    return Invoice.objects.get(source_key=f"billing_period:{first_period(subscription).pk}:fee")


def overage_invoices(subscription: Subscription) -> list[Invoice]:
    """Return the overage invoices of the first period, the first one first."""
    key = f"billing_period:{first_period(subscription).pk}:overage"
    return list(Invoice.objects.filter(source_key__startswith=key).order_by("id"))


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run actions in threads with connections of their own; a refusal is returned, not raised."""
    gate = Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        try:
            gate.wait(timeout=10)
            return action()
        except BillingError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def refusals(results: Sequence[object]) -> list[BillingError]:
    """Return those results that are refusals."""
    return [result for result in results if isinstance(result, BillingError)]


def _person(username: str, role: str) -> User:
    user = User.objects.create_user(username, password=None, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user
