"""Rate what customers used: changed usage windows in; rated usage and ledger transactions out.

Under the customer's row lock the notes are taken first and the windows read after: a change that
commits later leaves a note of its own. Run it twice at once and the second finds nothing to do.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, Max, OuterRef

from billing_project.kernel import outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import OutboxMessage, PolicyChange, PolicyStatus, User
from credits.models import RatedUsage
from credits.selectors.facts import Rulebook
from credits.selectors.usage import windows_to_rate
from credits.services.pricing import Pricer
from metering.models import UsageWindow
from metering.services.customers import lock_customer

CHUNK = 5_000  # Windows a transaction: bounds its memory and how long it holds the lock.
BLOCKED = "rating_blocked"  # Notes of customers whose usage waits for an approval.
_RULES = ("rate_card", "credit_policy")
_CLOCKS_APART = timedelta(minutes=1)  # An approval commits a little after the instant it carries.


def rate_customer(*, customer_id: int, by: User, at: datetime) -> int:
    """Rate every window of a customer that changed since it was rated.

    Usage outside any billing period, or without an approved rate, waits unrated and visible.

    Returns:
        Rows of rated usage written.

    Raises:
        Conflict: no burn order is approved yet; the usage waits.
    """
    written, rest = _begin(customer_id, by, at)
    while rest:
        chunk, rest = rest[:CHUNK], rest[CHUNK:]
        written += _continue(customer_id, chunk, by, at)
        if not rest:  # Takes the note that `_begin` left for the case of a crash.
            count, rest = _begin(customer_id, by, at)
            written += count
    return written


def rate_pending(*, by: User, at: datetime, limit: int = 100) -> int:
    """Rate the customers whose usage changed, the longest-waiting first.

    One customer's fault does not hold up the others; their usage keeps its note.

    Returns:
        Rows of rated usage written.
    """
    _wake_blocked(at)
    return each_apart(
        outbox.waiting("usage_changed"),
        lambda customer_id: rate_customer(customer_id=customer_id, by=by, at=at),
        step="rate",
        limit=limit,
    )


@transaction.atomic
def _begin(customer_id: int, by: User, at: datetime) -> tuple[int, list[int]]:
    """Take the notes, rate the first windows, and return the ids of those that are left."""
    lock_customer(customer_id)
    outbox.take("usage_changed", customer_id)
    outbox.take(BLOCKED, customer_id)
    rules = Rulebook(customer_id)
    first, rest, is_blocked = _sort_out(customer_id, rules)
    if is_blocked:
        outbox.publish(BLOCKED, [customer_id], at)
    if rest:
        outbox.publish("usage_changed", [customer_id], at)
    return _rate(customer_id, first, rules, by, at), rest


@transaction.atomic
def _continue(customer_id: int, window_ids: list[int], by: User, at: datetime) -> int:
    """Rate those of the windows that still wait: another worker may have been first."""
    lock_customer(customer_id)
    windows = windows_to_rate(customer_id).filter(pk__in=window_ids)
    return _rate(customer_id, windows, Rulebook(customer_id), by, at)


def _sort_out(customer_id: int, rules: Rulebook) -> tuple[list[UsageWindow], list[int], bool]:
    """Find what can be rated: the first windows, and the ids of the rest.

    Tells, too, whether other windows wait for an approval.
    """
    was_rated = Exists(RatedUsage.objects.filter(window_id=OuterRef("pk")))
    first: list[UsageWindow] = []
    rest: list[int] = []
    is_blocked = False
    for window in windows_to_rate(customer_id).annotate(was_rated=was_rated).iterator():
        if not (window.was_rated or rules.rate_of(window)):
            is_blocked = True
        elif not rules.policies:
            raise Conflict("no burn order is approved yet: usage waits", code="no_credit_policy")
        elif rules.policy_of(window.start_at) is None:
            is_blocked = True
        elif len(first) < CHUNK:
            first.append(window)
        else:
            rest.append(window.pk)
    return first, rest, is_blocked


def _rate(
    customer_id: int, windows: Iterable[UsageWindow], rules: Rulebook, by: User, at: datetime
) -> int:
    written = Pricer(windows, rules, customer_id=customer_id, by=by, at=at).rate_all()
    if written:
        outbox.publish("credits_changed", [customer_id], at)
    return written


@transaction.atomic
def _wake_blocked(at: datetime) -> None:
    """Ring for the customers whose usage waited, once a rate or burn order was approved since."""
    decided = PolicyChange.objects.filter(kind__in=_RULES, status=PolicyStatus.APPROVED).aggregate(
        last=Max("decided_at")
    )["last"]
    if decided is None:
        return
    notes = OutboxMessage.objects.filter(topic=BLOCKED, created_at__lte=decided + _CLOCKS_APART)
    customer_ids = list(notes.values_list("object_id", flat=True))
    if customer_ids:
        outbox.publish("usage_changed", customer_ids, at)
