"""A small shop, built with services: one meter, one rate, one plan, customers who use it.

One unit of the meter costs one credit, so that tests can speak of credits used.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant, GrantCategory, PricingUnit, RateCard
from credits.services.grants import issue_grant
from credits.services.policies import propose_credit_policy
from credits.services.rates import (
    RateInput,
    create_pricing_unit,
    create_rate_card,
    propose_rate_card_version,
)
from credits.services.rating import rate_customer
from invoicing.crediting import Settlement
from invoicing.items import Item
from invoicing.models import (
    CreditNote,
    CustomerBalance,
    Invoice,
    MarketGate,
    Plan,
    PlanVersion,
    Refund,
    Subscription,
)
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.markets import Checklist, propose_market_gate
from invoicing.services.packs import sell_commitment, sell_credit_pack
from invoicing.services.payments import record_payment
from invoicing.services.plans import PlanTerms, create_plan, propose_plan_version
from invoicing.services.refunds import (
    record_balance_refund,
    record_refund,
    record_refund_failure,
)
from invoicing.services.subscriptions import renew_due, subscribe
from metering.events import EventInput
from metering.models import Customer
from metering.services.aggregate import aggregate_batches
from metering.services.capture import capture_events
from metering.services.customers import create_customer
from metering.services.meters import create_meter
from revrec.models import AccountingPeriod, JournalEntry, Posting, RecognitionPolicy
from revrec.services.periods import close_period, ensure_period, propose_close
from revrec.services.recognise import recognise_customer
from revrec.services.recognition import Recognition, propose_recognition

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
_numbers = count(1)


def on(text: str) -> datetime:
    """Return an instant: "2026-01-15" is its midnight UTC, "2026-01-15T09" nine o'clock."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Shop:
    """What is sold, and the people who sell it."""

    unit: PricingUnit
    rate_card: RateCard
    plan: Plan
    maker: User
    approver: User

    def plan_version(
        self,
        fee: int = 0,
        included: str = "0",
        overage: str = "0.01",
        currency: str = "USD",
        days: int = 0,
        items: tuple[Item, ...] = (),
    ) -> PlanVersion:
        """Return approved terms; a month each, unless days are given."""
        version = propose_plan_version(
            plan=self.plan,
            terms=PlanTerms(
                currency=currency,
                fee_minor=fee,
                included_credits=Decimal(included),
                overage_price=Decimal(overage),
                rate_card=self.rate_card,
                interval_unit="day" if days else "month",
                interval_count=days or 1,
                items=items,
            ),
            proposal=_words("terms"),
            by=self.maker,
            at=LONG_AGO,
        )
        self._approve(version.policy_change)
        return version

    def customer(self, currency: str = "USD", time_zone: str = "UTC") -> Customer:
        """Return a new customer."""
        name = f"customer-{next(_numbers)}"
        self.open_market(currency)
        return create_customer(
            external_id=name, name=name, currency=currency, time_zone=time_zone, by=self.maker,
            at=LONG_AGO,
        )  # fmt: skip

    def open_market(self, currency: str) -> None:
        """Let finance open a currency to customers without a country, once."""
        if MarketGate.objects.filter(country="", currency=currency).exists():
            return
        checklist = Checklist("", currency, "not_required", currency, "US", payout_days=2)
        gate = propose_market_gate(
            checklist=checklist, proposal=_words("market"), by=self.maker, at=LONG_AGO
        )
        self._approve(gate.policy_change)

    def subscriber(self, start: str, currency: str = "USD", **terms: object) -> Customer:
        """Return a customer who subscribed; the first fee, if any, is invoiced."""
        customer = self.customer(currency)
        self.subscribe(customer, start, currency=currency, **terms)
        return customer

    def subscribe(self, customer: Customer, start: str, **terms: object) -> Subscription:
        """Sell terms to a customer and invoice the first fee."""
        version = self.plan_version(**terms)  # type: ignore[arg-type]
        subscription = subscribe(
            customer=customer, plan_version=version, start_at=on(start), by=self.maker, at=on(start)
        )
        finalize_due(by=self.maker, at=on(start))
        return subscription

    def use(self, customer: Customer, credit_count: str, at: str) -> str:
        """Use credits: an event over the whole chain; return its identifier."""
        identifier = f"use-{next(_numbers)}"
        event = EventInput(
            event_name="use",
            identifier=identifier,
            customer=customer.external_id,
            timestamp=on(at),
            properties={"amount": credit_count},
        )
        known_at = on(at) + timedelta(minutes=1)
        result = capture_events(items=[event], sender="tests", at=known_at)
        assert result.accepted == 1, result
        self.rate(customer, known_at)
        return identifier

    def rate(self, customer: Customer, at: datetime) -> None:
        """Bring events into the credit ledger."""
        aggregate_batches(at=at)
        rate_customer(customer_id=customer.pk, by=worker_user(), at=at)

    def renew(self, at: str) -> None:
        """Open periods that have begun and invoice everything that is due."""
        renew_due(by=self.maker, at=on(at))
        draft_overage_invoices(by=self.maker, at=on(at))
        finalize_due(by=self.maker, at=on(at))

    def grant(
        self,
        customer: Customer,
        amount: str,
        at: str,
        price: int = 0,
        expires: str | None = None,
    ) -> CreditGrant:
        """Give credits: paid out of band if they have a price, else promotional."""
        return issue_grant(
            customer=customer,
            category=GrantCategory.PAID if price else GrantCategory.PROMOTIONAL,
            amount=Decimal(amount),
            pricing_unit=self.unit,
            reason_code="test",
            source_key=f"test:{next(_numbers)}",
            by=self.maker,
            at=on(at),
            effective_at=on(at),
            expires_at=on(expires) if expires else None,
            price_minor=price,
        )

    def pack(self, customer: Customer, amount: str, price: int, at: str) -> Invoice:
        """Sell a pack; its credits come with the payment."""
        return sell_credit_pack(
            customer=customer,
            pricing_unit=self.unit,
            amount=Decimal(amount),
            price_minor=price,
            key=f"pack-{next(_numbers)}",
            by=self.maker,
            at=on(at),
        )

    def commitment(
        self, customer: Customer, amount: str, price: int, term: tuple[str, str], at: str
    ) -> Invoice:
        """Sell a commitment that is paid ahead; its credits come with the payment."""
        return sell_commitment(
            customer=customer,
            pricing_unit=self.unit,
            amount=Decimal(amount),
            price_minor=price,
            start_on=date.fromisoformat(term[0]),
            end_on=date.fromisoformat(term[1]),
            key=f"commitment-{next(_numbers)}",
            by=self.maker,
            at=on(at),
        )

    def pay(self, invoice: Invoice, at: str, amount: int | None = None) -> None:
        """Pay what an invoice still claims, or a part of it."""
        invoice.refresh_from_db()
        record_payment(
            invoice=invoice,
            amount_minor=amount or invoice.open_minor,
            method="bank_transfer",
            reference=f"ref-{next(_numbers)}",
            paid_at=on(at),
            by=self.maker,
            at=on(at),
        )

    def credit(
        self,
        invoice: Invoice,
        amount: int,
        reason: str,
        at: str,
        settlement: Settlement | None = None,
    ) -> CreditNote:
        """Take an amount off the first line of an invoice that claims something."""
        line = invoice.lines.filter(amount_minor__gt=0).earliest("position")
        return issue_credit_note(
            invoice=invoice,
            lines=[(line, amount)],
            reason=reason,
            memo="",
            key=f"note-{next(_numbers)}",
            by=self.maker,
            at=on(at),
            settlement=settlement,
        )

    def refund(self, note: CreditNote, amount: int, at: str) -> Refund:
        """Refund a part of what a note promised."""
        number = next(_numbers)
        return record_refund(
            credit_note=note,
            amount_minor=amount,
            method="card",
            reference=f"re-{number}",
            refunded_at=on(at),
            key=f"refund-{number}",
            by=self.maker,
            at=on(at),
        )

    def repay(self, balance: CustomerBalance, amount: int, at: str) -> Refund:
        """Refund a part of a customer's balance."""
        number = next(_numbers)
        return record_balance_refund(
            balance=balance,
            amount_minor=amount,
            method="card",
            reference=f"re-{number}",
            refunded_at=on(at),
            key=f"refund-{number}",
            by=self.maker,
            at=on(at),
        )

    def fail(self, refund: Refund, at: str) -> None:
        """Let a refund come back."""
        record_refund_failure(
            refund=refund, reason="account closed", failed_at=on(at), by=self.maker, at=on(at)
        )

    def _approve(self, change: PolicyChange) -> None:
        approve(change=change, by=self.approver, reason="agreed", at=LONG_AGO)


