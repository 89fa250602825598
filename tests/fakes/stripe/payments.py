"""Customers, cards, payments, refunds: what each call does to the account."""

from tests.fakes.stripe import resources
from tests.fakes.stripe.replies import Refusal, required
from tests.fakes.stripe.state import Object, State

# As Stripe's test cards do: attached without a word, declined when they are charged.
CARDS = {
    "4242424242424242": None,
    "4000000000000341": "card_declined",
    "4000000000009995": "insufficient_funds",
}
PERCENT_BASIS, FEE_BASIS_POINTS, FEE_FIXED = 10_000, 290, 30  # 2.9 % + 30 minor units.
DISPUTE_FEE = 1_500


def create_customer(state: State, given: Object) -> Object:
    """POST /v1/customers."""
    made = state.add(resources.customer(state, given))
    state.happened("customer.created", made)
    return made


def update_customer(state: State, pk: str, given: Object) -> Object:
    """POST /v1/customers/{id}."""
    found = state.get(pk, "customer")
    found.update({name: given[name] for name in ("name", "email") if name in given})
    found["metadata"].update(given.get("metadata", {}))
    method = given.get("invoice_settings", {}).get("default_payment_method")
    if method is not None:
        found["invoice_settings"]["default_payment_method"] = method
    state.happened("customer.updated", found)
    return found


def create_session(state: State, given: Object, base: str) -> Object:
    """POST /v1/checkout/sessions."""
    if "mode" not in given:
        raise required("mode")
    if "customer" in given:
        state.get(given["customer"], "customer", "customer")
    return state.add(resources.checkout_session(state, given, base))


def complete_session(state: State, pk: str, number: str) -> Object:
    """What the hosted page does once the customer has typed their card."""
    session = state.get(pk, "checkout.session")
    card = state.add(resources.payment_method(state, number))
    card["customer"] = session["customer"]
    if decline := CARDS.get(number):
        state.declines[card["id"]] = [decline] * 1_000
    intent = resources.setup_intent(state, session["customer"], card["id"], {})
    state.add(intent)
    session.update(status="complete", setup_intent=intent["id"])
    state.happened("payment_method.attached", card)
    state.happened("setup_intent.succeeded", intent)
    state.happened("checkout.session.completed", session)
    return session


def create_intent(state: State, given: Object) -> Object:
    """POST /v1/payment_intents; with `confirm` the card is charged at once."""
    for name in ("amount", "currency"):
        if name not in given:
            raise required(name)
    if int(given["amount"]) <= 0:
        raise Refusal(400, "This value must be greater than or equal to 1.", param="amount",
                      code="parameter_invalid_integer")  # fmt: skip
    if "customer" in given:
        state.get(given["customer"], "customer", "customer")
    if "payment_method" in given:
        _owned(state, given["payment_method"], given.get("customer"))
    intent = state.add(resources.payment_intent(state, given))
    state.happened("payment_intent.created", intent)
    if given.get("confirm") == "true":
        return confirm_intent(state, intent["id"], given)
    return intent


def confirm_intent(state: State, pk: str, given: Object) -> Object:
    """POST /v1/payment_intents/{id}/confirm."""
    intent = state.get(pk, "payment_intent")
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise Refusal(400, f"This PaymentIntent is {intent['status']}: it cannot be confirmed.",
                      code="payment_intent_unexpected_state")  # fmt: skip
    intent["payment_method"] = given.get("payment_method", intent["payment_method"])
    method = intent["payment_method"]
    if method is None:
        raise required("payment_method")
    waiting = state.declines.get(method, [])
    decline = waiting.pop(0) if waiting else None
    if decline == "processing":
        intent["status"] = "processing"
        state.happened("payment_intent.processing", intent)
        return intent
    return settle_intent(state, intent, decline)


def settle_intent(state: State, intent: Object, decline: str | None) -> Object:
    """Let the bank answer: money comes, or the card declines."""
    made = state.add(resources.charge(state, intent, decline))
    captured = intent["amount"] * state.captured_percent // 100
    intent["latest_charge"] = made["id"]
    if decline is not None:
        _decline(state, intent, made, decline)
    made["amount_captured"] = captured
    settled_in, percent = state.settled_in.get(intent["currency"], (intent["currency"], 100))
    amount = captured * percent // 100
    fee = amount * FEE_BASIS_POINTS // PERCENT_BASIS + FEE_FIXED
    moved = resources.balance_transaction(state, "charge", made["id"], amount, settled_in, fee)
    made["balance_transaction"] = state.add(moved)["id"]
    intent.update(
        status="succeeded", amount_received=captured, last_payment_error=None
    )  # fmt: skip
    state.happened("charge.succeeded", made)
    state.happened("payment_intent.succeeded", intent)
    return intent


