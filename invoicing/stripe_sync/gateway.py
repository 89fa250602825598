"""The only door to Stripe: plain words in, plain objects out, and failures as they are meant.

Nothing here retries: whether a call may be sent again is decided where its row is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias

import stripe
from django.conf import settings

from billing_project.kernel.errors import BillingError
from invoicing.models import CallKind

Json: TypeAlias = dict[str, Any]
_PAGE = 100
_STEPS = {timedelta(hours=1): "hour", timedelta(days=1): "day"}
_KNOWN_ALREADY = "already exists with identifier"  # The event was delivered before.
_EXPAND = {
    "payment_intents": ["latest_charge.balance_transaction"],
    "checkout/sessions": ["setup_intent"],
    "disputes": [],
    "refunds": [],
}

# Where what a call made is listed, and by whose id.
_LISTED_BY = {
    CallKind.REFUND: ("refunds", "payment_intent"),
    CallKind.GRANT: ("billing/credit_grants", "customer"),
    CallKind.NOTE: ("credit_notes", "invoice"),
}
# What each end is called by the SDK.
_VERBS = {
    ("billing/credit_grants", "void"): "void_grant",
    ("billing/credit_grants", "expire"): "expire",
    ("invoices", "finalize"): "finalize_invoice",
    ("invoices", "pay"): "pay",
    ("invoices", "void"): "void_invoice",
    ("invoices", "uncollectible"): "mark_uncollectible",
    ("credit_notes", "void"): "void_credit_note",
}


class Outcome(StrEnum):
    """What a call came to."""

    DONE = "done"
    REFUSED = "refused"  # It was not done and cannot be, in these words.
    AGAIN = "again"  # It may have been done: the same key and words find out, later.
    CHECK = "check"  # It was refused, as what was done before is: look which it is.
    LOOK_UP = "look_up"  # The key will not say more: look for what came of it.


@dataclass(frozen=True)
class Answer:
    """What Stripe said, or did not say."""

    outcome: Outcome
    object: Json = field(default_factory=dict)
    code: str = ""
    message: str = ""


class Unreachable(BillingError):
    """Stripe did not answer; ask again later."""

    code = "stripe_unreachable"
    status_code = 503


class NotThere(BillingError):
    """Stripe answers, and does not know what it was asked about."""

    code = "not_at_stripe"
    status_code = 404


def is_on() -> bool:
    """Tell whether a key to Stripe is configured."""
    return bool(settings.STRIPE_API_KEY)


def is_live() -> bool | None:
    """Tell whether our key moves real money; None where it does not say."""
    mode = settings.STRIPE_API_KEY.split("_")[1:2]
    return {"live": True, "test": False}.get(mode[0]) if mode else None


def post(kind: str, params: Json, key: str) -> Answer:
    """Ask Stripe to do something, under an idempotency key.

    A declined card is DONE: the intent that it leaves behind says so.
    """
    try:
        made = _ask(kind, params, {"idempotency_key": key})
    except stripe.CardError as error:
        return _declined(error)
    except stripe.IdempotencyError as error:
        return _failed(Outcome.LOOK_UP, error)
    except stripe.InvalidRequestError as error:
        return _refused(kind, params, error)
    except stripe.APIConnectionError as error:
        return _failed(Outcome.AGAIN, error)
    except stripe.StripeError as error:
        return _failed(Outcome.LOOK_UP if _is_replayed(error) else Outcome.AGAIN, error)
    return Answer(Outcome.DONE, _named(kind, params, made.to_dict()))


def _ask(kind: str, params: Json, options: Any) -> Any:
    if kind == CallKind.COPY_LINES:
        words: Any = dict(params)
        return _client().v1.invoices.add_lines(words.pop("invoice"), words, options)
    if kind == CallKind.END:
        end = getattr(_list(params["name"]), _VERBS[params["name"], params["verb"]])
        return end(params["id"], params["words"], options)
    return _service(kind).create(params, options)


def _named(kind: str, params: Json, made: Json) -> Json:
    """Give an event of a meter, which has no id at Stripe, the identifier that we gave it."""
    return {**made, "id": params["identifier"]} if kind == CallKind.USAGE else made


def _refused(kind: str, params: Json, error: stripe.InvalidRequestError) -> Answer:
    """Tell a refusal from what was done before: an event that is there, a name that is taken."""
    message = str(error.user_message or "")
    if kind == CallKind.USAGE and _KNOWN_ALREADY in message:
        return Answer(Outcome.DONE, _named(kind, params, {}))
    if kind == CallKind.END:
        return _failed(Outcome.CHECK, error)
    if kind == CallKind.METER and "already an active meter" in message:
        return _failed(Outcome.LOOK_UP, error)
    return _failed(Outcome.REFUSED, error)


def find_made(kind: str, params: Json, key: str, since: datetime) -> Json | None:
    """Look for what a call made, by the key in its metadata and by its own words.

    Raises:
        Unreachable: Stripe does not answer.
    """
    with _asking():
        for found in _candidates(kind, params, key, int(since.timestamp())):
            if kind == CallKind.END:
                return found if _has_ended(found, params["verb"], since) else None
            if _is_made_by(kind, found, params, key):
                return found
    return None


def _is_made_by(kind: str, found: Json, params: Json, key: str) -> bool:
    if kind == CallKind.METER:
        return bool(found["event_name"] == params["event_name"])
    if kind == CallKind.COPY_LINES:
        lines = found.get("lines", {}).get("data", [])
        return any(line.get("metadata", {}).get("billing_call") == key for line in lines)
    return found.get("metadata", {}).get("billing_call") == key and _is_as_asked(found, params)


def _has_ended(found: Json, verb: str, since: datetime) -> bool:
    """Tell whether what a call should end has ended: by the call, or of age before it."""
    if found["object"] == "billing.credit_grant":
        at = found["voided_at"] if verb == "void" else found["expires_at"]
        return at is not None and bool(at <= max(found["updated"], since.timestamp()))
    wanted = {"pay": "paid"}.get(verb, verb)
    if verb == "finalize":
        return bool(found["status"] != "draft")
    return bool(found["status"] == wanted)


def usage_by(
    step: timedelta, meter: str, customer: str, since: datetime, until: datetime
) -> dict[datetime, str]:
    """Return what Stripe counts of a meter for a customer, by hour or UTC day, as it says it.

    Args:
        step: An hour or a day.
        since, until: Full hours or midnights, UTC.

    Raises:
        Unreachable: Stripe does not answer.
    """
    words: Any = {
        "customer": customer, "start_time": int(since.timestamp()), "limit": _PAGE,
        "end_time": int(until.timestamp()), "value_grouping_window": _STEPS[step],
    }  # fmt: skip
    with _asking():
        pages = _client().v1.billing.meters.event_summaries.list(meter, words)
        return {
            datetime.fromtimestamp(one.start_time, UTC): str(one.aggregated_value)
            for one in pages.auto_paging_iter()
        }


def of_customer(name: str, customer: str) -> Iterator[Json]:
    """Yield all objects of a customer ("billing/credit_grants").

    Raises:
        Unreachable: Stripe does not answer.
    """
    with _asking():
        yield from _pages(name, {"customer": customer, "limit": _PAGE})


def moves_of(payout: str) -> Iterator[Json]:
    """Yield the movements of the balance that a payout was made of.

    Raises:
        Unreachable: Stripe does not answer.
    """
    with _asking():
        for move in _pages("balance_transactions", {"payout": payout, "limit": _PAGE}):
            if move["type"] != "payout":
                yield move


def fetch(name: str, stripe_id: str) -> Json:
    """Return an object as it is now ("payment_intents", "pi_1").

    Raises:
        NotThere: there is none of this name.
        Unreachable: Stripe does not answer.
    """
    with _asking():
        try:
            found = _list(name).retrieve(stripe_id, {"expand": _EXPAND.get(name, [])})
        except stripe.InvalidRequestError as error:
            if error.http_status != 404:
                raise
            raise NotThere(str(error.user_message or f"no {stripe_id}")) from error
    told: Json = found.to_dict()
    return told


def list_all(name: str, since: datetime, until: datetime) -> Iterator[Json]:
    """Yield all objects that were made within [since, until), the newest first.

    Raises:
        Unreachable: Stripe does not answer.
    """
    created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
    with _asking():
        yield from _pages(name, {"created": created, "limit": _PAGE})


def _candidates(kind: str, params: Json, key: str, since: int) -> Iterator[Json]:
    """Read what could have been made: from before the call's first try on."""
    created = {"gte": since - 3600}
    if kind == CallKind.PAYMENT:
        words = {"customer": params["customer"], "created": created, "limit": _PAGE}
        expand = [f"data.{path}" for path in _EXPAND["payment_intents"]]
        yield from _pages("payment_intents", {**words, "expand": expand})
    elif kind in _LISTED_BY:
        name, of = _LISTED_BY[CallKind(kind)]
        yield from _pages(name, {of: params[of], "limit": _PAGE})
    elif kind == CallKind.CUSTOMER:
        query = f"metadata['billing_call']:'{key}'"
        for found in _client().v1.customers.search({"query": query}).auto_paging_iter():
            yield found.to_dict()
    elif kind == CallKind.METER:
        yield from _pages("billing/meters", {"status": "active", "limit": _PAGE})
    elif kind == CallKind.COPY:
        words = {"customer": params["customer"], "created": created, "limit": _PAGE}
        yield from _pages("invoices", words)
    elif kind == CallKind.END:
        yield _list(params["name"]).retrieve(params["id"]).to_dict()
    elif kind == CallKind.COPY_LINES:
        yield _client().v1.invoices.retrieve(params["invoice"]).to_dict()