def open_shop(maker: User, approver: User) -> Shop:
    """Return a shop with an approved rate and burn order."""
    unit = create_pricing_unit(code="credit", name="Credit", by=maker, at=LONG_AGO)
    create_meter(
        code="used", name="Used", event_name="use", aggregation="sum", unit="unit",
        value_property="amount", by=maker, at=LONG_AGO,
    )  # fmt: skip
    card = create_rate_card(
        code="standard", name="Standard", pricing_unit=unit, by=maker, at=LONG_AGO
    )
    version = propose_rate_card_version(
        rate_card=card,
        rates=[RateInput("used", {}, Decimal(1))],
        proposal=_words("rates"),
        by=maker,
        at=LONG_AGO,
    )
    policy = propose_credit_policy(proposal=_words("burn order"), by=maker, at=LONG_AGO)
    plan = create_plan(code="plan", name="Plan", by=maker, at=LONG_AGO)
    for change in (version.policy_change, policy.policy_change):
        approve(change=change, by=approver, reason="agreed", at=LONG_AGO)
    return Shop(unit, card, plan, maker, approver)


def govern(
    shop: Shop, says: Recognition, from_at: str = "2025-01-01", approved_at: str | None = None
) -> RecognitionPolicy:
    """Let a recognition policy govern that was approved then, or long ago."""
    at = on(approved_at) if approved_at else LONG_AGO
    proposal = Proposal("recognition", "wanted", "done", "test", on(from_at))
    policy = propose_recognition(says=says, proposal=proposal, by=shop.maker, at=at)
    approve(change=policy.policy_change, by=shop.approver, reason="agreed", at=at)
    return policy


