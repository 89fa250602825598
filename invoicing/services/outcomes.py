"""Record outcomes that are sold by the piece, and decide on them."""

from datetime import datetime, timedelta

from django.db import transaction

from billing_project.kernel import audit, outbox
from billing_project.kernel.errors import Conflict, IdempotencyConflict, Invalid
from billing_project.kernel.models import User
from invoicing.models import LineOutcome, Outcome, OutcomeDecision, OutcomeState, PlanItem
from invoicing.outcomes import NotDecidable, State, refuse_undecidable
from invoicing.selectors import plan_version_of, running_period
from invoicing.services.locks import require_permission
from metering.models import Customer
from metering.services.customers import lock_customer

_FARTHEST = timedelta(days=400)
_LONGEST_IDENTIFIER, _LONGEST_TEXT = 128, 300


@transaction.atomic
def record_outcome(
    *,
    customer: Customer,
    code: str,
    identifier: str,
    occurred_at: datetime,
    note: str,
    by: User,
    at: datetime,
) -> Outcome:
    """Record a result that a plan sells; it is pending until somebody decides on it.

    Args:
        code: The plan's outcome item, of the period in which it occurred.
        identifier: The sender's name for it; the same again returns the same row.

    Raises:
        Invalid: a bad identifier, a note that is too long, or an instant out of bounds.
        NotFound: the customer had no subscription at that instant.
        Conflict: the plan of that period sells no such outcome.
        IdempotencyConflict: the identifier named another outcome before.
    """
    _refuse_bad(identifier, occurred_at, note, at)
    locked = lock_customer(customer.pk)
    period = running_period(locked, occurred_at)
    same = Outcome.objects.filter(customer=locked, identifier=identifier).first()
    if same is not None:
        return _same(same, code, occurred_at)
    version = plan_version_of(period)
    item = PlanItem.objects.filter(plan_version=version, kind="outcome", code=code).first()
    if item is None:
        raise Conflict(f"{version} sells no outcome {code}")
    outcome = Outcome.objects.create(
        customer=locked,
        item=item,
        billing_period=period,
        identifier=identifier,
        occurred_at=occurred_at,
        note=note,
        created_by=by,
        created_at=at,
    )
    audit.record(by=by, at=at, action="record_outcome", subject=outcome, item=code)
    return outcome


@transaction.atomic
def decide_outcome(
    *, outcome: Outcome, state: str, reason: str, by: User, at: datetime
) -> OutcomeDecision:
    """Accept, reject or dispute an outcome; the same again returns the decision that did.

    Raises:
        NotAllowed: a person without the permission.
        Invalid: no such decision, or no reason.
        Conflict: the decision cannot follow on the last one, or the outcome is invoiced; the
            message says what can be done instead.
    """
    require_permission(by, "invoicing.decide_outcome", "decide on outcomes")
    if state not in set(OutcomeState) - {OutcomeState.PENDING}:
        raise Invalid("an outcome is accepted, rejected or disputed", field="state")
    if not 0 < len(reason.strip()) <= _LONGEST_TEXT:
        raise Invalid(f"a decision has a reason of 1 to {_LONGEST_TEXT} characters", field="reason")
    lock_customer(outcome.customer_id)
    locked = Outcome.objects.select_for_update(no_key=True).get(pk=outcome.pk)
    last = locked.decisions.order_by("sequence").last()
    if last is not None and last.state == state:
        return last
    try:
        refuse_undecidable(State(locked.state), State(state))
    except NotDecidable as error:
        raise Conflict(str(error)) from error
    _refuse_invoiced(locked)
    decision = OutcomeDecision.objects.create(
        outcome=locked,
        sequence=(last.sequence if last else 0) + 1,
        state_before=locked.state,
        state=state,
        reason=reason,
        decided_by=by,
        decided_at=at,
    )
    outbox.publish("money_changed", [locked.customer_id], at)
    audit.record(by=by, at=at, action="decide_outcome", subject=locked, reason=reason, state=state)
    return decision


def _refuse_bad(identifier: str, occurred_at: datetime, note: str, at: datetime) -> None:
    if not 0 < len(identifier) <= _LONGEST_IDENTIFIER:
        raise Invalid(
            f"an identifier has 1 to {_LONGEST_IDENTIFIER} characters", field="identifier"
        )
    if len(note) > _LONGEST_TEXT:
        raise Invalid(f"a note has at most {_LONGEST_TEXT} characters", field="note")
    if not at - _FARTHEST <= occurred_at <= at:
        raise Invalid(
            f"an outcome occurred within the {_FARTHEST.days} days up to now", field="occurred_at"
        )


def _refuse_invoiced(outcome: Outcome) -> None:
    link = (
        LineOutcome.objects.filter(outcome=outcome, is_void=False)
        .select_related("line__invoice")
        .first()
    )
    if link is not None and link.line.invoice.number is not None:
        raise Conflict(
            f"{outcome} is on {link.line.invoice} line {link.line.position}:"
            " a credit note takes it back"
        )


def _same(outcome: Outcome, code: str, occurred_at: datetime) -> Outcome:
    if (outcome.item.code, outcome.occurred_at) != (code, occurred_at):
        raise IdempotencyConflict(f"{outcome.identifier} was recorded as another outcome before")
    return outcome
