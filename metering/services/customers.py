"""Make and change customers, their workspaces and the other ids they send under."""

import re
from collections.abc import Collection
from datetime import datetime
from zoneinfo import available_timezones

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.locales import UnknownLocale, canonical_locale
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.sessions import wait_for
from metering.models import Customer, CustomerAlias, Workspace

_EXTERNAL_ID = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}|", re.ASCII)
_LOCK_NAMED = """
SELECT c.* FROM customer c WHERE c.id = coalesce(
    (SELECT id FROM customer WHERE external_id = %(name)s),
    (SELECT customer_id FROM customer_alias WHERE external_id = %(name)s))
FOR NO KEY UPDATE OF c
"""
_CHANGEABLE = ("name", "time_zone", "country", "email", "locale")  # The database refuses the rest.


def lock_customer(customer_id: int) -> Customer:
    """Let one writer at a time into a customer's facts; taken before any other row of theirs.

    Facts that refer to the customer can still be inserted meanwhile: the key is not locked.
    """
    return Customer.objects.select_for_update(no_key=True).get(pk=customer_id)


def lock_customer_named(external_id: str) -> Customer | None:
    """Lock the customer of an external id or alias as `lock_customer` does; None: nobody's."""
    for customer in Customer.objects.raw(_LOCK_NAMED, {"name": external_id}):
        return customer
    return None


def lock_free_customers(customer_ids: Collection[int]) -> list[int]:
    """Lock those customers, by id, whom nobody else holds; return them. See `lock_customer`."""
    customers = Customer.objects.filter(pk__in=customer_ids).order_by("pk")
    locked = customers.select_for_update(no_key=True, skip_locked=True)
    return list(locked.values_list("pk", flat=True))


@transaction.atomic
def create_customer(
    *,
    external_id: str,
    name: str,
    currency: str,
    by: User,
    at: datetime,
    time_zone: str = "UTC",
    country: str = "",
    email: str = "",
    locale: str = "",
) -> Customer:
    """Make a customer; the same content again returns the same row.

    Raises:
        Invalid: a field is out of its bounds.
        Conflict: the id names a customer with other content, or is an alias.
    """
    words = {
        "name": name, "time_zone": time_zone, "country": country, "email": email,
        "locale": locale and _locale(locale),
    }  # fmt: skip
    _check(external_id, currency, words)
    _claim_external_id(external_id)
    existing = Customer.objects.filter(external_id=external_id).first()
    if existing is not None:
        same = {field: getattr(existing, field) for field in words} == words
        if same and existing.currency == currency:
            return existing
        raise Conflict(f"customer {external_id} exists with other content")
    if CustomerAlias.objects.filter(external_id=external_id).exists():
        raise Conflict(f"{external_id} is an alias of another customer")
    customer = Customer(external_id=external_id, currency=currency, created_at=at, **words)
    customer._history_date = at  # type: ignore[attr-defined]
    customer.save()
    audit.record(by=by, at=at, action="create_customer", subject=customer)
    return customer


@transaction.atomic
def update_customer(
    *, customer: Customer, by: User, at: datetime, reason: str, **changes: str
) -> Customer:
    """Change what may change of a customer; the history keeps the old values and the reason.

    Args:
        changes: name, time_zone, country, email, locale. Periods that were made keep their bounds.

    Raises:
        Invalid: another field, a value out of its bounds, or no reason.
    """
    if not reason.strip():
        raise Invalid("a change needs its reason")
    if unknown := sorted(set(changes) - set(_CHANGEABLE)):
        raise Invalid(f"{', '.join(unknown)} of a customer cannot change")
    if changes.get("locale"):
        changes["locale"] = _locale(changes["locale"])
    locked = lock_customer(customer.pk)
    old = {field: getattr(locked, field) for field in changes}
    if old == changes:
        return locked
    for field, value in changes.items():
        setattr(locked, field, value)
    words = {field: getattr(locked, field) for field in _CHANGEABLE}
    _check(locked.external_id, locked.currency, words)
    locked._change_reason = reason[:100]  # type: ignore[attr-defined]
    locked._history_date = at  # type: ignore[attr-defined]
    locked.save(update_fields=sorted(changes))
    audit.record(
        by=by, at=at, action="update_customer", subject=locked, reason=reason,
        fields=sorted(changes),
    )  # fmt: skip
    return locked


@transaction.atomic
def close_customer(*, customer: Customer, by: User, at: datetime, reason: str) -> Customer:
    """Give and sell a customer no more credits; usage is still counted and billed.

    What was promised before still comes: the credits of a pack whose invoice is paid later, and
    those of a period that began before. Periods that begin while the customer is closed have no
    fee and no included credits. Closing again changes nothing.

    Raises:
        Invalid: no reason.
    """
    return _set_closed(customer, at, "close_customer", by, at, reason)


