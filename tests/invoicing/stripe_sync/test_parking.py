"""Events that do not fit change nothing: they rest with an owner, and need not come again."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Insufficient, Invalid, NotAllowed
from billing_project.kernel.models import User
from invoicing.crediting import Settlement
from invoicing.models import (
    AttemptState,
    CustomerBalance,
    Dispute,
    Invoice,
    Overpayment,
    ParkedEvent,
    Payment,
    PaymentAttempt,
    Refund,
    StripeCall,
    StripeCustomer,
    StripeDifference,
    StripeEvent,
)
from invoicing.stripe_sync.reconciling import reconcile
from invoicing.stripe_sync.settling import adopt_refund, explain_difference
from revrec.services.recognise import recognise_pending
from tests.fakes.stripe.server import SECRET
from tests.fakes.stripe.webhooks import signature
from tests.invoicing.builders import issued, note_on
from tests.invoicing.stripe_sync.till import Till, real_now

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _signed(event: dict[str, Any]) -> dict[str, str]:
    body = json.dumps(event)
    return {"body": body, "signature": signature(body.encode(), SECRET, int(time.time()))}


def _event(type_: str, told: dict[str, Any], **changes: Any) -> dict[str, str]:
    name = f"evt_{abs(hash((type_, str(told), str(changes))))}"
    words = {"id": name, "object": "event", "type": type_, "created": int(time.time()),
             "livemode": False, "data": {"object": told}, **changes}  # fmt: skip
    return _signed(words)


def _money() -> tuple[int, ...]:
    """Count all that money does here."""
    tables: tuple[Any, ...] = (Payment, Overpayment, Refund, Dispute)
    return tuple(model.objects.count() for model in tables)


def _reconcile(till: Till) -> None:
    reconcile(since=real_now() - 2 * HOUR, until=real_now() + 2 * HOUR, at=till.at)


def _about(pk: str) -> set[tuple[str, str, str]]:
    rows = StripeDifference.objects.filter(resolved_at=None)
    return {(one.kind, one.subject, one.owner) for one in rows if pk in f"{one.subject}{one.there}"}


def _collected(till: Till) -> tuple[Invoice, dict[str, Any]]:
    """Return a paid invoice and Stripe's intent of it."""
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.collect()
    till.hear()
    invoice.refresh_from_db()
    [intent] = till.charges(customer)
    return invoice, intent


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        ("payment_intent.succeeded", {"id": "pi_nobody"}),
        ("charge.succeeded", {"id": "ch_nobody", "payment_intent": "pi_nobody"}),
        ("charge.dispute.created", {"id": "du_nobody"}),
        ("refund.failed", {"id": "re_nobody"}),
        ("charge.refund.updated", {"id": "re_nobody"}),
        ("checkout.session.completed", {"id": "cs_nobody"}),
        ("payment_method.detached", {"id": "pm_nobody"}),
        ("payment_intent.succeeded", {}),
    ],
)
def test_what_stripe_does_not_know_is_asked_for_thrice_and_then_rests(
    till: Till, type_: str, told: dict[str, Any]
) -> None:
    delivery = _event(type_, told)

    answers = [till.deliver(delivery) for _ in range(6)]

    assert answers == [503, 503, 200, 200, 200, 200]
    row = ParkedEvent.objects.get()
    assert (row.reason, row.owner, row.delivery_count) == ("unknown_object", "engineering", 6)
    assert (StripeEvent.objects.count(), _money()) == (0, (0, 0, 0, 0))


def test_what_rests_stands_in_the_reconciliation_until_it_is_explained(till: Till) -> None:
    delivery = _event("payment_intent.succeeded", {"id": "pi_gone"})
    for _ in range(3):
        till.deliver(delivery)
    name = json.loads(delivery["body"])["id"]
    _reconcile(till)
    row = StripeDifference.objects.get(subject=f"event {name}")
    assert (row.kind, row.owner) == ("only_there", "engineering")
    assert row.there.startswith("payment_intent.succeeded of pi_gone: No such payment_intent")

    explain_difference(difference=row, reason="of a test", by=till.shop.maker, at=till.at)
    _reconcile(till)

    assert _about("pi_gone") == set()
    with pytest.raises(Conflict, match="is closed"):
        explain_difference(difference=row, reason="again", by=till.shop.maker, at=till.at)


