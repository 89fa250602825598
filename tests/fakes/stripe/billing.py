"""Meters, their events and credit grants: what the mirror writes to."""

from decimal import Decimal, InvalidOperation

from tests.fakes.stripe.replies import Refusal, required
from tests.fakes.stripe.state import Object, State

DAYS_BACK, SECONDS_AHEAD = 35, 300
IDENTIFIER_SECONDS = 24 * 3600  # Duplicates are known for at least so long.


def create_meter(state: State, given: Object) -> Object:
    """POST /v1/billing/meters."""
    _refuse_unknown(given, "metadata")
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
    _refuse_unknown(given, "metadata")
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


def summaries(state: State, pk: str, query: Object) -> list[Object]:
    """GET /v1/billing/meters/{id}/event_summaries: by day or hour, or all in one."""
    meter = state.get(pk, "billing.meter")
    since, until = int(query["start_time"]), int(query["end_time"])
    if since % 60 or until % 60:
        raise Refusal(400, "start_time and end_time must align with minute boundaries.")
    grouping = query.get("value_grouping_window")
    step = {"day": 86400, "hour": 3600, None: until - since}[grouping]
    if grouping and (since % step or until % step):
        raise Refusal(400, f"start_time and end_time must align with {grouping} boundaries.")
    sums: dict[int, Decimal] = {}
    for event in state.all("billing.meter_event"):
        if (
            event["event_name"] == meter["event_name"]
            and event["payload"].get("stripe_customer_id") == query["customer"]
            and since <= event["timestamp"] < until
        ):
            start = since + (event["timestamp"] - since) // step * step
            sums[start] = sums.get(start, Decimal(0)) + Decimal(event["payload"]["value"])
    return [
        {
            "id": f"mes_{pk}_{query['customer']}_{start}", "object": "billing.meter_event_summary",
            "aggregated_value": as_json_number(sums[start]), "end_time": start + step,
            "livemode": False, "meter": pk, "start_time": start,
        }
        for start in sorted(sums, reverse=True)
    ]  # fmt: skip


def as_json_number(value: Decimal) -> int | float:
    """Return a sum as JSON carries it: as a double, where it is not whole."""
    return int(value) if value == value.to_integral_value() else float(value)


def create_invoice(state: State, given: Object) -> Object:
    """POST /v1/invoices: an empty draft."""
    state.get(given.get("customer", ""), "customer", "customer")
    return state.add({
        "id": state.new_id("in"), "object": "invoice", "amount_due": 0, "amount_paid": 0,
        "amount_remaining": 0, "auto_advance": given.get("auto_advance") == "true",
        "collection_method": given.get("collection_method", "charge_automatically"),
        "created": state.now(), "currency": given["currency"], "customer": given["customer"],
        "description": given.get("description"), "due_date": None, "lines": {
            "object": "list", "data": [], "has_more": False, "url": "/v1/invoices/lines"},
        "livemode": False, "metadata": given.get("metadata", {}), "number": None,
        "status": "draft", "subtotal": 0, "total": 0,
    })  # fmt: skip


def add_lines(state: State, pk: str, given: Object) -> Object:
    """POST /v1/invoices/{id}/add_lines."""
    invoice = state.get(pk, "invoice")
    if invoice["status"] != "draft":
        raise Refusal(400, "Only draft invoices take lines.", code="invoice_not_editable")
    if len(given["lines"]) > 250:
        raise Refusal(400, "An invoice takes 250 lines at once.", param="lines")
    for line in given["lines"]:
        amount = int(line["amount"])
        invoice["lines"]["data"].append({
            "id": state.new_id("il"), "object": "line_item", "amount": amount,
            "currency": invoice["currency"], "description": line.get("description"),
            "invoice": pk, "livemode": False, "metadata": line.get("metadata", {}),
            "period": {name: int(at) for name, at in line.get("period", {}).items()},
        })  # fmt: skip
        for total in ("subtotal", "total", "amount_due", "amount_remaining"):
            invoice[total] += amount
    return invoice


def _refuse_unknown(given: Object, name: str) -> None:
    if name in given:
        raise Refusal(400, f"Received unknown parameter: {name}", code="parameter_unknown")


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


def end_invoice(state: State, pk: str, verb: str, given: Object) -> Object:
    """POST /v1/invoices/{id}/finalize, pay, void or mark_uncollectible."""
    invoice = state.get(pk, "invoice")
    before, after = _ENDS[verb]
    if invoice["status"] not in before:
        raise Refusal(400, f"This invoice is {invoice['status']}.", code="invoice_not_editable")
    if verb == "pay" and given.get("paid_out_of_band") != "true":
        raise Refusal(402, "Nobody may collect a copy.", type_="card_error", code="card_declined")
    invoice["status"] = after
    if verb == "pay":
        invoice.update(amount_paid=invoice["amount_remaining"], amount_remaining=0)
    return invoice


_ENDS = {
    "finalize": (("draft",), "open"), "pay": (("open", "uncollectible"), "paid"),
    "void": (("open", "uncollectible"), "void"), "mark_uncollectible": (("open",), "uncollectible"),
}  # fmt: skip


def create_credit_note(state: State, given: Object) -> Object:
    """POST /v1/credit_notes: less is owed, or what was paid goes back as is said."""
    invoice, amount = state.get(given["invoice"], "invoice", "invoice"), int(given["amount"])
    if invoice["status"] not in ("open", "paid"):
        raise Refusal(400, f"Credit notes need an open or paid invoice: {invoice['status']}.")
    back = int(given.get("out_of_band_amount", 0))
    if amount > back + invoice["amount_remaining"] or back > invoice["amount_paid"]:
        raise Refusal(400, "The sum of the refunds and credits is not the amount.", param="amount")
    invoice["amount_remaining"] -= amount - back
    if invoice["status"] == "open" and not invoice["amount_remaining"]:
        invoice["status"] = "paid"
    return state.add({
        "id": state.new_id("cn"), "object": "credit_note", "amount": amount,
        "created": state.now(), "currency": invoice["currency"], "customer": invoice["customer"],
        "invoice": invoice["id"], "livemode": False, "memo": given.get("memo"),
        "metadata": given.get("metadata", {}), "out_of_band_amount": back,
        "reason": given.get("reason"), "status": "issued",
    })  # fmt: skip


def void_credit_note(state: State, pk: str) -> Object:
    """POST /v1/credit_notes/{id}/void."""
    note = state.get(pk, "credit_note")
    if note["status"] != "issued":
        raise Refusal(400, "This credit note is void.")
    note["status"] = "void"
    return note
