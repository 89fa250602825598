"""The whole content of limits, rules of the request path and exceptions, from rows and back.

What is read back is a row that nobody stored: a draft proposes it, an effect is simulated of it.
"""

from collections.abc import Mapping

from billing_project.kernel.approvals import content_of
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    is_text,
    text_in,
    texts_in,
    whole_or_none_in,
)
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import ApiKey, PolicyChange
from billing_project.kernel.quantity import plain
from credits.models import (
    ControlPolicy,
    LimitMode,
    LimitWindow,
    ModelException,
    OverdraftMode,
    PricingUnit,
    SpendLimit,
)
from credits.selectors.units import pricing_unit_named
from metering.models import Customer, Workspace
from metering.selectors.customers import customer_named, workspace_named

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


def limit_in(content: Content) -> SpendLimit:
    """Read a version of a spend limit.

    Raises:
        Invalid: it is none; with its field.
    """
    ceiling = decimal_or_none_in(content, "credits")
    if ceiling is None:
        raise Invalid("a limit has a ceiling", field="credits")
    customer = _customer(content)
    return SpendLimit(
        code=text_in(content, "code"),
        customer=customer,
        window=_one_of(content, "window", LimitWindow.values),
        mode=_one_of(content, "mode", LimitMode.values),
        pricing_unit=_unit(content),
        credits=ceiling,
        workspace=workspace_or_none(customer, _text_or_none(content, "workspace")),
        model=text_in(content, "model", ""),
        job=text_in(content, "job", ""),
        api_key=_api_key(content),
    )


def controls_in(content: Content) -> ControlPolicy:
    """Read a version of the rules of the request path.

    Raises:
        Invalid: it is none; with its field.
    """
    return ControlPolicy(
        customer=None if content.get("customer") is None else _customer(content),
        overdraft=_one_of(content, "overdraft", OverdraftMode.values, OverdraftMode.OFF.value),
        overdraft_credits=decimal_or_none_in(content, "overdraft_credits"),
        retry_max=whole_or_none_in(content, "retry_max"),
        retry_seconds=whole_or_none_in(content, "retry_seconds"),
        premium_models=texts_in(content, "premium_models"),
        instead=_instead(content),
        premium_workspaces=texts_in(content, "premium_workspaces"),
        premium_jobs=texts_in(content, "premium_jobs"),
        premium_ceiling=decimal_or_none_in(content, "premium_ceiling"),
    )


def exception_in(content: Content) -> ModelException:
    """Read whose work may use which model.

    Raises:
        Invalid: nobody's, or none; with its field.
    """
    customer = _customer(content)
    return ModelException(
        customer=customer,
        workspace=workspace_or_none(customer, _text_or_none(content, "workspace")),
        model=text_in(content, "model"),
        job=text_in(content, "job", ""),
    )


def workspace_or_none(customer: Customer, external_id: str) -> Workspace | None:
    """Return a customer's workspace, None where nothing is said.

    Raises:
        Invalid: the customer has none of that name.
    """
    try:
        return workspace_named(customer, external_id) if external_id else None
    except NotFound as error:
        raise Invalid(error.message, field="workspace") from error


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


def _customer(content: Content) -> Customer:
    try:
        return customer_named(text_in(content, "customer"))
    except NotFound as error:
        raise Invalid(error.message, field="customer") from error


def _unit(content: Content) -> PricingUnit:
    try:
        return pricing_unit_named(text_in(content, "pricing_unit"))
    except NotFound as error:
        raise Invalid(error.message, field="pricing_unit") from error


def _api_key(content: Content) -> ApiKey | None:
    public_id = _text_or_none(content, "api_key")
    if not public_id:
        return None
    key = ApiKey.objects.filter(public_id=public_id).first()
    if key is None:
        raise Invalid(f"no API key is abk_{public_id}", field="api_key")
    return key


def _instead(content: Content) -> Mapping[str, str]:
    pairs = content.get("instead", {})
    is_fine = isinstance(pairs, Mapping) and all(map(is_text, (*pairs, *pairs.values())))
    if not is_fine:
        raise Invalid("cheaper models are named by the model", field="instead")
    return dict(pairs)


def _one_of(content: Content, name: str, known: list[str], default: str | None = None) -> str:
    word = text_in(content, name, default)
    if word not in known:
        raise Invalid(f"{name} is one of {', '.join(known)}", field=name)
    return word


def _text_or_none(content: Content, name: str) -> str:
    return "" if content.get(name) is None else text_in(content, name)
