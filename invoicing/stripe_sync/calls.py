"""Write down what Stripe is asked for, before anybody asks: one open call for each subject."""

from datetime import datetime

from django.conf import settings

from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import User
from invoicing.models import CallKind, CallState, StripeCall
from invoicing.stripe_sync.gateway import Json
from invoicing.stripe_sync.policy import wait

NOT_MADE = "not_made"  # Why a call failed that Stripe never carried out.
OPEN = (CallState.PENDING, CallState.UNKNOWN)
WITHOUT_METADATA = (CallKind.METER, CallKind.USAGE, CallKind.COPY_LINES, CallKind.END)


class Misfit(Conflict):
    """What Stripe has under a name of ours is not what was asked for: nobody here believes it."""

    code = "does_not_fit"


def write_call(
    *,
    kind: str,
    subject: str,
    customer_id: int | None,
    params: Json,
    at: datetime,
    next_at: datetime | None = None,
) -> StripeCall:
    """Add the next generation of a call; its transaction commits before anything is sent.

    Call it under the customer's lock, when none of the subject is open.

    Args:
        subject: Our own object ("invoice:42"); with the generation it makes the key.
        params: What Stripe is told; never changed afterwards.
        next_at: Not sent before; None: sent at once.
    """
    before = StripeCall.objects.filter(kind=kind, subject=subject)
    newest = before.order_by("-generation").values_list("generation", flat=True).first() or 0
    call = new_call(
        kind=kind, subject=subject, generation=newest + 1, customer_id=customer_id, params=params,
        at=at,
    )  # fmt: skip
    call.next_at = next_at or at
    call.save()
    return call


def new_call(
    *, kind: str, subject: str, generation: int, customer_id: int | None, params: Json, at: datetime
) -> StripeCall:
    """Return a call that is not stored yet; its key stands in its metadata, where Stripe takes any.

    Args:
        generation: One more than the subject's newest.
    """
    key = f"{settings.STRIPE_NAMESPACE}:{subject}:{kind}:g{generation}"
    words = dict(params)
    if kind == CallKind.COPY_LINES:  # By the first of which they are found again.
        first, *others = params["lines"]
        words["lines"] = [{**first, "metadata": {"billing_call": key}}, *others]
    if kind not in WITHOUT_METADATA:
        words["metadata"] = {**params.get("metadata", {}), "billing_call": key}
    return StripeCall(
        kind=kind,
        subject=subject,
        generation=generation,
        customer_id=customer_id,
        idempotency_key=key,
        params=words,
        next_at=at,
        created_at=at,
    )


def ask_again(call: StripeCall, code: str, by: User, at: datetime) -> None:
    """Ask anew, later, for what was never made; what Stripe refused stays refused."""
    if code == NOT_MADE:
        write_call(
            kind=call.kind, subject=call.subject, customer_id=call.customer_id, params=call.params,
            at=at, next_at=at + wait(call.generation, call.idempotency_key),
        )  # fmt: skip


def finish(call: StripeCall, state: CallState, at: datetime, stripe_id: str = "") -> None:
    """Close a call; it is never sent again. Call it under the customer's lock."""
    call.state, call.finished_at = state, at
    call.first_sent_at = call.first_sent_at or at
    call.stripe_id = stripe_id or call.stripe_id
    call.save()


def is_open(kind: str, subject: str) -> bool:
    """Tell whether a call of a subject is not settled."""
    return StripeCall.objects.filter(kind=kind, subject=subject, state__in=OPEN).exists()
