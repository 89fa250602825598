"""What waits for the books is asked in one statement, and no kind of fact is forgotten in it."""

import pytest

from metering.models import Customer
from revrec.selectors.waiting import ALWAYS_READ, KINDS, kinds_waiting
from revrec.services import recognise as service
from revrec.sources import SourceType
from tests.revrec.builders import Shop, recognise


def test_every_kind_of_fact_is_asked_for_or_always_read() -> None:
    """A new kind of fact must be put into one of the two, or a step may pass it by."""
    assert set(KINDS) | ALWAYS_READ == set(SourceType)
    assert not set(KINDS) & ALWAYS_READ


def test_every_kind_that_is_asked_for_has_its_step() -> None:
    steps = (*service._CLAIMS, *service._CHANGES)

    assert {kind for _, kinds in steps for kind in kinds} == set(KINDS)


@pytest.mark.django_db
def test_only_the_customer_s_own_facts_that_are_not_in_the_books_wait(shop: Shop) -> None:
    one: Customer = shop.subscriber("2026-01-01", fee=3_100)
    other = shop.customer()

    assert kinds_waiting(one.pk) == {SourceType.INVOICE_LINE}
    assert kinds_waiting(other.pk) == frozenset()
    recognise(one, "2026-01-04")
    assert kinds_waiting(one.pk) == frozenset()
