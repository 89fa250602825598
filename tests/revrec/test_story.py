"""Whatever happens to a customer, in whatever order: the books hold after every run."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import BillingError
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from credits.services.grants import expire_due_grants, void_grant
from invoicing.models import Invoice, InvoiceStatus
from metering.models import Customer
from metering.services.adjust import cancel_event
from revrec.models import AccountingPeriod, PeriodStatus
from tests.revrec.builders import Shop, close_month, on, recognise

REASONS = ("billing_error", "cancel_future", "goodwill")
START = on("2026-01-05T10")


class Life:
    """A customer's life, a step at a time; every step is safe to ask for at any time."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.now, self.events = shop, START, list[str]()
        self.customer: Customer = shop.subscriber(
            "2026-01-01", fee=4_999, included="70", overage="0.0173"
        )

    @property
    def _at(self) -> str:
        return self.now.replace(tzinfo=None).isoformat()

    def wait(self, size: int) -> None:
        """Let days pass, and open and invoice what has come due."""
        self.now += timedelta(days=size % 23 + 1)
        self.shop.renew(self._at)
        expire_due_grants(by=worker_user(), at=self.now)

    def use(self, size: int) -> None:
        """Use credits a few days ago, or now."""
        back = self.now - timedelta(days=size % 3 * 7)
        at = max(back, START).replace(tzinfo=None).isoformat()
        self.events.append(self.shop.use(self.customer, f"{size}.37", at))

    def cancel(self, size: int) -> None:
        """Take back an event that was sent by mistake."""
        if self.events:
            identifier = self.events.pop(size % len(self.events))
            cancel_event(
                customer=self.customer, identifier=identifier, reason="twice",
                by=self.shop.maker, at=self.now,
            )  # fmt: skip
            self.shop.rate(self.customer, self.now)

    def grant(self, size: int) -> None:
        """Sell credits for a while, or give them away."""
        end = (self.now + timedelta(days=size % 40 + 1)).replace(tzinfo=None).isoformat()
        self.shop.grant(self.customer, str(size + 1), self._at, size * 7 % 1_000, end)

    def pack(self, size: int) -> None:
        """Sell a pack on invoice."""
        self.shop.pack(self.customer, str(size + 1), size * 11 + 1, self._at)

    def pay(self, size: int) -> None:
        """Pay an invoice, or some of it."""
        open_invoices = Invoice.objects.filter(customer=self.customer, open_minor__gt=0)
        if invoice := open_invoices.order_by("id").first():
            self.shop.pay(invoice, self._at, amount=None if size % 2 else 1)

    def credit(self, size: int) -> None:
        """Credit an invoice."""
        issued = Invoice.objects.filter(customer=self.customer).exclude(status=InvoiceStatus.DRAFT)
        if invoice := issued.order_by("id")[size % 3 : size % 3 + 1].first():
            self.shop.credit(invoice, size + 1, REASONS[size % 3], self._at)

    def void(self, size: int) -> None:
        """Void a grant that has something left."""
        left = CreditGrant.objects.filter(customer=self.customer, remaining__gt=0)
        if grant := left.order_by("-id").first():
            void_grant(grant=grant, reason_code="test", by=self.shop.maker, at=self.now)

    def recognise(self, size: int) -> None:
        """Bring the books up to date."""
        recognise(self.customer, self._at)

    def close(self, size: int) -> None:
        """Close the first open month, if it has ended."""
        first = AccountingPeriod.objects.filter(status=PeriodStatus.OPEN).first()
        if first is not None:
            close_month(first.start_on, self.now)


STEPS: dict[str, Callable[[Life, int], None]] = {
    name: step for name, step in vars(Life).items() if callable(step) and not name.startswith("_")
}


def _live(life: Life, steps: list[tuple[str, int]]) -> None:
    for name, size in steps:
        try:
            with transaction.atomic():
                STEPS[name](life, size)
        except BillingError:
            continue  # Refused by a rule of its own; the books must hold all the same.
        life.now += timedelta(hours=1)


@pytest.mark.django_db
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 300)), min_size=6, max_size=14
    )
)
def test_the_books_hold_whatever_happens(shop: Shop, steps: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        life = Life(shop)
        _live(life, steps)
        life.recognise(0)

        found = [
            (result.name, finding)
            for result in run_checks()
            if result.name.startswith("revrec.")
            for finding in result.findings
        ]
        again = recognise(life.customer, life._at)
        transaction.set_rollback(True)

    assert (found, again) == ([], 0)
