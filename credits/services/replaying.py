"""Live through customers' credits again, on the side, and say where the stored facts differ.

Nothing is changed here. Each customer is read on one state of the database, so that rating which
goes on meanwhile makes no difference that is none.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Max

from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.quantity import plain
from billing_project.kernel.sessions import one_state
from credits.models import CreditGrant
from credits.replay import Difference, Replay
from credits.replay_facts import ClawBackFact, EntryFact, RatedFact
from credits.selectors.facts import Rulebook
from credits.selectors.recorded import Recorded, facts_of_before, recorded_of
from metering.aggregation import ADDITIVE
from metering.models import UsageWindow

_CLOCKS_APART = timedelta(minutes=1)  # An approval commits a little after the instant it carries.
_RULES = ("rate_card", "rate_override", "rate_migration")


@dataclass(frozen=True)
class Replayed:
    """What became of one customer's replay.

    Attributes:
        facts: Rows of rated usage and ledger transactions that were lived through.
        before: Those of them that had no position when they became known: theirs was worked out
            later from when each was written, so that a difference may come from that.
    """

    customer_id: int
    facts: int
    before: int
    differences: tuple[Difference, ...]


def replay_credits(
    customer_id: int, start: datetime | None = None, end: datetime | None = None
) -> Replayed:
    """Rate and pay everything of a customer again, and compare it with what is stored.

    Args:
        start, end: Differences of use and of entries outside are left out; it is lived through
            from the first fact on in any case.
    """
    with one_state():
        rules = Rulebook(customer_id)
        recorded = recorded_of(customer_id, rules)
        noted = facts_of_before()
        found = list(_replay(recorded, start, end))
        additive = UsageWindow.objects.filter(meter__aggregation__in=ADDITIVE)
        windows = additive.filter(customer_id=customer_id).in_bulk()
        rated = [
            fact
            for fact in recorded.facts
            if isinstance(fact, RatedFact) and _lies_in(fact.window.start_at, start, end)
        ]
        found += [*_quantities(windows, rated), *_rates(windows, rated, rules)]
    rows = [row for fact in recorded.facts for row in _rows(fact)]
    before = sum(row.position <= noted for row in rows)
    return Replayed(customer_id, len(rows), before, tuple(found))


def _replay(
    recorded: Recorded, start: datetime | None, end: datetime | None
) -> Iterator[Difference]:
    replay = Replay(recorded.grants)
    for fact in recorded.facts:
        at = _instant_of(fact)
        differences = list(replay.take(fact))
        if _lies_in(at, start, end):
            yield from differences
    if start is None and end is None:
        yield from _remaining(replay)


def _remaining(replay: Replay) -> Iterator[Difference]:
    """Compare what is left of each grant with its guarded column."""
    left = replay.remaining()
    for grant in CreditGrant.objects.filter(pk__in=left).order_by("pk"):
        if grant.remaining != left[grant.pk]:
            yield Difference(
                f"grant:{grant.pk}", "remaining", plain(grant.remaining), plain(left[grant.pk])
            )


def _quantities(windows: dict[int, UsageWindow], rated: list[RatedFact]) -> Iterator[Difference]:
    """Compare sums and counts with what was rated of them, unless they changed since."""
    quantities: dict[int, Decimal] = defaultdict(Decimal)
    revisions: dict[int, int] = {}
    for fact in rated:
        quantities[fact.window.id] += fact.quantity
        revisions[fact.window.id] = max(revisions.get(fact.window.id, 0), fact.window.revision)
    for pk, quantity in quantities.items():
        window = windows.get(pk)
        if window is None or window.revision > revisions[pk] or window.quantity == quantity:
            continue
        yield Difference(f"window:{pk}", "quantity rated", plain(quantity), plain(window.quantity))


def _rates(
    windows: dict[int, UsageWindow], rated: list[RatedFact], rules: Rulebook
) -> Iterator[Difference]:
    """Look up again which rate prices each window: the first one, for its corrections too.

    What was rated before the last approval may have been rated by what stood then: it is only
    compared with the window's first row.
    """
    decided = PolicyChange.objects.filter(kind__in=_RULES, status=PolicyStatus.APPROVED)
    last = decided.aggregate(last=Max("decided_at"))["last"]
    first: dict[int, int] = {}
    for fact in rated:
        window = windows.get(fact.window.id)
        if window is None:
            continue
        stored, wanted = fact.window.rate_id, first.get(window.pk)
        if wanted is None and (last is None or fact.rated_at > last + _CLOCKS_APART):
            rate = rules.rate_of(window)
            wanted = rate.pk if rate else 0
        first.setdefault(window.pk, stored)
        if wanted is not None and wanted != stored:
            yield Difference(fact.key, "rate", str(stored), str(wanted or "none"))


def _instant_of(fact: RatedFact | EntryFact | ClawBackFact) -> datetime:
    if isinstance(fact, RatedFact):
        return fact.window.start_at
    return fact.effective_at if isinstance(fact, EntryFact) else fact.recorded_at


def _rows(
    fact: RatedFact | EntryFact | ClawBackFact,
) -> Iterator[RatedFact | EntryFact | ClawBackFact]:
    yield fact
    if isinstance(fact, RatedFact):
        yield from fact.entries
        for cover in fact.covers:
            yield from _rows(cover)


def _lies_in(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= at) and (end is None or at < end)
