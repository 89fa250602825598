"""The ground's tables: who acts, by which key, what was decided, what was done."""

from billing_project.kernel.models.access import SCOPES, ApiKey, User
from billing_project.kernel.models.evidence import PolicyEvidence
from billing_project.kernel.models.ownership import ChainStep, StepFunction, StepOwner
from billing_project.kernel.models.policy import (
    ApprovalFunction,
    PolicyApproval,
    PolicyChange,
    PolicyStatus,
    in_force,
)
from billing_project.kernel.models.record import AuditEntry, IdempotencyRecord, OutboxMessage
from billing_project.kernel.models.second_factor import RecoveryCode, SecondFactor
from billing_project.kernel.models.sign_in import (
    SignedInDevice,
    SignInAttempt,
    SignInOutcome,
    SignInStep,
)
from billing_project.kernel.models.webhook import (
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)

__all__ = [
    "SCOPES",
    "ApiKey",
    "ApprovalFunction",
    "AuditEntry",
    "ChainStep",
    "IdempotencyRecord",
    "OutboxMessage",
    "PolicyApproval",
    "PolicyChange",
    "PolicyEvidence",
    "PolicyStatus",
    "RecoveryCode",
    "SecondFactor",
    "SignInAttempt",
    "SignInOutcome",
    "SignInStep",
    "SignedInDevice",
    "StepFunction",
    "StepOwner",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookSecret",
    "in_force",
]
