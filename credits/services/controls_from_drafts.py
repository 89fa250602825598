"""Make limits, rules of the request path and exceptions of what drafts say; see `from_drafts`."""

from datetime import datetime

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import Content
from billing_project.kernel.drafts import materialise
from billing_project.kernel.models import User
from credits.models import LimitMode, LimitWindow, OverdraftMode, RuleWindow, Watched
from credits.selectors.alert_contents import rule_in
from credits.selectors.control_contents import controls_in, exception_in, limit_in
from credits.services.alert_rules import RuleTerms, propose_alert_rule
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)


@materialise(
    "spend_limit",
    {
        "code": "daily", "customer": "cust-01", "workspace": None, "model": "", "job": "",
        "api_key": None, "window": "day", "mode": "hard", "pricing_unit": "credit",
        "credits": "500",
    },
)  # fmt: skip
def spend_limit_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a spend limit."""
    said = limit_in(content)
    terms = LimitTerms(
        customer=said.customer, window=LimitWindow(said.window), mode=LimitMode(said.mode),
        unit=said.pricing_unit, credits=said.credits, workspace=said.workspace,
        model=said.model, job=said.job, api_key=said.api_key,
    )  # fmt: skip
    propose_spend_limit(code=said.code, terms=terms, proposal=proposal, by=by, at=at)


@materialise(
    "control_policy",
    {
        "customer": None, "overdraft": "capped", "overdraft_credits": "100", "retry_max": 3,
        "retry_seconds": 60, "premium_models": ["large"], "instead": {"large": "small"},
        "premium_workspaces": [], "premium_jobs": [], "premium_ceiling": "0.5",
    },
)  # fmt: skip
def controls_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of the rules of the request path."""
    said = controls_in(content)
    terms = ControlTerms(
        customer=said.customer, overdraft=OverdraftMode(said.overdraft),
        overdraft_credits=said.overdraft_credits, retry_max=said.retry_max,
        retry_seconds=said.retry_seconds, premium_models=said.premium_models,
        instead=said.instead, premium_workspaces=said.premium_workspaces,
        premium_jobs=said.premium_jobs, premium_ceiling=said.premium_ceiling,
    )  # fmt: skip
    propose_controls(terms=terms, proposal=proposal, by=by, at=at)


@materialise(
    "model_exception",
    {"customer": "cust-01", "workspace": None, "model": "large", "job": "nightly-report"},
)
def exception_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Ask for leave to use a premium model."""
    said = exception_in(content)
    request_exception(
        customer=said.customer, model=said.model, job=said.job, workspace=said.workspace,
        proposal=proposal, by=by, at=at,
    )  # fmt: skip


@materialise(
    "alert_rule",
    {
        "code": "low balance", "watched": "balance", "customer": None, "pricing_unit": "credit",
        "meter": None, "window": "", "threshold": "100", "floor": None, "owner": "demo",
    },
)  # fmt: skip
def alert_rule_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a rule that raises alerts."""
    said = rule_in(content)
    terms = RuleTerms(
        watched=Watched(said.watched), threshold=said.threshold, owner=said.owner,
        customer=said.customer, unit=said.pricing_unit, meter=said.meter,
        window=RuleWindow(said.window), floor=said.floor, is_by_customer=said.is_by_customer,
    )  # fmt: skip
    propose_alert_rule(code=said.code, terms=terms, proposal=proposal, by=by, at=at)
