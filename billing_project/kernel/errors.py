"""Errors that a caller may meet; api turns them into problem+json, admin into messages."""


class BillingError(Exception):
    """A rule of the house was not met; the message is for the person who asked."""

    code = "refused"
    status_code = 409

    def __init__(self, message: str, *, code: str | None = None, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field  # The input at fault, as the caller wrote it ("rates[2].unit_price").
        if code is not None:
            self.code = code


class NotAllowed(BillingError):
    """The person lacks the permission, or may not decide about their own proposal."""

    code = "not_allowed"
    status_code = 403


class NotFound(BillingError):
    """What the caller named does not exist."""

    code = "not_found"
    status_code = 404


class Invalid(BillingError):
    """A well-formed value is out of its bounds."""

    code = "invalid_value"
    status_code = 422


class Conflict(BillingError):
    """The state of things does not admit the request."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """The same key came with other inputs."""

    code = "idempotency_conflict"


class Insufficient(Conflict):
    """A credit, amount or limit does not reach."""

    code = "insufficient"


class Unbalanced(BillingError):
    """A journal entry does not sum to zero in each currency."""

    code = "unbalanced"
