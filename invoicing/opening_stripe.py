"""Read what Stripe has of its customers: objects as its API answers them, one JSON value a line.

A line is an object (customer, price, subscription, billing.credit_grant,
billing.credit_balance_transaction, billing.credit_balance_summary, invoice) or a list of them as
the API pages it. Pure. What is left of a grant is its amount less what its transactions took;
money is the unit, so that a pricing unit of the currency holds it.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing_project.kernel.content import is_text
from billing_project.kernel.money import exponent, is_currency
from invoicing.opening import Bad, Content, Fault, Item, ItemKind, Reading, refuse_twice
from invoicing.stripe_sync.policy import from_stripe

_RUNNING = ("active", "trialing", "past_due")
_ENDED = ("canceled", "incomplete_expired", "unpaid", "incomplete", "paused")
_UNTIL = "billing.credit_balance_transaction"
_Object = Mapping[str, Any]


@dataclass
class _Found:
    """Objects by what they are, with the line that each stands on."""

    by_type: dict[str, list[tuple[int, _Object]]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, str] = field(default_factory=dict)  # Stripe's id of a customer, and ours.
    currencies: dict[str, str] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # Of each grant.


def read_stripe(text: str, plans: Mapping[str, str]) -> Reading:
    """Read a Stripe export.

    Args:
        plans: Which plan of ours a price of theirs is ("price_1": "starter"); "-": none.
    """
    reading, found = Reading(), _Found()
    for line, thing in _objects(text, reading):
        found.by_type[str(thing.get("object"))].append((line, thing))
    _name_customers(found)
    _sum_up_taken(found, reading)
    readers = {
        "customer": _customer,
        "billing.credit_grant": _grant,
        "billing.credit_balance_summary": _summary,
        "invoice": _invoice,
    }
    for kind, read in readers.items():
        for line, thing in found.by_type[kind]:
            _take(reading, line, lambda: read(found, line, thing))  # noqa: B023 - called at once
    for line, thing in found.by_type["subscription"]:
        _take(reading, line, lambda: _subscription(found, line, thing, plans))  # noqa: B023
    known = {*readers, "subscription", "price", _UNTIL}
    for kind, things in found.by_type.items():
        if kind not in known:
            allowed = f"one of {', '.join(sorted(known))}"
            reading.faults += [Fault(line, "object", kind, allowed) for line, _ in things]
    refuse_twice(reading)
    reading.faults.sort(key=lambda fault: fault.line)
    return reading


def _objects(text: str, reading: Reading) -> Iterator[tuple[int, _Object]]:
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            said = json.loads(written, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            reading.faults.append(Fault(line, "", written[:40], f"one JSON value: {error}"))
            continue
        pages = said if isinstance(said, list) else [said]
        for page in pages:
            things = page.get("data") if _is_list(page) else [page]
            for thing in things if isinstance(things, list) else [things]:
                if isinstance(thing, dict):
                    yield line, thing
                else:
                    reading.faults.append(Fault(line, "", str(thing)[:40], "an object of Stripe's"))


def _is_list(page: Any) -> bool:
    return isinstance(page, dict) and page.get("object") == "list"


def _take(reading: Reading, line: int, read: Callable[[], list[Item]]) -> None:
    try:
        items = read()
        for item in items:
            said = [item.source_id, item.customer, *item.content.values()]
            if bad := [one for one in said if isinstance(one, str) and not is_text(one)]:
                raise Bad("", ascii(bad[0]), "text without NUL and without half characters")
    except Bad as bad_part:
        reading.faults.append(bad_part.at(line))
    else:
        reading.items += items


def _name_customers(found: _Found) -> None:
    """Call a customer what the sending apps call them, else as Stripe does."""
    grants = found.by_type["billing.credit_grant"]
    paid_in = {_id(one, "customer"): _money(one).get("currency") for _, one in grants}
    for _, one in found.by_type["customer"]:
        pk = str(one.get("id"))
        found.names[pk] = str(_part(one, "metadata").get("external_id") or pk)
        found.currencies[pk] = str(one.get("currency") or paid_in.get(pk) or "").upper()


def _customer(found: _Found, line: int, one: _Object) -> list[Item]:
    pk = _text(one, "id")
    currency = _currency(found.currencies[pk], "currency")
    content: Content = {
        "name": str(one.get("name") or one.get("email") or pk)[:200],
        "currency": currency,
        "country": str(_part(one, "address").get("country") or ""),
        "email": str(one.get("email") or ""),
        "time_zone": "UTC",
        "stripe_id": pk,
    }
    items = [Item(line, ItemKind.CUSTOMER, pk, found.names[pk], content)]
    if owed := _whole(one, "balance") if one.get("balance") else 0:
        said: Content = {
            "number": "", "amount_minor": -_minor(owed, currency, "balance"), "currency": currency,
        }  # fmt: skip
        items.append(Item(line, ItemKind.MONEY, pk, found.names[pk], said))
    return items


def _grant(found: _Found, line: int, one: _Object) -> list[Item]:
    pk, customer = _text(one, "id"), _owner(found, one)
    currency = _currency(_money(one).get("currency"), "amount.monetary.currency")
    left = _whole(_money(one), "value", "amount.monetary.value") - found.taken[pk]
    if left < 0:
        raise Bad(
            "amount.monetary.value", _money(one).get("value"), "what its debits take, or more"
        )
    left = _minor(left, currency, "amount.monetary.value")
    scope = _part(one, "applicability_config", "scope")
    if scope.get("prices"):
        allowed = "price_type metered; a grant for some prices is written as CSV, and scoped here"
        raise Bad("applicability_config.scope.prices", scope["prices"], allowed)
    why = "void at the source" if one.get("voided_at") else "" if left else "used up at the source"
    if why:
        said: Content = {"why": why, "what": f"grant of {pk}"}
        return [Item(line, ItemKind.LEFT, pk, customer, said)]
    category = str(one.get("category"))
    if category not in ("paid", "promotional"):
        raise Bad("category", category, "one of paid, promotional")
    begins = one.get("effective_at") or one.get("created")
    content: Content = {
        "credits": f"{Decimal(left).scaleb(-exponent(currency)):f}",
        "unit": currency,  # The pricing unit that is this currency.
        "category": category,
        "price_minor": left if category == "paid" else 0,
        "currency": currency,
        "effective_at": _instant(begins, "effective_at"),
        "expires_at": _instant(one["expires_at"], "expires_at") if one.get("expires_at") else None,
        "priority": _whole(one, "priority") if one.get("priority") is not None else 50,
        "name": str(one.get("name") or "")[:100],
    }
    return [Item(line, ItemKind.GRANT, pk, customer, content)]


def _sum_up_taken(found: _Found, reading: Reading) -> None:
    """Sum by grant what transactions took, less what came back; each once."""
    seen: dict[str, int] = {}
    for line, one in found.by_type[_UNTIL]:
        try:
            _sum_up(found, seen, line, one)
        except Bad as bad:
            reading.faults.append(bad.at(line))


def _sum_up(found: _Found, seen: dict[str, int], line: int, one: _Object) -> None:
    pk, side = _text(one, "id"), str(one.get("type"))
    if pk in seen:
        raise Bad("id", pk, f"each once; line {seen[pk]} has it")
    seen[pk] = line
    change = _part(one, side)
    money = _part(change, "amount", "monetary")
    value = _whole(money, "value", f"{side}.amount.monetary.value")
    if side == "debit":
        found.taken[_id(one, "credit_grant")] += value
    elif change.get("type") != "credits_granted":
        found.taken[_id(one, "credit_grant")] -= value


def _summary(found: _Found, line: int, one: _Object) -> list[Item]:
    customer, items = _owner(found, one), []
    for balance in _list(one, "balances"):
        money = _part(balance, "ledger_balance", "monetary")
        currency = _currency(money.get("currency"), "balances.ledger_balance.monetary.currency")
        column = "balances.ledger_balance.monetary.value"
        value = _minor(_whole(money, "value", column), currency, column)
        content: Content = {
            "credits": f"{Decimal(value).scaleb(-exponent(currency)):f}", "unit": currency,
        }  # fmt: skip
        pk = f"{_id(one, 'customer')}:{currency}"
        items.append(Item(line, ItemKind.BALANCE, pk, customer, content))
    return items


def _invoice(found: _Found, line: int, one: _Object) -> list[Item]:
    if one.get("status") != "open":
        return []
    currency = _currency(one.get("currency"), "currency")
    content: Content = {
        "number": str(one.get("number") or ""),
        "amount_minor": _minor(_whole(one, "amount_remaining"), currency, "amount_remaining"),
        "currency": currency,
    }
    return [Item(line, ItemKind.CLAIM, _text(one, "id"), _owner(found, one), content)]


def _subscription(found: _Found, line: int, one: _Object, plans: Mapping[str, str]) -> list[Item]:
    pk, customer, status = _text(one, "id"), _owner(found, one), str(one.get("status"))
    if status in _ENDED:
        said: Content = {"why": f"{status} at the source", "what": f"subscription {pk}"}
        return [Item(line, ItemKind.LEFT, pk, customer, said)]
    if status not in _RUNNING:
        raise Bad("status", status, f"one of {', '.join((*_RUNNING, *_ENDED))}")
    parts = _list(_part(one, "items"), "data")
    if not parts:
        raise Bad("items.data", parts, "at least one item")
    named = {_id(part, "price"): part for part in parts}
    sold = {plans.get(price, _plan_in(part)) for price, part in named.items()} - {"-"}
    if not sold:
        said = {"why": "of no plan here, as asked", "what": f"subscription {pk}"}
        return [Item(line, ItemKind.LEFT, pk, customer, said)]
    if len(sold) > 1 or "" in sold:
        raise Bad("items.data.price", ", ".join(named), "prices of one plan: name it by"
                  " --plan PRICE=CODE, or leave a price behind by --plan PRICE=-")  # fmt: skip
    counted = (_quantity(part) for price, part in named.items() if plans.get(price) != "-")
    ends = one.get("current_period_end") or parts[0].get("current_period_end")
    start_at = _instant(ends, "current_period_end")
    if _ends_by(one, ends):
        said = {"why": "ends with its period at the source", "what": f"subscription {pk}"}
        return [Item(line, ItemKind.LEFT, pk, customer, said)]
    content: Content = {
        "plan": sold.pop(), "start_at": start_at, "seats": 0, "quantity": max(counted),
    }  # fmt: skip
    return [Item(line, ItemKind.SUBSCRIPTION, pk, customer, content)]


def _ends_by(one: _Object, ends: Any) -> bool:
    """Tell whether a subscription ends with its paid period; refuse what is not taken over of it.

    Raises:
        Bad: it ends later, is paused, or has a discount: here it would be billed as if it had not.
    """
    if one.get("cancel_at_period_end"):
        return True
    if (until := one.get("cancel_at")) is not None:
        if _whole(one, "cancel_at") <= ends:
            return True
        raise Bad("cancel_at", until, f"none, or at most {ends}: write it as CSV and end it here")
    for name in ("pause_collection", "discount", "discounts"):
        if one.get(name):
            raise Bad(name, one[name], "none: write it as CSV, and agree here on what it pays")
    return False


def _quantity(part: _Object) -> int:
    """Return how many of a price are sold: seats, where the plan here sells them."""
    return 1 if part.get("quantity") is None else _whole(part, "quantity", "items.data.quantity")


def _plan_in(part: _Object) -> str:
    return str(_part(part, "price", "metadata").get("plan") or "")


def _owner(found: _Found, one: _Object) -> str:
    pk = _id(one, "customer")
    if pk not in found.names:
        raise Bad("customer", pk, "a customer who is in the file")
    return found.names[pk]


def _id(one: _Object, name: str) -> str:
    """Return an id, also of an object that was expanded."""
    value = one.get(name)
    return str(value.get("id")) if isinstance(value, dict) else str(value or "")


def _money(one: _Object) -> _Object:
    return _part(one, "amount", "monetary")


def _part(one: Any, *names: str) -> _Object:
    """Return a part of an object by its path; empty where there is none."""
    for name in names:
        one = one.get(name) if isinstance(one, dict) else None
    return one if isinstance(one, dict) else {}


def _list(one: _Object, name: str) -> list[_Object]:
    """Return the objects of a list."""
    things = one.get(name)
    return (
        [thing for thing in things if isinstance(thing, dict)] if isinstance(things, list) else []
    )


def _text(one: _Object, name: str) -> str:
    value = one.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 100:
        raise Bad(name, value, "a text of 1 to 100 characters")
    return value


def _whole(one: _Object, name: str, column: str = "") -> int:
    value = one.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 10**15:
        raise Bad(column or name, value, "a whole number")
    return value


def _minor(amount: int, currency: str, column: str) -> int:
    """Return an amount of Stripe's in minor units: some currencies it counts in hundredths."""
    minor = from_stripe(amount, currency)
    if amount not in (minor, minor * 100):
        raise Bad(column, amount, f"an amount of whole {currency}")
    return minor


def _currency(value: object, column: str) -> str:
    code = str(value or "").upper()
    if not is_currency(code):
        raise Bad(column, value, "an ISO 4217 code such as usd")
    return code


def _instant(value: object, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**11:
        raise Bad(column, value, "seconds since 1970")
    return datetime.fromtimestamp(value, UTC).isoformat()
