"""The ground's tables: who acts, by which key, what was decided, what was done."""

from billing_project.kernel.models.access import SCOPES, ApiKey, User
from billing_project.kernel.models.policy import PolicyChange, PolicyStatus, in_force
from billing_project.kernel.models.record import AuditEntry, IdempotencyRecord, OutboxMessage

__all__ = [
    "SCOPES",
    "ApiKey",
    "AuditEntry",
    "IdempotencyRecord",
    "OutboxMessage",
    "PolicyChange",
    "PolicyStatus",
    "User",
    "in_force",
]
