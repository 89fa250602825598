"""Send what was announced until it is taken: at least once, each time under the same webhook-id.

A try is claimed on its row before anything is sent, and its answer written afterwards, both in
transactions of their own: whoever dies in between leaves a row that is tried again once the claim
has lapsed. Several letters are on their way at once; only this thread talks to the database.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Min, QuerySet

from billing_project.kernel.models import User, WebhookDelivery, WebhookEndpoint
from billing_project.kernel.telling import tell_once
from billing_project.kernel.webhooks.door import Answer, Door, Letter, resolve, trusted
from billing_project.kernel.webhooks.endpoints import disable_endpoint, live_secrets, reach
from billing_project.kernel.webhooks.schedule import (
    MOST_TRIES,
    is_taken,
    next_try,
    why_to_disable,
)
from billing_project.kernel.webhooks.standard import headers

log = logging.getLogger(__name__)

_LEASE = timedelta(minutes=5)  # No try lasts as long; a worker that died in one is found then.
_AT_ONCE, _OF_ONE = 16, 8  # Letters on their way: in all, and to one endpoint.
_LONGEST_FAILURE = 300
_FORGOTTEN = "what it said is forgotten"
_CUT_OFF = "the last try ended without an answer: see the worker's log"


@dataclass(frozen=True)
class Claimed:
    """A try that is ours, and what is sent."""

    delivery: WebhookDelivery
    letter: Letter | None  # None: there is no secret to sign it with.


def door() -> Door:
    """Return the way out, as far as settings let it reach."""
    return Door(reach(), resolve, trusted)


def send_due_webhooks(
    *,
    by: User,
    now: Callable[[], datetime],
    way: Door,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Try each delivery whose time has come; return how many were taken.

    Call it outside a transaction: it waits for the network. An endpoint that fails rests for the
    rest of the run, so that it holds up nobody else.
    """
    taken, resting = 0, set[int]()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while not is_over() and (claimed := list(_claim_some(resting, now()))):
            letters = [one.letter for one in claimed]
            answers = pool.map(lambda letter: _sent(letter, way), letters)
            for one, answer in zip(claimed, answers, strict=True):
                if _write(one.delivery, answer, by, now()):
                    taken += 1
                else:
                    resting.add(one.delivery.endpoint_id)
    return taken


def tell_of_disabled(*, at: datetime) -> None:
    """Mail the owners of endpoints that we switched off; each once."""
    untold = WebhookEndpoint.objects.filter(disabled_at__isnull=False, told_at=None)
    for endpoint in untold.select_related("owner"):
        tell_once(
            name=f"webhook_endpoint:{endpoint.pk}",
            untold=untold.filter(pk=endpoint.pk),
            people=[endpoint.owner.email] if endpoint.owner.email else [],
            subject="Billing: a webhook endpoint was switched off",
            text=_text,
            at=at,
        )


def _claim_some(resting: set[int], at: datetime) -> Iterator[Claimed]:
    """Claim the next deliveries, as many of each endpoint; who waits longest comes first."""
    due = WebhookDelivery.objects.filter(next_try_at__lte=at, endpoint__disabled_at=None)
    due = due.exclude(endpoint_id__in=resting)
    left = _AT_ONCE
    waiting = due.values("endpoint_id").annotate(since=Min("next_try_at"))
    ids = [row["endpoint_id"] for row in waiting.order_by("since", "endpoint_id")[:_AT_ONCE]]
    for number, endpoint_id in enumerate(ids):
        share = min(max(left // (len(ids) - number), 1), _OF_ONE)
        some = due.filter(endpoint_id=endpoint_id).select_related("event", "endpoint")
        for delivery in some.order_by("next_try_at", "id")[:share]:
            left -= 1
            if (claimed := _claim(delivery, at)) is not None:
                yield claimed


def _claim(delivery: WebhookDelivery, at: datetime) -> Claimed | None:
    """Take the next try for longer than it can last, if the row is as it was read."""
    if delivery.attempts >= MOST_TRIES:  # Its last try never came back.
        _open(delivery).update(
            next_try_at=None, given_up_at=at, failure=delivery.failure or _CUT_OFF
        )
        return None
    if not delivery.event.body:  # Sent again in the instant in which its words went.
        _open(delivery).update(next_try_at=None, given_up_at=at, failure=_FORGOTTEN)
        return None
    if not _is_ours(delivery, at):
        return None
    delivery.attempts += 1
    secrets = live_secrets(delivery.endpoint, at)
    return Claimed(delivery, _letter(delivery, secrets, at) if secrets else None)


def _is_ours(delivery: WebhookDelivery, at: datetime) -> bool:
    """Claim the row, unless somebody else did since it was read."""
    as_read = _open(delivery).filter(attempts=delivery.attempts, next_try_at=delivery.next_try_at)
    return (
        as_read.update(attempts=F("attempts") + 1, next_try_at=at + _LEASE, last_tried_at=at) == 1
    )


def _letter(delivery: WebhookDelivery, secrets: Sequence[bytes], at: datetime) -> Letter:
    event = delivery.event
    signed = headers(secrets, event.message_id, int(at.timestamp()), event.body)
    said = {"content-type": "application/json", "user-agent": "billing-webhooks/1"}
    return Letter(delivery.endpoint.url, {**said, **signed}, event.body)


def _sent(letter: Letter | None, way: Door) -> Answer:
    if letter is None:
        return Answer(None, "no key of this installation makes its secret: rotate it")
    return way.send(letter)


def _write(delivery: WebhookDelivery, answer: Answer, by: User, at: datetime) -> bool:
    """Keep what came of a try; return whether it was taken."""
    endpoint = WebhookEndpoint.objects.filter(pk=delivery.endpoint_id)
    if answer.status is not None and is_taken(answer.status):
        _open(delivery).update(delivered_at=at, next_try_at=None, status=answer.status, failure="")
        endpoint.exclude(failing_since=None).update(failing_since=None)
        return True
    failure = _failure(answer)
    log.warning("webhook_not_taken", extra={"delivery": delivery.pk, "reason": failure})
    again = next_try(delivery.attempts, at)
    _open(delivery).update(
        next_try_at=again, given_up_at=None if again else at, status=answer.status,
        failure=failure,
    )  # fmt: skip
    endpoint.filter(failing_since=None).update(failing_since=at)
    _disable_if_hopeless(endpoint.get(), answer, by, at)
    return False


def _disable_if_hopeless(endpoint: WebhookEndpoint, answer: Answer, by: User, at: datetime) -> None:
    why = why_to_disable(answer.status, endpoint.failing_since or at, at)
    if why:
        log.error("webhook_endpoint_disabled", extra={"endpoint": endpoint.pk, "reason": why})
        disable_endpoint(endpoint=endpoint, reason=why, by=by, at=at, is_told=False)


def _open(delivery: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(pk=delivery.pk, delivered_at=None, given_up_at=None)


def _failure(answer: Answer) -> str:
    """Say what went wrong, on one line and without what PostgreSQL's text does not take."""
    words = " ".join(answer.said.replace("\x00", "").split())
    text = words if answer.status is None else f"{answer.status} {words}".strip()
    return text[:_LONGEST_FAILURE]


def _text(endpoints: Sequence[WebhookEndpoint]) -> str:
    (endpoint,) = endpoints
    return (
        f"Nothing is sent to {endpoint.url} any more: {endpoint.disabled_reason}.\n\n"
        "Mend the receiver, switch the endpoint on again in the back office under Access and"
        " approvals, Webhook endpoints, and repeat there what it missed.\n"
    )
