"""A life with all that finance decides of contracts: commitments, shares, changes, months."""

from decimal import Decimal

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from credits.services.grants import expire_due_grants, void_grant
from invoicing.items import Item
from invoicing.models import InvoiceLine
from metering.models import Customer
from revrec.models import Granularity, Presentation
from revrec.services.allocations import Alone, propose_allocation
from revrec.services.modifications import Answers, propose_modification
from revrec.services.recognition import Recognition
from tests.revrec.builders import Shop, govern, on, recognise


def live_contracts(shop: Shop) -> Customer:
    """Sell a month, a quarter, a commitment and packs, joined and changed; recognise day by day."""
    govern(shop, Recognition(Granularity.MONTH, Presentation.DUE))
    more = Item("one_off", "more", "More", amount_minor=9_000, periods=3)
    customer = shop.subscriber("2026-01-01", fee=3_100, items=(more,))
    fee, quarter = InvoiceLine.objects.filter(invoice__customer=customer).order_by("position")
    pack = shop.pack(customer, "1000", 10_000, "2026-01-01")
    shop.pay(pack, "2026-01-01")
    term = ("2026-01-01", "2026-01-15")
    shop.pay(shop.commitment(customer, "500", 5_000, term, "2026-01-01"), "2026-01-01")
    shop.use(customer, "300", "2026-01-04T09")
    recognise(customer, "2026-01-05")
    joined = propose_allocation(
        customer=customer, evidence="one order form", proposal=_words("2026-01-02"),
        parts=[Alone(fee, Decimal("62.00")), Alone(pack.lines.get(), Decimal("69.00"))],
        by=shop.maker, at=on("2026-01-05"),
    )  # fmt: skip
    approve(change=joined.policy_change, by=shop.approver, reason="agreed", at=on("2026-01-06"))
    recognise(customer, "2026-01-11")
    changed = propose_modification(
        customer=customer, before=[fee], added=[quarter], answers=Answers(False, False, True),
        evidence="an amendment", proposal=_words("2026-01-09"), by=shop.maker,
        at=on("2026-01-11"),
    )  # fmt: skip
    approve(change=changed.policy_change, by=shop.approver, reason="agreed", at=on("2026-01-12"))
    recognise(customer, "2026-01-13")
    shop.credit(quarter.invoice, 500, "goodwill", "2026-01-14")
    expire_due_grants(by=worker_user(), at=on("2026-01-15T06"))
    recognise(customer, "2026-01-16")
    bought = CreditGrant.objects.get(source_key=f"invoice_line:{pack.lines.get().pk}:pack")
    void_grant(grant=bought, reason_code="given back", by=shop.maker, at=on("2026-01-17"))
    shop.credit(pack, 1_000, "goodwill", "2026-01-17")
    recognise(customer, "2026-02-10")
    return customer


def _words(at: str) -> Proposal:
    return Proposal("contract", "wanted", "done", "test", on(at))
