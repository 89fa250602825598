"""What webhooks say, as the `webhooks` section of OpenAPI 3.1: one entry for each kind of event."""

from typing import Any

from billing_project.kernel.webhooks.announcing import webhook_kinds

_Schema = dict[str, Any]
_TEXT: _Schema = {"type": "string"}
_MAY_LACK: _Schema = {"type": ["string", "null"]}
_AT: _Schema = {"type": "string", "format": "date-time"}
_AT_OR_NONE: _Schema = {"type": ["string", "null"], "format": "date-time"}
_AMOUNT: _Schema = {"type": "string", "format": "decimal", "examples": ["79.25"]}

_INVOICE = {
    "number": _TEXT, "status": _TEXT, "customer": _TEXT, "currency": _TEXT, "total": _AMOUNT,
    "tax": _AMOUNT, "paid": _AMOUNT, "balance_applied": _AMOUNT, "open": _AMOUNT,
    "finalized_at": _AT, "due_on": {"type": ["string", "null"], "format": "date"},
}  # fmt: skip
_GRANT = {
    "grant": _TEXT, "customer": _TEXT, "category": _TEXT, "unit": _TEXT, "amount": _AMOUNT,
    "remaining": _AMOUNT, "effective_at": _AT, "expires_at": _AT_OR_NONE, "reason_code": _TEXT,
}  # fmt: skip
_ENDED = {**_GRANT, "credits": _AMOUNT, "ended_at": _AT}
_LAG = {
    "episode": _TEXT, "opened_at": _AT, "closed_at": _AT_OR_NONE, "worst_lag_seconds": _AMOUNT,
    "worst_at": _AT,
}  # fmt: skip
_NOTE = {
    "number": _TEXT, "invoice": _TEXT, "customer": _TEXT, "reason": _TEXT, "currency": _TEXT,
    "total": _AMOUNT, "tax": _AMOUNT, "to_balance": _AMOUNT, "to_refund": _AMOUNT,
    "out_of_band": _AMOUNT, "restored_credits": _AMOUNT, "issued_at": _AT,
}  # fmt: skip
_ALERT = {
    "alert": _TEXT, "kind": _TEXT, "title": _TEXT, "customer": _MAY_LACK, "rule": _MAY_LACK,
    "owner": _MAY_LACK, "facts": {"type": "object"}, "raised_at": _AT,
}  # fmt: skip

# The data of each kind. Fields may be added; none changes its meaning or goes away.
DATA: dict[str, dict[str, _Schema]] = {
    "alert.ended": {**_ALERT, "ended_at": _AT},
    "alert.raised": _ALERT,
    "balance.low": _ALERT,
    "credit_grant.expired": _ENDED,
    "credit_grant.granted": _GRANT,
    "credit_grant.voided": _ENDED,
    "credit_note.issued": _NOTE,
    "invoice.finalized": _INVOICE,
    "invoice.paid": _INVOICE,
    "invoice.voided": {**_INVOICE, "reason": _TEXT},
    "usage.caught_up": _LAG,
    "usage.lagging": _LAG,
    "usage.quarantined": _ALERT,
    "webhook.test": {"endpoint": _TEXT},
}
_HEADERS = {
    "webhook-id": "The same each time that an event is sent: take it once.",
    "webhook-timestamp": "When this try was sent, in seconds since 1970: refuse old ones.",
    "webhook-signature": "v1, and base64 of HMAC-SHA256(secret, id.timestamp.body), once for each"
    " secret in force, with a space between.",
}


def add_webhooks(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """Describe every kind of event (drf-spectacular's postprocessing hook)."""
    result["webhooks"] = {kind.code: _described(kind.code, kind.says) for kind in webhook_kinds()}
    return result


def body_schema(code: str) -> _Schema:
    """Return the schema of what is sent of one kind."""
    data = DATA[code]
    return {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "const": code},
            "timestamp": _AT,
            "data": {"type": "object", "required": list(data), "properties": data},
        },
    }


def _described(code: str, says: str) -> _Schema:
    return {
        "post": {
            "operationId": f"webhook_{code.replace('.', '_')}",
            "summary": says,
            "parameters": [
                {
                    "in": "header",
                    "name": name,
                    "required": True,
                    "schema": _TEXT,
                    "description": words,
                }
                for name, words in _HEADERS.items()
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": body_schema(code)}},
            },
            "responses": {
                "2XX": {"description": "Taken. Any other answer is a failure, and is tried again."},
                "410": {"description": "Gone: the endpoint is switched off."},
            },
        }
    }
