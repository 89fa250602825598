"""Rate what customers used: changed usage windows in; rated usage and ledger transactions out.

Under the customer's row lock the notes are taken first and the windows read after: a change that
commits later leaves a note of its own. Run it twice at once and the second finds nothing to do.
Where the notes name the windows that changed, many customers are rated in one transaction that
reads only those; otherwise each customer is looked at as a whole, in a transaction of their own.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.db import transaction
from django.db.models import Max

from billing_project.kernel import outbox
from billing_project.kernel.apart import each_apart
from billing_project.kernel.errors import Conflict
from billing_project.kernel.models import OutboxMessage, PolicyChange, PolicyStatus, User
from credits.selectors.facts import Rulebook, is_group_rated, rulebooks
from credits.selectors.unrated import BLOCKED
from credits.selectors.usage import windows_to_rate
from credits.services.burning import Burner, Pages
from credits.services.pricing import Pricer, rated_before
from credits.services.wallets import wallets_of
from metering.models import UsageWindow
from metering.services.customers import lock_customer, lock_free_customers

CHUNK = 5_000  # Windows a transaction: bounds its memory and how long it holds the lock.
TOGETHER = 100  # Customers a transaction, and their windows: its locks last tenths of a second.
WINDOWS_TOGETHER = 1_000
CHANGED = "usage_changed"
_RULES = ("rate_card", "rate_override", "rate_migration", "credit_policy")
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
            if not count:  # All that it found has to wait, and has its note.
                break
    return written


@transaction.atomic
def rate_together(*, customer_ids: Collection[int], by: User, at: datetime) -> int:
    """Rate the windows that customers' notes name, all in one transaction.

    Customers whose lock somebody holds keep their notes for the next run, as do notes that name no
    windows: `rate_customer` takes those.

    Returns:
        Rows of rated usage written.

    Raises:
        Conflict: no burn order is approved yet; the usage waits.
    """
    locked = lock_free_customers(customer_ids)
    named = outbox.take_parts(CHANGED, locked)
    rules = rulebooks(locked)
    windows, blocked = [], set()
    for window in windows_to_rate(locked).filter(pk__in=named):
        if _is_ready(window, rules[window.customer_id]):
            windows.append(window)
        else:
            blocked.add(window.customer_id)
    _mark_blocked(blocked, at)
    return _rate(windows, rules, by, at)


def rate_pending(*, by: User, at: datetime, limit: int = 100) -> int:
    """Rate the customers whose usage changed, the longest-waiting first.

    One customer's fault does not hold up the others; their usage keeps its note.

    Args:
        limit: Customers at most that are looked at as a whole.

    Returns:
        Rows of rated usage written.
    """
    _wake_blocked(at)
    waiting = outbox.waiting_parts(CHANGED)
    well: set[int] = set()

    def together(customer_ids: Sequence[int]) -> int:
        written = rate_together(customer_ids=customer_ids, by=by, at=at)
        well.update(customer_ids)
        return written

    written = each_apart(_groups(waiting), together, step="rate_together")
    return written + each_apart(
        [note.object_id for note in waiting if note.object_id not in well],
        lambda customer_id: rate_customer(customer_id=customer_id, by=by, at=at),
        step="rate",
        limit=limit,
    )


def _groups(waiting: Iterable[outbox.Waiting]) -> Iterator[list[int]]:
    """Cut customers whose notes name their windows into groups for one transaction each."""
    group: list[int] = []
    windows = 0
    for note in waiting:
        if note.parts is None or note.parts > CHUNK:
            continue
        if group and (len(group) == TOGETHER or windows + note.parts > WINDOWS_TOGETHER):
            yield group
            group, windows = [], 0
        group.append(note.object_id)
        windows += note.parts
    if group:
        yield group


@transaction.atomic
def _begin(customer_id: int, by: User, at: datetime) -> tuple[int, list[int]]:
    """Take the notes, rate the first windows, and return the ids of those that are left."""
    lock_customer(customer_id)
    since = outbox.oldest(CHANGED, customer_id) or at
    outbox.take(CHANGED, customer_id)
    outbox.take(BLOCKED, customer_id)
    rules = Rulebook(customer_id)
    first, rest, is_blocked = _sort_out(customer_id, rules)
    if is_blocked:
        outbox.publish(BLOCKED, [customer_id], at)
    if rest:
        outbox.publish(CHANGED, [customer_id], since)
    return _rate(first, {customer_id: rules}, by, at), rest


@transaction.atomic
def _continue(customer_id: int, window_ids: list[int], by: User, at: datetime) -> int:
    """Rate those of the windows that still wait: another worker may have been first."""
    lock_customer(customer_id)
    windows = list(windows_to_rate([customer_id]).filter(pk__in=window_ids))
    return _rate(windows, {customer_id: Rulebook(customer_id)}, by, at)


def _sort_out(customer_id: int, rules: Rulebook) -> tuple[list[UsageWindow], list[int], bool]:
    """Find what can be rated: the first windows, and the ids of the rest.

    Tells, too, whether other windows wait for an approval.
    """
    first: list[UsageWindow] = []
    rest: list[int] = []
    is_blocked = False
    for window in windows_to_rate([customer_id]).iterator():
        if not _is_ready(window, rules):
            is_blocked = True
        elif len(first) < CHUNK:
            first.append(window)
        else:
            rest.append(window.pk)
    return first, rest, is_blocked


def _is_ready(window: UsageWindow, rules: Rulebook) -> bool:
    """Tell whether a window of `windows_to_rate` has its rate and burn order.

    What has one quantity a period has one rate, too: the first.

    Raises:
        Conflict: no burn order is approved at all.
    """
    was_rated: bool = window.was_rated  # type: ignore[attr-defined]
    if not (was_rated or rules.rate_of(window) or is_group_rated(window, rules)):
        return False
    if not rules.policies:
        raise Conflict("no burn order is approved yet: usage waits", code="no_credit_policy")
    return rules.policy_of(window.start_at) is not None


def _mark_blocked(customer_ids: Collection[int], at: datetime) -> None:
    """Leave one note for each customer whose usage waits for a rule by which it can be charged."""
    notes = OutboxMessage.objects.filter(topic=BLOCKED, object_id__in=customer_ids)
    known = set(notes.values_list("object_id", flat=True)) if customer_ids else set()
    outbox.publish(BLOCKED, set(customer_ids) - known, at)


def _rate(
    windows: Collection[UsageWindow], rules: Mapping[int, Rulebook], by: User, at: datetime
) -> int:
    """Rate windows of locked customers, each customer's in the order given."""
    if not windows:
        return 0
    since = min((window.start_at for window in windows), default=at)
    before, wallets, pages = rated_before(windows, rules), wallets_of(rules, since), Pages()
    changed, held = [], set()
    for customer_id, of_customer in groupby(
        sorted(windows, key=attrgetter("customer_id")), key=attrgetter("customer_id")
    ):
        burner = Burner(rules[customer_id], wallets[customer_id], pages, by=by, at=at)
        if Pricer(rules[customer_id], before, burner, at).rate_all(of_customer):
            held.add(customer_id)
        changed.append(customer_id)
    written = pages.write()
    _mark_blocked(held, at)
    if written:
        outbox.publish("credits_changed", changed, at)
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
        outbox.publish(CHANGED, customer_ids, at)