@transaction.atomic
def reopen_customer(*, customer: Customer, by: User, at: datetime, reason: str) -> Customer:
    """Undo a closing; again changes nothing.

    Raises:
        Invalid: no reason.
    """
    return _set_closed(customer, None, "reopen_customer", by, at, reason)


def _set_closed(
    customer: Customer,
    closed_at: datetime | None,
    action: str,
    by: User,
    at: datetime,
    reason: str,
) -> Customer:
    if not reason.strip():
        raise Invalid("closing a customer, or undoing it, needs its reason", field="reason")
    locked = lock_customer(customer.pk)
    if (locked.closed_at is None) == (closed_at is None):
        return locked
    locked.closed_at = closed_at
    locked._change_reason = reason[:100]  # type: ignore[attr-defined]
    locked._history_date = at  # type: ignore[attr-defined]
    locked.save(update_fields=["closed_at"])
    audit.record(by=by, at=at, action=action, subject=locked, reason=reason)
    return locked


def refuse_closed(customer: Customer) -> None:
    """Refuse to sell or give credits to a customer who is closed; call with the customer locked.

    Raises:
        Conflict: the customer is closed.
    """
    if customer.closed_at is not None:
        raise Conflict(
            f"{customer} is closed: no credits are given or sold any more",
            code="customer_closed",
            field="customer",
        )


@transaction.atomic
def create_workspace(
    *, customer: Customer, external_id: str, name: str, by: User, at: datetime
) -> Workspace:
    """Make a workspace, or name one that an event's first use made under its id.

    Raises:
        Invalid: the id or the name is out of bounds.
        Conflict: the workspace exists under another name.
    """
    _check_external_id(external_id)
    _check_text("name", name, 200)
    lock_customer(customer.pk)
    workspace, is_made = Workspace.objects.get_or_create(
        customer=customer, external_id=external_id, defaults={"name": name, "created_at": at}
    )
    if workspace.name not in {name, external_id}:
        raise Conflict(f"workspace {external_id} of {customer} exists under another name")
    if is_made or workspace.name != name:
        workspace.name = name
        workspace.save(update_fields=["name"])
        audit.record(by=by, at=at, action="create_workspace", subject=workspace)
    return workspace


@transaction.atomic
def add_alias(
    *, external_id: str, customer: Customer, reason: str, by: User, at: datetime
) -> CustomerAlias:
    """Let a further id name a customer from now on; nothing can take it back.

    Raises:
        Conflict: the id is a customer's own, or another one's alias.
    """
    _check_external_id(external_id)
    if not reason.strip():
        raise Invalid("an alias needs its reason")
    _claim_external_id(external_id)
    existing = CustomerAlias.objects.filter(external_id=external_id).first()
    if existing is not None and existing.customer_id == customer.pk:
        return existing
    if existing is not None or Customer.objects.filter(external_id=external_id).exists():
        raise Conflict(f"{external_id} names a customer already")
    alias = CustomerAlias.objects.create(
        external_id=external_id, customer=customer, reason=reason, created_by=by, created_at=at
    )
    audit.record(
        by=by, at=at, action="add_alias", subject=customer, reason=reason, alias=external_id
    )
    return alias


def _claim_external_id(external_id: str) -> None:
    """Let one maker of this id in at a time; customers and aliases share one space of ids."""
    wait_for(f"customer_external_id:{external_id}")


def _check(external_id: str, currency: str, words: dict[str, str]) -> None:
    _check_external_id(external_id)
    _check_text("name", words["name"], 200)
    if not is_currency(currency):
        raise Invalid(f"{currency} is not an ISO 4217 currency")
    if words["time_zone"] not in available_timezones():
        raise Invalid(f"{words['time_zone']} is not an IANA time zone")
    if not _COUNTRY.fullmatch(words["country"]):
        raise Invalid("country is an ISO 3166 code of two capitals, or empty")
    if words["email"]:
        _check_text("email", words["email"], 254)


def _locale(tag: str) -> str:
    try:
        return canonical_locale(tag)
    except UnknownLocale as error:
        raise Invalid(str(error), field="locale") from error


def _check_external_id(external_id: str) -> None:
    if not _EXTERNAL_ID.fullmatch(external_id):
        raise Invalid("external_id is 1 to 128 of A-Z a-z 0-9 . _ : / @ + -")


def _check_text(field: str, text: str, limit: int) -> None:
    if not text.strip() or len(text) > limit or "\x00" in text:
        raise Invalid(f"{field} has 1 to {limit} characters")
