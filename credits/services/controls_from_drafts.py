"""Make limits, rules of the request path and exceptions of what drafts say; see `from_drafts`."""

from collections.abc import Mapping
from datetime import datetime

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    is_text,
    text_in,
    texts_in,
    whole_or_none_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import ApiKey, User
from credits.models import LimitMode, LimitWindow, OverdraftMode, PricingUnit
from credits.selectors.units import pricing_unit_named
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)
from metering.models import Customer, Workspace
from metering.selectors.customers import customer_named, workspace_named


def workspace_or_none(customer: Customer, external_id: str) -> Workspace | None:
    """Return a customer's workspace, None where nothing is said.

    Raises:
        Invalid: the customer has none of that name.
    """
    try:
        return workspace_named(customer, external_id) if external_id else None
    except NotFound as error:
        raise Invalid(error.message, field="workspace") from error


@materialise("spend_limit")
def spend_limit_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a spend limit."""
    ceiling = decimal_or_none_in(content, "credits")
    if ceiling is None:
        raise Invalid("a limit has a ceiling", field="credits")
    customer = _customer(content)
    terms = LimitTerms(
        customer=customer,
        window=LimitWindow(_one_of(content, "window", LimitWindow.values)),
        mode=LimitMode(_one_of(content, "mode", LimitMode.values)),
        unit=_unit(content),
        credits=ceiling,
        workspace=workspace_or_none(customer, _text_or_none(content, "workspace")),
        model=text_in(content, "model", ""),
        job=text_in(content, "job", ""),
        api_key=_api_key(content),
    )
    propose_spend_limit(code=text_in(content, "code"), terms=terms, proposal=proposal, by=by, at=at)


@materialise("control_policy")
def controls_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of the rules of the request path."""
    overdraft = _one_of(content, "overdraft", OverdraftMode.values, OverdraftMode.OFF.value)
    terms = ControlTerms(
        customer=None if content.get("customer") is None else _customer(content),
        overdraft=OverdraftMode(overdraft),
        overdraft_credits=decimal_or_none_in(content, "overdraft_credits"),
        retry_max=whole_or_none_in(content, "retry_max"),
        retry_seconds=whole_or_none_in(content, "retry_seconds"),
        premium_models=texts_in(content, "premium_models"),
        instead=_instead(content),
        premium_workspaces=texts_in(content, "premium_workspaces"),
        premium_jobs=texts_in(content, "premium_jobs"),
        premium_ceiling=decimal_or_none_in(content, "premium_ceiling"),
    )
    propose_controls(terms=terms, proposal=proposal, by=by, at=at)


@materialise("model_exception")
def exception_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Ask for leave to use a premium model."""
    customer = _customer(content)
    request_exception(
        customer=customer, model=text_in(content, "model"), job=text_in(content, "job", ""),
        workspace=workspace_or_none(customer, _text_or_none(content, "workspace")),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip


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
