"""The whole content of limits, rules of the request path and exceptions, built from their rows."""

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import plain
from credits.models import ControlPolicy, ModelException, SpendLimit

register_kind(Kind("spend_limit", "Spend limit"))
register_kind(Kind("control_policy", "Rules of the request path"))
register_kind(
    Kind(
        "model_exception",
        "Model exception",
        about=("customer", "workspace", "model", "job"),
        consequence="From its effective date until it expires, the named work may use this premium"
        " model. Each use of the exception is counted.",
    )
)


def content_of_limit(limit: SpendLimit) -> dict[str, object]:
    """Return a version of a spend limit, its ceiling as plain text."""
    return {
        "code": limit.code,
        "number": limit.number,
        "customer": limit.customer.external_id,
        "workspace": limit.workspace.external_id if limit.workspace else None,
        "model": limit.model,
        "job": limit.job,
        "api_key": limit.api_key.public_id if limit.api_key else None,
        "window": str(limit.window),
        "mode": str(limit.mode),
        "pricing_unit": limit.pricing_unit.code,
        "credits": plain(limit.credits),
    }


def content_of_controls(policy: ControlPolicy) -> dict[str, object]:
    """Return a version of the rules of the request path, numbers as plain text."""
    return {
        "code": policy.code,
        "number": policy.number,
        "customer": policy.customer.external_id if policy.customer else None,
        "overdraft": str(policy.overdraft),
        "overdraft_credits": _plain(policy, "overdraft_credits"),
        "retry_max": policy.retry_max,
        "retry_seconds": policy.retry_seconds,
        "premium_models": policy.premium_models,
        "instead": policy.instead,
        "premium_workspaces": policy.premium_workspaces,
        "premium_jobs": policy.premium_jobs,
        "premium_ceiling": _plain(policy, "premium_ceiling"),
    }


def content_of_exception(exception: ModelException) -> dict[str, object]:
    """Return whose work may use which model."""
    return {
        "customer": exception.customer.external_id,
        "workspace": exception.workspace.external_id if exception.workspace else None,
        "model": exception.model,
        "job": exception.job,
    }


def _plain(policy: ControlPolicy, name: str) -> str | None:
    value = getattr(policy, name)
    return None if value is None else plain(value)


@content_of("spend_limit")
def _spend_limit(change: PolicyChange) -> dict[str, object]:
    rows = SpendLimit.objects.select_related("customer", "workspace", "api_key", "pricing_unit")
    return content_of_limit(rows.get(policy_change=change))


@content_of("control_policy")
def _control_policy(change: PolicyChange) -> dict[str, object]:
    rows = ControlPolicy.objects.select_related("customer")
    return content_of_controls(rows.get(policy_change=change))


@content_of("model_exception")
def _model_exception(change: PolicyChange) -> dict[str, object]:
    rows = ModelException.objects.select_related("customer", "workspace")
    return content_of_exception(rows.get(policy_change=change))
