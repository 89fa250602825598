"""Lives of other tests are made again from raw events and decisions, too."""

import pytest

from billing_project.console.portable.rebuilding import rebuild
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from billing_project.kernel.users import worker_user
from metering.models import Customer
from revrec.services.recognise import recognise_customer
from tests.console.chain import run_chain, settle
from tests.credits.life import make_market
from tests.credits.test_life import _live
from tests.revrec.builders import on, open_shop
from tests.revrec.contracts import live_contracts

pytestmark = pytest.mark.django_db


def test_a_chain_with_a_refund_that_failed_is_made_again(db: None) -> None:
    settle(run_chain())
    assert rebuild().differences == ()


def test_a_life_of_credits_is_made_again(maker: User, approver: User) -> None:
    _live(make_market(maker, approver))
    for pk in Customer.objects.values_list("pk", flat=True):
        recognise_customer(customer_id=pk, by=worker_user(), at=on("2026-12-20"))
    assert rebuild().differences == ()


def test_what_the_worker_has_not_done_yet_is_refused(db: None) -> None:
    run_chain("other")  # Whose books nobody wrote.
    with pytest.raises(Conflict, match="the books of 1 customer wait"):
        rebuild()


def test_what_finance_decided_of_contracts_is_decided_again(maker: User, approver: User) -> None:
    live_contracts(open_shop(maker, approver))

    assert rebuild().differences == ()