def _is_as_asked(found: Json, params: Json) -> bool:
    """Tell whether an object is of this call: a restored database may use a key's name again."""
    names = ("amount", "currency", "customer", "payment_intent")
    told = {name: params[name] for name in names if isinstance(params.get(name), int | str)}
    return all(found.get(name) == value for name, value in told.items())


def _pages(name: str, params: Json) -> Iterator[Json]:
    for found in _list(name).list(params).auto_paging_iter():
        yield found.to_dict()


def _service(kind: str) -> Any:
    v1 = _client().v1
    return {
        CallKind.CUSTOMER: v1.customers,
        CallKind.SETUP: v1.checkout.sessions,
        CallKind.PAYMENT: v1.payment_intents,
        CallKind.REFUND: v1.refunds,
        CallKind.METER: v1.billing.meters,
        CallKind.USAGE: v1.billing.meter_events,
        CallKind.GRANT: v1.billing.credit_grants,
        CallKind.COPY: v1.invoices,
        CallKind.NOTE: v1.credit_notes,
    }[CallKind(kind)]


def _list(name: str) -> Any:
    v1 = _client().v1
    group, _, rest = name.partition("/")
    return getattr(getattr(v1, group), rest) if rest else getattr(v1, group)


def _client() -> stripe.StripeClient:
    return _made(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE, settings.STRIPE_TIMEOUT_SECONDS)


@cache
def _made(key: str, base: str, seconds: int) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else None,
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=seconds),
    )


class _asking:  # noqa: N801 - read as a word: with _asking()
    """Turn every failure to answer a question into Unreachable."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, stripe.StripeError):
            raise Unreachable(str(error)) from error


def _declined(error: stripe.CardError) -> Answer:
    body: Any = error.json_body
    intent = (body or {}).get("error", {}).get("payment_intent")
    if not isinstance(intent, dict):
        return _failed(Outcome.REFUSED, error)
    return Answer(Outcome.DONE, intent, error.code or "", str(error.user_message or ""))


def _failed(outcome: Outcome, error: stripe.StripeError) -> Answer:
    return Answer(outcome, {}, error.code or type(error).__name__, str(error.user_message or ""))


def _is_replayed(error: stripe.StripeError) -> bool:
    headers = error.headers or {}
    return headers.get("Idempotent-Replayed") == "true"