def _decline(state: State, intent: Object, made: Object, code: str) -> None:
    outer = code if code == "authentication_required" else "card_declined"
    error = {
        "charge": made["id"], "code": outer, "decline_code": code,
        "message": "Your card was declined.", "type": "card_error",
        "payment_method": state.objects[intent["payment_method"]],
    }  # fmt: skip
    intent.update(status="requires_payment_method", last_payment_error=error)
    state.happened("charge.failed", made)
    state.happened("payment_intent.payment_failed", intent)
    raise Refusal(402, error["message"], type_="card_error", is_kept=True, code=outer,
                  decline_code=code, charge=made["id"], payment_intent=dict(intent))  # fmt: skip


def cancel_intent(state: State, pk: str) -> Object:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = state.get(pk, "payment_intent")
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise Refusal(400, f"You cannot cancel this PaymentIntent: it is {intent['status']}.",
                      code="payment_intent_unexpected_state")  # fmt: skip
    intent.update(status="canceled", canceled_at=state.now(), cancellation_reason=None)
    state.happened("payment_intent.canceled", intent)
    return intent


def create_refund(state: State, given: Object) -> Object:
    """POST /v1/refunds, by charge or by payment intent."""
    if "payment_intent" in given:
        intent = state.get(given["payment_intent"], "payment_intent", "payment_intent")
        paid = state.get(intent["latest_charge"] or "", "charge", "charge")
    else:
        paid = state.get(given.get("charge", ""), "charge", "charge")
    left = paid["amount_captured"] - paid["amount_refunded"]
    amount = int(given.get("amount", left))
    if paid["disputed"]:
        raise Refusal(400, "The charge has been charged back: it cannot be refunded.",
                      code="charge_disputed")  # fmt: skip
    if not left:
        raise Refusal(400, "Charge has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise Refusal(400, f"Refund amount is greater than unrefunded amount on charge ({left}).",
                      param="amount")  # fmt: skip
    made = state.add(resources.refund(state, paid, given, amount))
    moved = resources.balance_transaction(
        state, "refund", made["id"], -amount, paid["currency"]
    )  # fmt: skip
    made["balance_transaction"] = state.add(moved)["id"]
    paid["amount_refunded"] += amount
    paid["refunded"] = paid["amount_refunded"] == paid["amount_captured"]
    state.happened("refund.created", made)
    state.happened("charge.refunded", paid)
    return made


def fail_refund(state: State, pk: str, reason: str) -> Object:
    """Let the customer's bank send a refund back."""
    made = state.get(pk, "refund")
    made.update(status="failed", failure_reason=reason)
    back = resources.balance_transaction(
        state, "refund_failure", pk, made["amount"], made["currency"]
    )
    made["failure_balance_transaction"] = state.add(back)["id"]
    state.happened("refund.failed", made)
    return made


def open_dispute(state: State, charge_id: str, amount: int | None, reason: str) -> Object:
    """Let the customer's bank take the money back for now."""
    paid = state.get(charge_id, "charge")
    made = state.add(resources.dispute(state, paid, amount or paid["amount"], reason))
    moved = resources.balance_transaction(
        state, "adjustment", made["id"], -made["amount"], paid["currency"], DISPUTE_FEE
    )
    made["balance_transactions"] = [state.add(moved)]
    paid["disputed"] = True
    state.happened("charge.dispute.created", made)
    state.happened("charge.dispute.funds_withdrawn", made)
    return made


def close_dispute(state: State, pk: str, status: str) -> Object:
    """Let the bank decide: "won" brings the money back, "lost" does not."""
    made = state.get(pk, "dispute")
    made["status"] = status
    if status == "won":
        back = resources.balance_transaction(
            state, "adjustment", pk, made["amount"], made["currency"]
        )
        made["balance_transactions"].append(state.add(back))
        state.happened("charge.dispute.funds_reinstated", made)
    state.happened("charge.dispute.closed", made)
    return made


def pay_out(state: State) -> list[Object]:
    """Send what is on the balance to the bank, currency by currency; debts are taken from there."""
    waiting: dict[str, list[Object]] = {}
    for moved in state.all("balance_transaction"):
        if moved["id"] not in state.paid_out and moved["type"] != "payout":
            waiting.setdefault(moved["currency"], []).append(moved)
    made = []
    for currency, moves in waiting.items():
        net = sum(moved["net"] for moved in moves)
        if not net:
            continue
        payout = state.add(resources.payout(state, net, currency))
        own = resources.balance_transaction(state, "payout", payout["id"], -net, currency)
        payout["balance_transaction"] = state.add(own)["id"]
        state.paid_out.update({moved["id"]: payout["id"] for moved in [*moves, own]})
        state.happened("payout.paid", payout)
        made.append(payout)
    return made


def move(state: State, given: Object) -> Object:
    """Move the balance as Stripe does by itself: fees of its own, corrections, fees given back."""
    return state.add(
        resources.balance_transaction(
            state, given["type"], given.get("source"), given.get("amount", 0), given["currency"],
            given.get("fee", 0),
        )
    )  # fmt: skip


def _owned(state: State, method: str, owner: str | None) -> None:
    if state.get(method, "payment_method", "payment_method")["customer"] != owner:
        raise Refusal(400, f"The payment method {method} does not belong to the customer.",
                      param="payment_method")  # fmt: skip
