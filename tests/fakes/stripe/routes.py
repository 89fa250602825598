"""Which call does what: the API itself, and the control of what Stripe would decide."""

import re
from collections.abc import Callable
from typing import Any

from tests.fakes.stripe import billing, payments
from tests.fakes.stripe.replies import Refusal, missing
from tests.fakes.stripe.state import Object, State

_LISTS = {
    "customers": "customer", "payment_methods": "payment_method", "charges": "charge",
    "payment_intents": "payment_intent", "setup_intents": "setup_intent", "refunds": "refund",
    "disputes": "dispute", "balance_transactions": "balance_transaction", "payouts": "payout",
    "events": "event", "checkout/sessions": "checkout.session", "billing/meters": "billing.meter",
    "billing/credit_grants": "billing.credit_grant", "invoices": "invoice",
    "credit_notes": "credit_note",
}  # fmt: skip
_FILTERS = (
    "customer",
    "payment_intent",
    "charge",
    "status",
    "type",
    "source",
    "event_name",
    "invoice",
)
_SEARCH = re.compile(r"metadata\['([^']+)'\]:'([^']*)'")
Posting = Callable[[State, Object, list[str], str], Object]

# Each pattern's groups are the ids in the path.
_POSTS: dict[str, Posting] = {
    r"customers": lambda state, given, ids, base: payments.create_customer(state, given),
    r"customers/(\w+)": lambda state, given, ids, base: payments.update_customer(
        state, ids[0], given
    ),
    r"checkout/sessions": lambda state, given, ids, base: payments.create_session(
        state, given, base
    ),
    r"payment_intents": lambda state, given, ids, base: payments.create_intent(state, given),
    r"payment_intents/(\w+)/confirm": lambda state, given, ids, base: payments.confirm_intent(
        state, ids[0], given
    ),
    r"payment_intents/(\w+)/cancel": lambda state, given, ids, base: payments.cancel_intent(
        state, ids[0]
    ),
    r"refunds": lambda state, given, ids, base: payments.create_refund(state, given),
    r"billing/meters": lambda state, given, ids, base: billing.create_meter(state, given),
    r"billing/meter_events": lambda state, given, ids, base: billing.create_meter_event(
        state, given
    ),
    r"billing/meter_event_adjustments": lambda state, given, ids, base: billing.create_adjustment(
        state, given
    ),
    r"billing/credit_grants": lambda state, given, ids, base: billing.create_grant(state, given),
    r"invoices": lambda state, given, ids, base: billing.create_invoice(state, given),
    r"invoices/(\w+)/add_lines": lambda state, given, ids, base: billing.add_lines(
        state, ids[0], given
    ),
    r"invoices/(\w+)/(finalize|pay|void|mark_uncollectible)": lambda state, given, ids, base: (
        billing.end_invoice(state, ids[0], ids[1], given)
    ),
    r"credit_notes": lambda state, given, ids, base: billing.create_credit_note(state, given),
    r"credit_notes/(\w+)/void": lambda state, given, ids, base: billing.void_credit_note(
        state, ids[0]
    ),
    r"billing/credit_grants/(\w+)/(void|expire)": lambda state, given, ids, base: billing.end_grant(
        state, ids[0], ids[1]
    ),
}


def post(state: State, path: str, given: Object, base: str) -> Object:
    """Do what a POST under /v1/ asks for."""
    for pattern, act in _POSTS.items():
        if match := re.fullmatch(pattern, path):
            return act(state, given, list(match.groups()), base)
    raise Refusal(404, f"Unrecognized request URL (POST: /v1/{path}).")


def get(state: State, path: str, query: Object) -> Object:
    """Read a list, one object, or a search by metadata."""
    if path in _LISTS:
        return _page(state, path, query, _matching(state, path, query))
    head, _, last = path.rpartition("/")
    if match := re.fullmatch(r"billing/meters/(\w+)/event_summaries", path):
        return _page(state, path, query, billing.summaries(state, match.group(1), query))
    if last == "search" and head in _LISTS:
        match = _SEARCH.search(query.get("query", ""))
        wanted = match.groups() if match else ("", "")
        found = [o for o in state.all(_LISTS[head]) if o["metadata"].get(wanted[0]) == wanted[1]]
        return {"object": "search_result", "data": found, "has_more": False, "next_page": None,
                "url": f"/v1/{path}"}  # fmt: skip
    if head in _LISTS:
        return state.get(last, _LISTS[head])
    raise Refusal(404, f"Unrecognized request URL (GET: /v1/{path}).")


def _matching(state: State, path: str, query: Object) -> list[Object]:
    created = query.get("created", {})
    since = int(created.get("gte", 0)) if isinstance(created, dict) else 0
    until = int(created.get("lt", 2**40)) if isinstance(created, dict) else 2**40
    return [
        found
        for found in state.all(_LISTS[path])
        if since <= found["created"] < until
        and all(found.get(name) == query[name] for name in _FILTERS if name in query)
        and state.paid_out.get(found["id"]) == query.get("payout", state.paid_out.get(found["id"]))
    ]


def _page(state: State, path: str, query: Object, found: list[Object]) -> Object:
    limit = int(query.get("limit", 10))
    if not 1 <= limit <= 100:
        raise Refusal(400, "limit is 1 to 100.", param="limit")
    if after := query.get("starting_after"):
        at = next((i for i, one in enumerate(found) if one["id"] == after), None)
        if at is None:
            raise missing(_LISTS[path], after, "starting_after")
        found = found[at + 1 :]
    return {
        "object": "list", "data": found[:limit], "has_more": len(found) > limit,
        "url": f"/v1/{path}",
    }  # fmt: skip


def control(state: State, verb: str, given: dict[str, Any]) -> dict[str, Any]:
    """Let happen what Stripe, a bank or time decides: POST /_fake/{verb} with JSON."""
    acts: dict[str, Callable[[], Any]] = {
        "faults": lambda: state.faults.ask(given),
        "decline": lambda: state.declines.update({given["payment_method"]: given["codes"]}),
        "capture_part": lambda: setattr(state, "captured_percent", given["percent"]),
        "complete_session": lambda: payments.complete_session(
            state, given["session"], given.get("card", "4242424242424242")
        ),
        "settle": lambda: payments.settle_intent(
            state, state.get(given["payment_intent"], "payment_intent"), given.get("decline")
        ),
        "fail_refund": lambda: payments.fail_refund(state, given["refund"], given["reason"]),
        "open_dispute": lambda: payments.open_dispute(
            state, given["charge"], given.get("amount"), given.get("reason", "fraudulent")
        ),
        "close_dispute": lambda: payments.close_dispute(state, given["dispute"], given["status"]),
        "change": lambda: state.objects[given["id"]].update(given),
        "move": lambda: payments.move(state, given),
        "settle_in": lambda: state.settled_in.update(
            {given["currency"]: (given["settled_in"], given["percent"])}
        ),
        "pay_out": lambda: payments.pay_out(state),
        "move_clock": lambda: setattr(state, "shift", state.shift + given["seconds"]),
        "find": lambda: [
            one
            for one in state.all(given["object"])
            if all(one.get(name) == value for name, value in given.items())
        ],
        "counts": lambda: dict(state.counts),
    }
    if verb not in acts:
        raise Refusal(404, f"nothing is called {verb}")
    return {"result": acts[verb]()}
