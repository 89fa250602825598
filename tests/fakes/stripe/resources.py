"""Objects as Stripe returns them: every field that the SDK's typed resources promise."""

from typing import Any

from tests.fakes.stripe.state import Object, State


def customer(state: State, given: Object) -> Object:
    """Return a new customer."""
    return {
        "id": state.new_id("cus"), "object": "customer", "address": None, "balance": 0,
        "created": state.now(), "currency": None, "default_source": None, "delinquent": False,
        "description": given.get("description"), "email": given.get("email"),
        "invoice_prefix": "FAKE", "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None,
            "rendering_options": None},
        "livemode": False, "metadata": given.get("metadata", {}), "name": given.get("name"),
        "phone": None, "preferred_locales": [], "shipping": None, "tax_exempt": "none",
        "test_clock": None,
    }  # fmt: skip


def payment_method(state: State, number: str) -> Object:
    """Return a new card; not attached to anybody."""
    return {
        "id": state.new_id("pm"), "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": {"address": {
            "city": None, "country": None, "line1": None, "line2": None, "postal_code": None,
            "state": None}, "email": None, "name": None, "phone": None, "tax_id": None},
        "card": {
            "brand": "visa", "checks": None, "country": "US", "display_brand": "visa",
            "exp_month": 12, "exp_year": 2034, "fingerprint": "fake", "funding": "credit",
            "generated_from": None, "last4": number[-4:], "networks": None,
            "regulated_status": "unregulated", "three_d_secure_usage": None, "wallet": None},
        "created": state.now(), "customer": None, "livemode": False, "metadata": {},
        "type": "card",
    }  # fmt: skip


def payment_intent(state: State, given: Object) -> Object:
    """Return a new payment intent, before anybody tries to pay it."""
    pk = state.new_id("pi")
    return {
        "id": pk, "object": "payment_intent", "amount": int(given["amount"]),
        "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0,
        "application": None, "application_fee_amount": None, "automatic_payment_methods": None,
        "canceled_at": None, "cancellation_reason": None, "capture_method": "automatic_async",
        "client_secret": f"{pk}_secret_fake", "confirmation_method": "automatic",
        "created": state.now(), "currency": given["currency"], "customer": given.get("customer"),
        "description": given.get("description"), "last_payment_error": None,
        "latest_charge": None, "livemode": False, "metadata": given.get("metadata", {}),
        "next_action": None, "on_behalf_of": None, "payment_method": given.get("payment_method"),
        "payment_method_options": None, "payment_method_types": ["card"], "payment_record": None,
        "processing": None, "receipt_email": None, "review": None, "setup_future_usage": None,
        "shipping": None, "source": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "requires_payment_method",
        "transfer_data": None, "transfer_group": None,
    }  # fmt: skip


def charge(state: State, intent: Object, failure: str | None) -> Object:
    """Return the charge of an intent that was tried."""
    paid = failure is None
    return {
        "id": state.new_id("ch"), "object": "charge", "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0, "amount_refunded": 0,
        "application": None, "application_fee": None, "application_fee_amount": None,
        "balance_transaction": None, "billing_details": {
            "address": {"city": None, "country": None, "line1": None, "line2": None,
                        "postal_code": None, "state": None},
            "email": None, "name": None, "phone": None, "tax_id": None},
        "calculated_statement_descriptor": "FAKE", "captured": paid, "created": state.now(),
        "currency": intent["currency"], "customer": intent["customer"],
        "description": intent["description"], "disputed": False,
        "failure_balance_transaction": None, "failure_code": failure,
        "failure_message": None if paid else "Your card was declined.", "fraud_details": {},
        "livemode": False, "metadata": dict(intent["metadata"]), "on_behalf_of": None,
        "outcome": None, "paid": paid, "payment_intent": intent["id"],
        "payment_method": intent["payment_method"], "payment_method_details": None,
        "receipt_email": None, "receipt_number": None, "receipt_url": None, "refunded": False,
        "review": None, "shipping": None, "source": None, "source_transfer": None,
        "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "succeeded" if paid else "failed", "transfer": None, "transfer_data": None,
        "transfer_group": None,
    }  # fmt: skip


def balance_transaction(
    state: State, type_: str, source: str | None, amount: int, currency: str, fee: int = 0
) -> Object:
    """Return a movement of the account's balance; `net` is what it leaves there."""
    details = [{"amount": fee, "application": None, "currency": currency,
                "description": "Stripe processing fees", "type": "stripe_fee"}]  # fmt: skip
    return {
        "id": state.new_id("txn"), "object": "balance_transaction", "amount": amount,
        "available_on": state.now() + 2 * 86400, "balance_type": "payments",
        "created": state.now(), "currency": currency, "description": None,
        "exchange_rate": None, "fee": fee, "fee_details": details if fee else [],
        "net": amount - fee, "reporting_category": "dispute" if type_ == "adjustment" else type_,
        "source": source, "status": "pending", "type": type_,
    }  # fmt: skip


