"""Meters, their events and credit grants: what the mirror writes to."""

from decimal import Decimal, InvalidOperation

from tests.fakes.stripe.replies import Refusal, required
from tests.fakes.stripe.state import Object, State

DAYS_BACK, SECONDS_AHEAD = 35, 300
IDENTIFIER_SECONDS = 24 * 3600  # Duplicates are known for at least so long.


def create_meter(state: State, given: Object) -> Object:
    """POST /v1/billing/meters."""
    for meter in state.all("billing.meter"):
        if meter["event_name"] == given["event_name"] and meter["status"] == "active":
            raise Refusal(400, "There is already an active meter with this event name.")
    return state.add({
        "id": state.new_id("mtr"), "object": "billing.meter", "created": state.now(),
        "customer_mapping": given.get("customer_mapping", {
            "type": "by_id", "event_payload_key": "stripe_customer_id"}),
        "default_aggregation": given["default_aggregation"],
        "display_name": given["display_name"], "event_name": given["event_name"],
        "event_time_window": None, "livemode": False, "status": "active",
        "status_transitions": {"deactivated_at": None}, "updated": state.now(),
        "value_settings": given.get("value_settings", {"event_payload_key": "value"}),
    })  # fmt: skip


def create_meter_event(state: State, given: Object) -> Object:
    """POST /v1/billing/meter_events: what is known at once is refused at once."""
    for name in ("event_name", "payload"):
        if name not in given:
            raise required(name)
    names = {m["event_name"] for m in state.all("billing.meter") if m["status"] == "active"}
    if given["event_name"] not in names:
        raise Refusal(400, f"No active meter found for event name {given['event_name']}.")
    at = int(given.get("timestamp", state.now()))
    if at < state.now() - DAYS_BACK * 86400:
        raise Refusal(
            400, "The timestamp is too far in the past.", code="timestamp_too_far_in_past"
        )
    if at > state.now() + SECONDS_AHEAD:
        raise Refusal(400, "The timestamp is in the future.", code="timestamp_in_future")
    _refuse_bad_value(given["payload"].get("value", ""))
    identifier = given.get("identifier") or state.new_id("mev")
    before = state.seen_meter_events.get(identifier)
    if before is not None and state.now() - before < IDENTIFIER_SECONDS:
        raise Refusal(400, f"An event already exists with identifier {identifier}.",
                      should_retry=False)  # fmt: skip
    state.seen_meter_events[identifier] = state.now()
    made = {
        "object": "billing.meter_event", "created": state.now(),
        "event_name": given["event_name"], "identifier": identifier, "livemode": False,
        "payload": given["payload"], "timestamp": at,
    }  # fmt: skip
    state.objects[f"meter_event:{identifier}"] = made
    return made


def _refuse_bad_value(text: str) -> None:
    try:
        exponent = Decimal(text).as_tuple().exponent
    except InvalidOperation:
        raise Refusal(400, "The value is not numeric.", code="meter_event_invalid_value") from None
    if not isinstance(exponent, int) or exponent < -12:
        raise Refusal(400, "The value has too many digits.",
                      code="meter_event_value_too_many_digits")  # fmt: skip


def create_adjustment(state: State, given: Object) -> Object:
    """POST /v1/billing/meter_event_adjustments: cancels within 24 hours."""
    identifier = given.get("cancel", {}).get("identifier", "")
    seen = state.seen_meter_events.get(identifier)
    if seen is None or state.now() - seen > IDENTIFIER_SECONDS:
        raise Refusal(400, f"No event to cancel with identifier {identifier}.")
    state.objects.pop(f"meter_event:{identifier}", None)
    return {
        "object": "billing.meter_event_adjustment", "cancel": {"identifier": identifier},
        "event_name": given["event_name"], "livemode": False, "status": "pending",
        "type": "cancel",
    }  # fmt: skip


def create_grant(state: State, given: Object) -> Object:
    """POST /v1/billing/credit_grants."""
    state.get(given.get("customer", ""), "customer", "customer")
    monetary = given["amount"]["monetary"]
    return state.add({
        "id": state.new_id("credgr"), "object": "billing.credit_grant",
        "amount": {"type": "monetary", "monetary": {
            "currency": monetary["currency"], "value": int(monetary["value"])}},
        "applicability_config": given["applicability_config"], "category": given["category"],
        "created": state.now(), "customer": given["customer"],
        "effective_at": int(given.get("effective_at", state.now())),
        "expires_at": int(given["expires_at"]) if "expires_at" in given else None,
        "livemode": False, "metadata": given.get("metadata", {}), "name": given.get("name"),
        "priority": int(given.get("priority", 50)), "test_clock": None, "updated": state.now(),
        "voided_at": None,
    })  # fmt: skip


def end_grant(state: State, pk: str, verb: str) -> Object:
    """POST /v1/billing/credit_grants/{id}/void or /expire."""
    grant = state.get(pk, "billing.credit_grant")
    grant["voided_at" if verb == "void" else "expires_at"] = state.now()
    grant["updated"] = state.now()
    return grant