def recognise(customer: Customer, at: str) -> int:
    """Bring the books of a customer up to date."""
    return recognise_customer(customer_id=customer.pk, by=worker_user(), at=on(at))


def close_month(day: str | date, at: str | datetime, by: User | None = None) -> AccountingPeriod:
    """Close the month of a day by two people: the worker, or whoever is named, closes it."""
    instant = on(at) if isinstance(at, str) else at
    period = ensure_period(date.fromisoformat(day) if isinstance(day, str) else day)
    proposer = User.objects.get_or_create(username="proposer", defaults={"is_service": True})[0]
    propose_close(period=period, by=proposer, at=instant)
    return close_period(period=period, by=by or worker_user(), at=instant)


def balances(customer: Customer | None = None, until: date | None = None) -> dict[str, int]:
    """Sum postings by account; debits positive, empty accounts left out."""
    postings = Posting.objects.all()
    if customer is not None:
        postings = postings.filter(customer=customer)
    if until is not None:
        postings = postings.filter(entry__effective_on__lt=until)
    sums: dict[str, int] = {}
    for account, amount in postings.values_list("account_id", "amount_minor"):
        sums[account] = sums.get(account, 0) + amount
    return {account: total for account, total in sorted(sums.items()) if total}


def entries(customer: Customer, kind: str) -> list[JournalEntry]:
    """List a customer's entries of one kind in the order of the chain."""
    found = JournalEntry.objects.filter(customer=customer, kind=kind)
    return list(found.order_by("chain_position"))


def signed(entry: JournalEntry) -> dict[str, int]:
    """Return an entry's postings by account."""
    return {posting.account_id: posting.amount_minor for posting in entry.postings.all()}


def _words(title: str) -> Proposal:
    return Proposal(title, "wanted", "done", "test", LONG_AGO)