def refund(state: State, paid: Object, given: Object, amount: int) -> Object:
    """Return a refund of a charge."""
    return {
        "id": state.new_id("re"), "object": "refund", "amount": amount,
        "balance_transaction": None, "charge": paid["id"], "created": state.now(),
        "currency": paid["currency"], "customer": paid["customer"],
        "destination_details": {"type": "card"}, "failure_balance_transaction": None,
        "metadata": given.get("metadata", {}), "payment_intent": paid["payment_intent"],
        "payment_method": paid["payment_method"], "pending_reason": None,
        "reason": given.get("reason"), "receipt_number": None, "source_transfer_reversal": None,
        "status": "succeeded", "transfer_reversal": None,
    }  # fmt: skip


def dispute(state: State, paid: Object, amount: int, reason: str) -> Object:
    """Return a dispute that was opened just now."""
    return {
        "id": state.new_id("du"), "object": "dispute", "amount": amount,
        "balance_transactions": [], "charge": paid["id"], "created": state.now(),
        "currency": paid["currency"], "enhanced_eligibility_types": [],
        "evidence": _nothing(_EVIDENCE), "evidence_details": {
            "due_by": state.now() + 7 * 86400, "enhanced_eligibility": {}, "has_evidence": False,
            "past_due": False, "submission_count": 0, "submission_method": None},
        "is_charge_refundable": False, "livemode": False, "metadata": {},
        "payment_intent": paid["payment_intent"], "payment_method_details": None,
        "reason": reason, "status": "needs_response",
    }  # fmt: skip


def payout(state: State, amount: int, currency: str) -> Object:
    """Return a payout that arrived."""
    return {
        "id": state.new_id("po"), "object": "payout", "amount": amount, "application_fee": None,
        "application_fee_amount": None, "arrival_date": state.now(), "automatic": True,
        "balance_transaction": None, "created": state.now(), "currency": currency,
        "description": None, "destination": None, "failure_balance_transaction": None,
        "failure_code": None, "failure_message": None, "livemode": False, "metadata": {},
        "method": "standard", "original_payout": None, "payout_method": None,
        "reconciliation_status": "completed", "reversed_by": None, "source_type": "card",
        "statement_descriptor": None, "status": "paid", "trace_id": None, "type": "bank_account",
    }  # fmt: skip


def setup_intent(state: State, customer_id: str, method: str, metadata: Object) -> Object:
    """Return a setup intent that succeeded: the card may be charged off-session from now on."""
    return {
        "id": state.new_id("seti"), "object": "setup_intent", "application": None,
        "automatic_payment_methods": None, "cancellation_reason": None,
        "client_secret": None, "created": state.now(), "customer": customer_id,
        "description": None, "flow_directions": None, "last_setup_error": None,
        "latest_attempt": None, "livemode": False, "mandate": None, "metadata": metadata,
        "next_action": None, "on_behalf_of": None, "payment_method": method,
        "payment_method_options": None, "payment_method_types": ["card"],
        "single_use_mandate": None, "status": "succeeded", "usage": "off_session",
    }  # fmt: skip


def checkout_session(state: State, given: Object, base: str) -> Object:
    """Return an open session of the hosted page."""
    pk = state.new_id("cs")
    return {
        "id": pk, "object": "checkout.session", "automatic_tax": {
            "enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None, "cancel_url": given.get("cancel_url"),
        "client_reference_id": given.get("client_reference_id"), "created": state.now(),
        "currency": given.get("currency"), "custom_fields": [], "custom_text": {
            "after_submit": None, "shipping_address": None, "submit": None,
            "terms_of_service_acceptance": None},
        "customer": given.get("customer"), "customer_creation": None, "customer_email": None,
        "expires_at": state.now() + 86400, "invoice": None, "livemode": False, "locale": None,
        "metadata": given.get("metadata", {}), "mode": given["mode"], "origin_context": None,
        "payment_intent": None, "payment_link": None, "payment_method_collection": "always",
        "payment_method_types": ["card"], "payment_status": "no_payment_required",
        "redirect_on_completion": None, "setup_intent": None, "shipping_options": [],
        "status": "open", "submit_type": None, "subscription": None,
        "success_url": given.get("success_url"), "ui_mode": "hosted_page",
        "url": f"{base}/c/pay/{pk}",
    }  # fmt: skip


_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy",
    "cancellation_policy_disclosure", "cancellation_rebuttal", "customer_communication",
    "customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature",
    "duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id",
    "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address",
    "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number",
    "uncategorized_file", "uncategorized_text",
)  # fmt: skip


def _nothing(names: tuple[str, ...]) -> dict[str, Any]:
    return {**dict.fromkeys(names), "enhanced_evidence": {}}
