"""Propose limits, rules of the request path and exceptions; acknowledge alerts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.canonical import sha256_hex
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import ApiKey, User
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import (
    Alert,
    ControlPolicy,
    LimitMode,
    LimitWindow,
    ModelException,
    OverdraftMode,
    PricingUnit,
    SpendLimit,
)
from credits.selectors.control_contents import (
    content_of_controls,
    content_of_exception,
    content_of_limit,
)
from metering.models import Customer, Workspace

_MOST_NAMES = 1_000
_LONGEST_NAME = 128


@dataclass(frozen=True)
class LimitTerms:
    """A ceiling, and whose spending counts against it; what is not said counts whatever it is."""

    customer: Customer
    window: LimitWindow
    mode: LimitMode
    unit: PricingUnit
    credits: Decimal
    workspace: Workspace | None = None
    model: str = ""
    job: str = ""
    api_key: ApiKey | None = None


@dataclass(frozen=True)
class ControlTerms:
    """Rules of the request path, as `ControlPolicy` has them; the defaults refuse nothing."""

    customer: Customer | None = None
    overdraft: OverdraftMode = OverdraftMode.OFF
    overdraft_credits: Decimal | None = None
    retry_max: int | None = None
    retry_seconds: int | None = None
    premium_models: Sequence[str] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    premium_workspaces: Sequence[str] = ()
    premium_jobs: Sequence[str] = ()
    premium_ceiling: Decimal | None = None


@transaction.atomic
def propose_spend_limit(
    *, code: str, terms: LimitTerms, proposal: Proposal, by: User, at: datetime
) -> SpendLimit:
    """Write a version of a spend limit; it governs once somebody else approved it.

    Raises:
        Invalid: the code is another customer's, or a value is out of its bounds.
    """
    _check_limit(code, terms)
    wait_for(f"spend_limit:{code}")
    earlier = SpendLimit.objects.filter(code=code)
    if earlier.exclude(customer=terms.customer).exists():
        raise Invalid(f"{code} is a limit of another customer", field="code")
    limit = SpendLimit(
        code=code,
        number=next_number(earlier),
        customer=terms.customer,
        workspace=terms.workspace,
        model=terms.model,
        job=terms.job,
        api_key=terms.api_key,
        window=terms.window,
        mode=terms.mode,
        pricing_unit=terms.unit,
        credits=terms.credits,
    )
    return propose_version(
        limit,
        kind="spend_limit",
        subject=f"spend_limit:{code}:{limit.number}",
        content=content_of_limit(limit),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def propose_controls(
    *, terms: ControlTerms, proposal: Proposal, by: User, at: datetime
) -> ControlPolicy:
    """Write a version of the rules of the request path, of one customer or of all others.

    Raises:
        Invalid: a cap without its size, a retry cap without its window, or a bad list of names.
    """
    _check_controls(terms)
    code = f"controls:{terms.customer.external_id}" if terms.customer else "controls"
    wait_for(f"control_policy:{code}")
    policy = ControlPolicy(
        code=code,
        number=next_number(ControlPolicy.objects.filter(code=code)),
        customer=terms.customer,
        overdraft=terms.overdraft,
        overdraft_credits=terms.overdraft_credits,
        retry_max=terms.retry_max,
        retry_seconds=terms.retry_seconds,
        premium_models=sorted(set(terms.premium_models)),
        instead=dict(terms.instead),
        premium_workspaces=sorted(set(terms.premium_workspaces)),
        premium_jobs=sorted(set(terms.premium_jobs)),
        premium_ceiling=terms.premium_ceiling,
    )
    return propose_version(
        policy,
        kind="control_policy",
        subject=_subject("control_policy", code, policy.number),
        content=content_of_controls(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def request_exception(
    *,
    customer: Customer,
    model: str,
    proposal: Proposal,
    by: User,
    at: datetime,
    workspace: Workspace | None = None,
    job: str = "",
) -> ModelException:
    """Ask for leave to use a premium model until a date; it holds once somebody else approved it.

    Raises:
        Invalid: no model, or no end: exceptions expire.
    """
    if not 1 <= len(model) <= _LONGEST_NAME or len(job) > _LONGEST_NAME:
        raise Invalid("an exception names its model in 1 to 128 characters", field="model")
    if proposal.expires_at is None:
        raise Invalid("an exception says when it expires", field="expires_at")
    _refuse_foreign(customer, workspace)
    exception = ModelException(customer=customer, workspace=workspace, model=model, job=job)
    wait_for(f"model_exception:{customer.pk}")
    number = ModelException.objects.filter(customer=customer).count() + 1
    return propose_version(
        exception,
        kind="model_exception",
        subject=_subject("model_exception", customer.external_id, number),
        content=content_of_exception(exception),
        proposal=proposal,
        by=by,
        at=at,
    )


@transaction.atomic
def acknowledge_alert(
    *, alert: Alert, note: str, by: User, at: datetime, owner: User | None = None
) -> Alert:
    """Say that somebody saw an alert, and what comes of it; the first word stands.

    Args:
        owner: Who looks after it from now on; None: who says so.

    Raises:
        Invalid: no note, or an owner who is none.
        Conflict: somebody acknowledged it before.
    """
    if not note.strip():
        raise Invalid("an acknowledgement says what comes of it", field="note")
    looks_after = owner or by
    if owner is not None and (owner.is_service or not owner.is_active):
        raise Invalid("a person who works here looks after an alert", field="owner")
    locked = Alert.objects.select_for_update(no_key=True).get(pk=alert.pk)
    if locked.acknowledged_at is not None:
        raise Conflict(f"{locked.acknowledged_by} acknowledged it already")
    locked.acknowledged_at, locked.acknowledged_by, locked.note = at, by, note
    locked.owner = looks_after
    locked.save(update_fields=["acknowledged_at", "acknowledged_by", "note", "owner"])
    audit.record(by=by, at=at, action="acknowledge_alert", subject=locked, reason=note)
    return locked


def _check_limit(code: str, terms: LimitTerms) -> None:
    if not 1 <= len(code.strip()) <= 64:
        raise Invalid("a limit has a code of 1 to 64 characters", field="code")
    _check_credits("credits", terms.credits)
    for name in ("model", "job"):
        if len(getattr(terms, name)) > _LONGEST_NAME:
            raise Invalid(f"{name} has at most 128 characters", field=name)
    _refuse_foreign(terms.customer, terms.workspace)


def _refuse_foreign(customer: Customer, workspace: Workspace | None) -> None:
    if workspace is not None and workspace.customer_id != customer.pk:
        raise Invalid(f"{workspace} is not a workspace of {customer}", field="workspace")


def _check_controls(terms: ControlTerms) -> None:
    is_capped = terms.overdraft == OverdraftMode.CAPPED
    if is_capped != (terms.overdraft_credits is not None):
        raise Invalid("a capped overdraft has its credits, and only it", field="overdraft_credits")
    for name in ("overdraft_credits", "premium_ceiling"):
        _check_credits(name, getattr(terms, name))
    if is_capped and not terms.overdraft_credits:
        raise Invalid("a cap is above 0", field="overdraft_credits")
    if (terms.retry_max is None) != (terms.retry_seconds is None):
        raise Invalid("a retry cap has its count and its seconds", field="retry_seconds")
    if terms.retry_max is not None and (terms.retry_max < 1 or (terms.retry_seconds or 0) < 1):
        raise Invalid("a retry cap is at least 1 in at least 1 second", field="retry_max")
    for name in ("premium_models", "premium_workspaces", "premium_jobs"):
        _check_names(name, getattr(terms, name))
    _check_names("instead", [*terms.instead, *terms.instead.values()])


def _check_credits(name: str, value: Decimal | None) -> None:
    """Refuse what the database would round, or could not keep."""
    try:
        if value is not None:
            parse_quantity(value)
    except NotAQuantity as error:
        raise Invalid(f"{name.replace('_', ' ')}: {error}", field=name) from error


def _check_names(field_name: str, names: Sequence[str]) -> None:
    is_fine = len(names) <= _MOST_NAMES and all(1 <= len(n) <= _LONGEST_NAME for n in names)
    if not is_fine:
        raise Invalid("names have 1 to 128 characters, and are at most 1,000", field=field_name)


def _subject(kind: str, code: str, number: int) -> str:
    """Name a version; a customer's long name would not fit beside the rest."""
    return f"{kind}:{code if len(code) <= 64 else sha256_hex(code)}:{number}"
