"""Reconciliation finds what one side has and the other lacks, names who answers, mends nothing."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from billing_project.kernel.errors import Conflict
from billing_project.kernel.money import Money
from invoicing.crediting import Settlement
from invoicing.models import StripeCustomer, StripeDifference
from invoicing.stripe_sync.comparing import Thing, compare, unexplained
from invoicing.stripe_sync.reconciling import Reconciled, reconcile
from invoicing.stripe_sync.settling import explain_difference
from tests.console.backoffice import action_url, client_of, send, told
from tests.invoicing.builders import issued, note_on
from tests.invoicing.stripe_sync.till import Till, real_now

HOUR = timedelta(hours=1)


def _ours(till: Till) -> Reconciled:
    """Reconcile the present, leaving out what other tests made at the shared fake."""
    return reconcile(since=real_now() - 2 * HOUR, until=real_now() + 2 * HOUR, at=till.at)


def _open(ids: set[str]) -> set[tuple[str, str]]:
    rows = StripeDifference.objects.filter(resolved_at=None)
    return {
        (row.kind, row.subject) for row in rows if any(pk in row.subject for pk in ids)
    }  # fmt: skip


def test_both_sides_agree_after_payments_refunds_and_disputes(till: Till) -> None:
    customer = till.customer()
    invoices = [issued(till.shop, customer, 10_000) for _ in range(2)]
    till.collect()
    note_on(till.shop, invoices[0], 3_000, Settlement(refund_minor=3_000))
    charges = till.charges(customer)
    till.collect()
    told = till.fake.tell("open_dispute", charge=charges[0]["latest_charge"])
    till.fake.tell("close_dispute", dispute=told["id"], status="lost")
    till.hear()
    till.fake.tell("pay_out")

    done = _ours(till)

    ids = {one["id"] for one in charges} | {told["id"]}
    assert _open(ids) == set()
    assert done.compared["payment"] >= 2
    assert done.paid_out["USD"] > 0


def test_what_one_side_lacks_is_found_and_gone_once_it_is_there(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": "POST /v1/payment_intents", "times": 1})
    till.collect()
    [charge] = till.charges(customer)
    intent = charge["id"]
    _ours(till)
    assert ("only_there", f"payment {intent}") in _open({intent})

    till.hear()
    _ours(till)

    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert _open({intent}) == set()
    row = StripeDifference.objects.get(subject=f"payment {intent}")
    assert (row.owner, row.resolved_at) == ("engineering", till.at)


def test_a_verdict_that_comes_long_after_its_dispute_is_compared_and_explains_its_movement(
    till: Till,
) -> None:
    customer = till.customer()
    issued(till.shop, customer, 10_000)
    till.collect()
    [charge] = till.charges(customer)
    till.fake.tell("move_clock", seconds=-40 * 86_400)
    dispute = till.fake.tell("open_dispute", charge=charge["latest_charge"])["id"]
    till.fake.tell("move_clock", seconds=40 * 86_400)
    till.hear()
    till.fake.tell("close_dispute", dispute=dispute, status="won")
    moved = till.fake.tell("find", object="balance_transaction", source=dispute)
    ids = {dispute, *(one["id"] for one in moved)}

    _ours(till)
    assert _open(ids) == {("state", f"dispute {dispute}")}
    till.hear()
    _ours(till)

    assert _open(ids) == set()


def test_an_explanation_is_of_what_was_shown(till: Till) -> None:
    row = StripeCustomer.objects.get(customer=till.customer())
    intent = till.pay_elsewhere(row.stripe_id, row.payment_method)
    _ours(till)
    found = StripeDifference.objects.get(subject=f"payment {intent}")
    client, url = client_of(till.shop.maker), action_url(found, "explain")
    shown = client.get(url).context["form"]
    sent = {field.name: field.value() or "" for field in shown} | {"reason": "another shop's"}
    StripeDifference.objects.filter(pk=found.pk).update(there="1.00 USD")

    answer = client.post(url, sent)

    assert "It has changed since it was shown" in answer.content.decode()
    with pytest.raises(Conflict, match="look at it again"):
        explain_difference(difference=found, reason="x", by=till.shop.maker, at=till.at)
    assert "is explained" in told(send(client, url, reason="another shop's"))


def test_a_charge_that_nobody_here_made_is_found_by_the_command(
    till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = till.customer()
    row = StripeCustomer.objects.get(customer=customer)
    intent = till.pay_elsewhere(row.stripe_id, row.payment_method)

    with pytest.raises(SystemExit):
        call_command("reconcile_stripe", days=1)

    said = capsys.readouterr().out
    assert f"only_there: payment {intent}: here nothing, there 77.00 USD (finance)" in said


def test_each_kind_of_difference_has_its_owner() -> None:
    five, six = Thing(Money(500, "USD")), Thing(Money(600, "USD"))
    here = {"a": five, "b": five, "c": Thing(five.amount, "open")}
    there = {"b": six, "c": Thing(five.amount, "lost"), "d": six}

    there |= {"e": six}
    found = [(one.kind, one.subject, one.owner) for one in compare("dispute", here, there, {"e"})]

    assert found == [
        ("only_here", "dispute a", "finance"), ("amount", "dispute b", "finance"),
        ("state", "dispute c", "engineering"), ("only_there", "dispute d", "engineering"),
        ("only_there", "dispute e", "finance"),
    ]  # fmt: skip
    moves = {"t1": Thing(Money(-200, "USD"), "stripe_fee"), "t2": five}
    [strange] = unexplained(moves, {"t1": "", "t2": "ch_1"}, {"ch_1"})
    assert (strange.subject, strange.there) == ("movement t1", "-2.00 USD stripe_fee")
