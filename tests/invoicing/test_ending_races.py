"""Every two of what ends or settles an invoice, at once: one legal order, and books that add up."""

import time
from collections.abc import Callable
from itertools import combinations_with_replacement

import pytest
from django.db import DatabaseError

from billing_project.kernel.errors import BillingError
from invoicing import checks
from invoicing.models import Invoice
from invoicing.services import credit_notes, endings, payments
from invoicing.services.endings import void_invoice, write_off_invoice
from tests.invoicing.builders import (
    START,
    Shop,
    at_once,
    check_what_is_deferred,
    customer_of,
    issued,
    note_on,
    open_shop,
    paid,
)

pytestmark = pytest.mark.django_db(transaction=True)

MODULES = (credit_notes, endings, payments)
NAMES = ("pay", "credit", "void", "write_off")
Act = Callable[[], object]


def _slow(monkeypatch: pytest.MonkeyPatch, *, locks: bool) -> None:
    """Wait between reading an invoice and what is written of it, with its lock or without."""
    for module in MODULES:
        take = module.lock_invoice

        def slowly(invoice: Invoice, take: Callable[[Invoice], Invoice] = take) -> Invoice:
            found = take(invoice) if locks else Invoice.objects.get(pk=invoice.pk)
            time.sleep(0.15)
            return found

        monkeypatch.setattr(module, "lock_invoice", slowly)


def _acts(shop: Shop, invoice: Invoice) -> dict[str, Act]:
    acts: dict[str, Act] = {
        "pay": lambda: paid(shop, Invoice.objects.get(pk=invoice.pk), 10_000),
        "credit": lambda: note_on(shop, invoice, 10_000),
        "void": lambda: void_invoice(invoice=invoice, reason="r", by=shop.approver, at=START),
        "write_off": lambda: write_off_invoice(
            invoice=invoice, reason="r", by=shop.approver, at=START
        ),
    }

    def told(act: Act) -> Act:
        def attempt() -> object:
            try:
                return act()
            except DatabaseError as error:
                return error

        return attempt

    return {name: told(act) for name, act in acts.items()}


@pytest.mark.parametrize("pair", list(combinations_with_replacement(NAMES, 2)))
def test_of_two_ends_at_once_one_comes_first(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    shop = open_shop()
    invoice = issued(shop, customer_of(shop), 10_000)
    acts = _acts(shop, invoice)
    _slow(monkeypatch, locks=True)

    results = at_once(*(acts[name] for name in pair))

    assert [one for one in results if isinstance(one, DatabaseError)] == []
    invoice.refresh_from_db()
    states = {"pay": "paid", "credit": "paid", "void": "void", "write_off": "uncollectible"}
    assert invoice.status in {states[name] for name in pair}
    assert invoice.open_minor == 0
    check_what_is_deferred()
    assert [*checks.settlements_add_up(), *checks.balances_add_up()] == []


def test_canary_without_the_lock_both_believe_that_it_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = open_shop()
    invoice = issued(shop, customer_of(shop), 10_000)
    acts = _acts(shop, invoice)
    _slow(monkeypatch, locks=False)

    results = at_once(acts["void"], acts["write_off"])

    assert [one for one in results if isinstance(one, BillingError)] == []
    assert len([one for one in results if isinstance(one, DatabaseError)]) == 1  # The net below.
