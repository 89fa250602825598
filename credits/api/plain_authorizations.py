"""Authorizations by the short way: what is plain is answered as the view answers it, or not at all.

Whatever is not plain, or ends in an error, has no effect here, and the view says what it is.
"""

import re
from typing import Any

from django.db import transaction
from rest_framework.serializers import ValidationError

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ApiKey
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from billing_project.kernel.rest.errors import BadRequest
from billing_project.kernel.rest.fields import EXTERNAL_ID
from billing_project.kernel.rest.idempotency import Attempt, first_answer
from billing_project.kernel.rest.parsing import parse_json
from credits.api.authorizations import NAME, PropertiesField, document_of
from credits.services.authorizing import LONGEST_HOLD, authorize_locked
from credits.services.standing import Request
from metering.selectors.customers import workspace_named
from metering.services.customers import lock_customer_named

ROUTE = "v1/authorizations"
_UNIT = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)
_NAMES = ("model", "job", "request", "event_name")
_KNOWN = {
    "customer", "workspace", *_NAMES, "estimate", "credits", "unit", "ttl_seconds",
}  # fmt: skip
_properties = PropertiesField()


def authorization_answer(sent: bytes, key: ApiKey, name: str | None) -> dict[str, Any] | None:
    """Decide, and return the answer's document; None where the view has to answer.

    Args:
        sent: The body.
        key: One that this process has seen before; it may be revoked by now.
        name: The idempotency key; None: the request has none.

    Raises:
        BillingError, DatabaseError: nothing was decided.
    """
    content = _plain(sent)
    if content is None:
        return None
    at = clock.now()
    attempt = Attempt(key, name or "", f"POST /{ROUTE}", sent, at)
    with transaction.atomic():
        return first_answer(attempt, lambda: _decided(content, key, attempt))


def _decided(content: dict[str, Any], key: ApiKey, attempt: Attempt) -> dict[str, Any] | None:
    customer = lock_customer_named(content["customer"])
    if customer is None:
        return None
    place = content.get("workspace")
    request = Request(
        workspace=workspace_named(customer, place) if place else None,
        credits=parse_quantity(content["credits"]) if "credits" in content else None,
        estimate=content.get("estimate", {}),
        unit=content.get("unit", ""),
        ttl_seconds=content.get("ttl_seconds", Request.ttl_seconds),
        **{field: content.get(field, "") for field in _NAMES},
    )
    return document_of(
        authorize_locked(customer=customer, request=request, api_key=key, at=attempt.at)
    )


def _plain(sent: bytes) -> dict[str, Any] | None:
    """Read a body that the view's serializer would take as it stands; None for all others."""
    try:
        content = parse_json(sent)
        if not isinstance(content, dict) or content.keys() - _KNOWN:
            return None
        if "estimate" in content:
            _properties.to_internal_value(content["estimate"])
        else:
            parse_quantity(content.get("credits"))
    except (BadRequest, Invalid, ValidationError, NotAQuantity):
        return None
    names = [content.get(field, "") for field in _NAMES]
    place = content.get("workspace")
    places = [content.get("customer"), *([] if place is None else [place])]
    seconds = content.get("ttl_seconds", 1)
    is_plain = (
        ("estimate" in content) != ("credits" in content)
        and all(isinstance(place, str) and EXTERNAL_ID.fullmatch(place) for place in places)
        and all(isinstance(word, str) and (not word or NAME.fullmatch(word)) for word in names)
        and ("unit" not in content or _is_unit(content))
        and type(seconds) is int
        and 1 <= seconds <= LONGEST_HOLD
    )
    return content if is_plain else None


def _is_unit(content: dict[str, Any]) -> bool:
    unit = content["unit"]
    return isinstance(unit, str) and _UNIT.fullmatch(unit) is not None and "credits" in content