def test_what_is_explained_while_a_run_goes_on_stays_closed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = StripeCustomer.objects.get(customer=till.customer())
    intent = till.pay_elsewhere(row.stripe_id, row.payment_method)
    _reconcile(till)
    found = StripeDifference.objects.get(subject=f"payment {intent}")
    lock = StripeDifference.objects.select_for_update

    def just_before_the_lock() -> Any:
        monkeypatch.undo()
        explain_difference(difference=found, reason="of a shop", by=till.shop.maker, at=till.at)
        return lock()

    monkeypatch.setattr(StripeDifference.objects, "select_for_update", just_before_the_lock)
    _reconcile(till)

    assert _about(intent) == set()


def test_a_fault_of_stripe_is_no_reason_to_park(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.faults({"fault": "lost_answer", "calls": "POST /v1/payment_intents", "times": 1})
    till.collect()
    delivery = next(one for one in till.news() if "payment_intent.succeeded" in one["body"])
    till.fake.faults({"fault": "unavailable", "calls": "GET /v1/"})
    assert [till.deliver(delivery) for _ in range(6)] == [503] * 6

    till.fake.faults()

    assert till.deliver(delivery) == 200
    invoice.refresh_from_db()
    assert (invoice.status, ParkedEvent.objects.count()) == ("paid", 0)


@pytest.mark.parametrize("changes", [{"account": "acct_other"}, {"livemode": True}])
def test_an_event_of_another_account_or_mode_rests_at_once(
    till: Till, changes: dict[str, Any]
) -> None:
    _, intent = _collected(till)
    before = _money()

    assert till.deliver(_event("payment_intent.succeeded", intent, **changes)) == 200

    row = ParkedEvent.objects.get()
    assert (row.reason, row.owner, _money()) == ("elsewhere", "engineering", before)
    assert row.parked_at is not None


@pytest.mark.parametrize(
    "changes",
    [{"amount": 9_900}, {"currency": "eur"}, {"invoice": "INV-000099"}, {"customer": "other"},
     {"again": True}],
)  # fmt: skip
def test_money_under_our_name_that_was_not_asked_for_changes_nothing(
    till: Till, changes: dict[str, Any]
) -> None:
    customer, other = till.customer(), till.customer("other")
    invoice = issued(till.shop, customer, 10_000)
    if "again" not in changes:
        till.fake.faults({"fault": "lost_request", "calls": "POST /v1/payment_intents"})
    till.collect()
    till.fake.faults()
    till.hear()
    before, call = _money(), till.call_of(invoice)
    who = StripeCustomer.objects.get(customer=other if "customer" in changes else customer)
    made = till._sdk().v1.payment_intents.create(
        {"amount": changes.get("amount", 10_000), "currency": changes.get("currency", "usd"),
         "customer": who.stripe_id, "payment_method": who.payment_method, "confirm": True,
         "metadata": {**call.params["metadata"],
                      "invoice": changes.get("invoice", invoice.number or "")}}
    )  # fmt: skip

    assert {till.deliver(one) for one in till.news() for _ in range(2)} == {200}

    assert (_money(), CustomerBalance.objects.count()) == (before, 0)
    assert set(ParkedEvent.objects.values_list("object_id", "reason", "owner")) == {
        (made.id, "does_not_fit", "finance")
    }
    _reconcile(till)
    assert ("only_there", f"payment {made.id}", "engineering") in _about(made.id)


def test_a_part_that_was_captured_is_not_taken_for_the_whole(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.tell("capture_part", percent=60)
    till.fake.faults({"fault": "lost_answer", "calls": "POST /v1/payment_intents", "times": 1})
    till.collect()
    till.hear()
    till.fake.tell("capture_part", percent=100)

    invoice.refresh_from_db()
    assert (invoice.status, invoice.open_minor) == ("finalized", 10_000)
    assert "amount received 6000, not 10000" in ParkedEvent.objects.earliest("id").detail
    _reconcile(till)
    [intent] = till.charges(customer)
    row = StripeDifference.objects.get(subject=f"payment {intent['id']}")
    assert (row.kind, row.there) == ("only_there", "60.00 USD")


def test_a_dispute_of_a_charge_that_is_not_ours_changes_nothing(till: Till) -> None:
    customer = till.customer()
    row = StripeCustomer.objects.get(customer=customer)
    intent_id = till.pay_elsewhere(row.stripe_id, row.payment_method)
    [intent] = till.charges(customer)
    told = till.fake.tell("open_dispute", charge=intent["latest_charge"])

    assert {till.deliver(one) for one in till.news()} == {200}

    assert _money() == (0, 0, 0, 0)
    _reconcile(till)
    assert {subject for _, subject, _ in _about(told["id"]) | _about(intent_id)} == {
        f"dispute {told['id']}", f"payment {intent_id}",
    }  # fmt: skip


@pytest.mark.parametrize("is_partial", [True, False])
def test_a_refund_of_the_dashboard_is_finances_and_recorded_out_of_the_balance(
    till: Till, is_partial: bool
) -> None:
    invoice, intent = _collected(till)
    minor = 3_000 if is_partial else 10_000
    made = till._sdk().v1.refunds.create({"payment_intent": intent["id"], "amount": minor})
    assert {till.deliver(one) for one in till.news()} == {200}
    assert _money() == (1, 0, 0, 0)
    _reconcile(till)
    assert _about(made.id) == {("only_there", f"refund {made.id}", "finance")}
    row = StripeDifference.objects.get(subject=f"refund {made.id}")
    words: Any = {"difference": row, "by": till.shop.maker, "at": till.at}
    with pytest.raises(Insufficient, match="credit the invoice"):
        adopt_refund(**words)

    note_on(till.shop, invoice, minor, Settlement(balance_minor=minor))
    refund = adopt_refund(**words)

    assert (refund.amount_minor, refund.reference) == (minor, made.id)
    assert CustomerBalance.objects.get().balance_minor == 0
    row.refresh_from_db()
    assert row.explanation == f"recorded as refund {made.id}"
    _reconcile(till)
    assert _about(made.id) == set()
    till.collect(HOUR)  # Nothing more goes back.
    assert len(till.fake.tell("find", object="refund", payment_intent=intent["id"])) == 1
    with pytest.raises(Conflict):
        adopt_refund(**words)
    recognise_pending(by=till.shop.worker, at=till.at, limit=None)
    assert [finding for result in run_checks() for finding in result.findings] == []

    till.fake.tell("fail_refund", refund=made.id, reason="lost_or_stolen_card")
    till.hear()
    assert CustomerBalance.objects.get().balance_minor == minor


def test_only_a_refund_that_went_back_is_recorded_and_only_by_finance(till: Till) -> None:
    _, intent = _collected(till)
    made = till._sdk().v1.refunds.create({"payment_intent": intent["id"], "amount": 500})
    till.fake.tell("fail_refund", refund=made.id, reason="unknown")
    _reconcile(till)
    row = StripeDifference.objects.get(subject=f"refund {made.id}")

    with pytest.raises(Conflict, match="is failed"):
        adopt_refund(difference=row, by=till.shop.maker, at=till.at)
    nobody = User.objects.create_user("nobody")
    with pytest.raises(NotAllowed):
        adopt_refund(difference=row, by=nobody, at=till.at)
    with pytest.raises(NotAllowed):
        explain_difference(difference=row, reason="because", by=nobody, at=till.at)
    with pytest.raises(Invalid):
        explain_difference(difference=row, reason=" ", by=till.shop.maker, at=till.at)


def test_a_refund_of_ours_whose_answer_was_lost_is_not_recorded_twice(till: Till) -> None:
    invoice, intent = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    note_on(till.shop, invoice, 3_000, key="another")  # So that there is a balance to take it from.
    till.fake.faults({"fault": "lost_answer", "calls": "POST /v1/refunds", "times": 1})
    till.collect()
    _reconcile(till)
    [made] = till.fake.tell("find", object="refund", payment_intent=intent["id"])
    row = StripeDifference.objects.get(subject=f"refund {made['id']}")

    with pytest.raises(Conflict, match="was asked for here"):
        adopt_refund(difference=row, by=till.shop.maker, at=till.at)

    till.hear()
    assert (Refund.objects.count(), StripeCall.objects.get(kind="refund").state) == (1, "done")
    assert CustomerBalance.objects.get().balance_minor == 3_000


@pytest.mark.parametrize("type_", ["refund.failed", "charge.refund.updated"])
def test_a_refund_that_fails_later_is_heard_of_by_either_event(till: Till, type_: str) -> None:
    invoice, _ = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    till.collect()
    till.hear()
    call = StripeCall.objects.get(kind="refund")
    told = till.fake.tell("fail_refund", refund=call.stripe_id, reason="expired_or_canceled_card")

    assert till.deliver(_event(type_, {"id": call.stripe_id})) == 200
    till.hear()

    assert Refund.objects.get().failure.reason == "Stripe: expired_or_canceled_card"
    assert CustomerBalance.objects.get().balance_minor == 3_000
    assert told is None or told["status"] == "failed"


def test_a_refund_under_the_name_of_another_is_not_taken_for_it(till: Till) -> None:
    invoice, intent = _collected(till)
    note_on(till.shop, invoice, 3_000, Settlement(refund_minor=3_000))
    till.collect()
    till.hear()
    call = StripeCall.objects.get(kind="refund")
    made = till._sdk().v1.refunds.create(
        {"payment_intent": intent["id"], "amount": 3_000, "metadata": call.params["metadata"]}
    )
    till.fake.tell("fail_refund", refund=made.id, reason="unknown")

    assert {till.deliver(one) for one in till.news()} == {200}

    assert not hasattr(Refund.objects.get(), "failure")
    assert {one.reason for one in ParkedEvent.objects.filter(object_id=made.id)} == {"does_not_fit"}


def test_what_stands_open_is_asked_for_however_old_it_is(till: Till) -> None:
    customer = till.customer()
    row = StripeCustomer.objects.get(customer=customer)
    intent = till.pay_elsewhere(row.stripe_id, row.payment_method)
    _reconcile(till)

    reconcile(since=real_now() + HOUR, until=real_now() + 2 * HOUR, at=till.at + 40 * DAY)

    [told] = StripeDifference.objects.filter(subject=f"payment {intent}")
    assert (told.resolved_at, told.last_seen_at) == (None, till.at + 40 * DAY)


def test_money_for_an_invoice_that_ended_meanwhile_is_the_customers_balance(till: Till) -> None:
    customer = till.customer()
    invoice = issued(till.shop, customer, 10_000)
    till.fake.tell("decline", payment_method=till.card_of(customer), codes=["processing"])
    till.collect()
    till.hear()
    note_on(till.shop, invoice, 10_000)  # Nothing is owed any more.

    till.fake.tell("settle", payment_intent=till.call_of(invoice).stripe_id)
    till.hear()

    assert CustomerBalance.objects.get(customer=customer).balance_minor == 10_000
    assert PaymentAttempt.objects.get().state == AttemptState.SUCCEEDED
    recognise_pending(by=till.shop.worker, at=till.at, limit=None)
    assert [finding for result in run_checks() for finding in result.findings] == []


def test_parked_events_are_kept(till: Till) -> None:
    till.deliver(_event("refund.failed", {"id": "re_nobody"}))

    for statement in ("UPDATE parked_event SET type = 'x'", "DELETE FROM parked_event"):
        with (
            pytest.raises(DatabaseError),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_the_pages_show_what_rests_and_finance_explains_it(till: Till, client: Client) -> None:
    for _ in range(3):
        till.deliver(_event("refund.failed", {"id": "re_nobody"}))
    _reconcile(till)
    row = StripeDifference.objects.filter(subject__startswith="event ").get()
    client.force_login(till.shop.maker)
    assert "re_nobody" in client.get("/admin/invoicing/parkedevent/").content.decode()
    page = f"/admin/invoicing/stripedifference/{row.pk}/change/"
    assert "Explain" in client.get(page).content.decode()
    assert "Record this refund" not in client.get(page).content.decode()
