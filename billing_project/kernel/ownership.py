"""Name who answers for each step of the chain, and tell who did at an instant.

For each step and function the newest row whose `since_at` has come names the person; earlier rows
stay as the history.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import ChainStep, StepFunction, StepOwner, User


@dataclass(frozen=True)
class Owner:
    """Who answers for a step for one function; `person` is None where nobody is named.

    Attributes:
        has_left: The person is not active now, whoever they were then.
    """

    function: str
    person: str | None
    since_at: datetime | None = None
    has_left: bool = False


_FUNCTIONS = tuple(StepFunction.values)
_NOBODY = tuple(Owner(function, None) for function in _FUNCTIONS)


@dataclass(frozen=True)
class Owners:
    """Everybody who was ever named, the newest first."""

    rows: tuple[StepOwner, ...]

    def of(self, step: str, at: datetime) -> tuple[Owner, ...]:
        """Return who answers for a step at an instant, one for each function in their order."""
        if step not in self._named:
            return _NOBODY
        return tuple(self._of(step, function, at) for function in _FUNCTIONS)

    def _of(self, step: str, function: str, at: datetime) -> Owner:
        for row in self._by_duty.get((step, function), ()):
            if row.since_at <= at:
                return Owner(function, str(row.person), row.since_at, not row.person.is_active)
        return Owner(function, None)

    @cached_property
    def _named(self) -> set[str]:
        return {row.step for row in self.rows}

    @cached_property
    def _by_duty(self) -> dict[tuple[str, str], list[StepOwner]]:
        found: dict[tuple[str, str], list[StepOwner]] = defaultdict(list)
        for row in self.rows:
            found[row.step, row.function].append(row)
        return dict(found)


def owners_known() -> Owners:
    """Read everybody who was ever named, in one query: a row for each change of person."""
    return Owners(tuple(StepOwner.objects.select_related("person").order_by("-id")))


@transaction.atomic
def name_owner(
    *, step: str, function: str, person: User, since_at: datetime, reason: str, by: User,
    at: datetime,
) -> StepOwner:  # fmt: skip
    """Let a person answer for a step from an instant on; whoever was named before is kept.

    Args:
        since_at: May lie before `at`, where the duty was taken up before it was written down.

    Raises:
        Invalid: an unknown step or function, a person who is not active or is a service, or no
            reason; with its `field`.
        Conflict: the person was named last already, since the same instant or earlier.
    """
    _refuse_bad(step, function, person, reason)
    last = StepOwner.objects.filter(step=step, function=function).first()
    if last and last.person_id == person.pk and last.since_at <= since_at:
        raise Conflict(f"{person} answers for this step already, since {last.since_at:%Y-%m-%d}")
    row = StepOwner.objects.create(
        step=step, function=function, person=person, since_at=since_at, reason=reason,
        named_by=by, named_at=at,
    )  # fmt: skip
    audit.record(
        by=by, at=at, action="name_step_owner", subject=row, reason=reason, step=step,
        function=function, person=person.pk,
    )  # fmt: skip
    return row


def _refuse_bad(step: str, function: str, person: User, reason: str) -> None:
    if step not in ChainStep.values:
        raise Invalid(f"a step is one of {', '.join(ChainStep.values)}", field="step")
    if function not in StepFunction.values:
        raise Invalid(f"a function is one of {', '.join(StepFunction.values)}", field="function")
    if not person.is_active or person.is_service:
        raise Invalid(f"{person} is not an active person", field="person")
    if not reason.strip():
        raise Invalid("naming an owner needs its reason", field="reason")
