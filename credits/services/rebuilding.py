"""Rate and pay a customer's usage again, from nothing, in the order in which it became known.

The windows are there; of what was rated before only the order is believed: when a window was looked
at, and by how much it had grown until then. The last look at each takes what the window says.
Charges, who pays, what is overage, what comes back and what covers are worked out by the services
that rate every day. Rows get the ids of those that they stand for, so that what refers to them
still does; see `credits.replay` for the same on the side, by the rules alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from billing_project.kernel.models import User
from credits.models import BillingPeriod, LedgerTransaction, RatedUsage
from credits.replay_facts import ClawBackFact, EntryFact, RatedFact
from credits.selectors.facts import Earlier, Rulebook
from credits.services.burning import Burner, Pages
from credits.services.pricing import Pricer, rated_before
from credits.services.wallets import wallets_of
from metering.aggregation import ADDITIVE
from metering.models import UsageWindow

Fact = RatedFact | EntryFact | ClawBackFact
Place = tuple[int, int]  # Id and position.

_DRAW_POSITION = "SELECT nextval('credit_fact_position')"
_ZERO = Decimal(0)


@dataclass
class Names:
    """Which id and position each row had, by its source key; and whether each was made again."""

    usage: Mapping[str, Place]
    entries: Mapping[str, Place]
    unknown: list[str] = field(default_factory=list)

    def place(self, rows: Sequence[RatedUsage | LedgerTransaction]) -> None:
        """Give rows their ids and positions; what was never recorded gets new ones."""
        for row in rows:
            places = self.usage if isinstance(row, RatedUsage) else self.entries
            known = places.get(row.source_key)
            if known is None:
                self.unknown.append(row.source_key)
                row.position = _new_position()
            else:
                row.pk, row.position = known


@dataclass(frozen=True)
class Run:
    """Windows that were rated at once, and by how much each had grown; None: look at it."""

    at: datetime
    steps: Mapping[int, Decimal | None]  # By window.
    revisions: Mapping[int, int]


@transaction.atomic
def rate_again(*, run: Run, rules: Rulebook, names: Names, by: User) -> int:
    """Rate the windows of one run of a customer; return the rows of rated usage."""
    found = UsageWindow.objects.in_bulk(run.steps)
    windows = [found[pk] for pk in run.steps if pk in found]
    if not windows:
        return 0
    for window in windows:
        window.revision = run.revisions[window.pk]
    pages = _ToldPages(names)
    since = min(window.start_at for window in windows)
    wallet = wallets_of([rules.customer_id], since)[rules.customer_id]
    before = rated_before(windows, {rules.customer_id: rules})
    burner = Burner(rules, wallet, pages, by=by, at=run.at)
    _ToldPricer(rules, before, burner, run.at, steps=run.steps).rate_all(windows)
    return pages.write()


def in_runs(facts: Sequence[Fact], rules: Rulebook) -> Iterator[Run | Fact]:
    """Gather usage that was rated at once, between what people and time did; see `Run`."""
    looked_at = _last_looks(facts, rules)
    run: list[RatedFact] = []
    for fact in facts:
        is_usage = isinstance(fact, RatedFact) and not fact.is_of_note
        if run and not (is_usage and _goes_on(run, fact)):
            yield _run(run, looked_at)
            run = []
        if is_usage:
            assert isinstance(fact, RatedFact)
            run.append(fact)
        else:
            yield fact
    if run:
        yield _run(run, looked_at)


def _goes_on(run: Sequence[RatedFact], fact: Fact) -> bool:
    """Tell whether a fact may be of the same run: at the same time, and of another window."""
    if not isinstance(fact, RatedFact) or fact.rated_at != run[0].rated_at:
        return False
    return all(fact.window.id != one.window.id for one in run)


def _run(run: Sequence[RatedFact], looked_at: set[str]) -> Run:
    return Run(
        run[0].rated_at,
        {one.window.id: None if one.key in looked_at else one.quantity for one in run},
        {one.window.id: one.window.revision for one in run},
    )


def _last_looks(facts: Sequence[Fact], rules: Rulebook) -> set[str]:
    """Name the last row of each window, or of each group with one quantity a period.

    Only where nothing changed since: what was not rated yet is not in its rows.
    """
    usage = [fact for fact in facts if isinstance(fact, RatedFact) and not fact.is_of_note]
    windows = UsageWindow.objects.filter(customer_id=rules.customer_id)
    kept = {pk: (meter, key, revision) for pk, meter, key, revision in windows.values_list(
        "pk", "meter_id", "dimensions_key", "revision")}  # fmt: skip
    last: dict[object, RatedFact] = {}
    revisions: dict[int, int] = {}
    for fact in usage:
        meter, dimensions, _ = kept.get(fact.window.id, (0, "", 0))
        is_alone = meter not in rules.meters or rules.meters[meter].aggregation in ADDITIVE
        group = (fact.period_id, meter, fact.use.workspace_id, dimensions)
        last[fact.window.id if is_alone else group] = fact
        revisions[fact.window.id] = fact.window.revision
    stale = {
        kept[pk][0] for pk, revision in revisions.items() if pk in kept and kept[pk][2] != revision
    }
    return {
        fact.key
        for fact in last.values()
        if fact.window.id in kept and kept[fact.window.id][0] not in stale
    }


class _ToldPricer(Pricer):
    """Prices windows by how far they had grown when they were looked at."""

    def __init__(self, *args: Any, steps: Mapping[int, Decimal | None]) -> None:
        super().__init__(*args)
        self._steps = steps

    def _measure(
        self, window: UsageWindow, period: BillingPeriod
    ) -> tuple[Decimal, Earlier | None]:
        step = self._steps[window.pk]
        is_alone = window.meter.aggregation in ADDITIVE
        group = (period.pk, window.meter_id, window.workspace_id, window.dimensions_key)
        if step is None:
            self._group_quantity.pop(group, None)
            return super()._measure(window, period)
        earlier = self._of_window.get(window.pk) if is_alone else self._of_group.get(group)
        quantity = (earlier.quantity if earlier else _ZERO) + step
        if not is_alone:
            self._group_quantity[group] = quantity
        return quantity, earlier


class _ToldPages(Pages):
    """Writes rows under the ids of those that they stand for."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def write(self) -> int:
        """Write what is collected under the ids that are known."""
        self._names.place(self.usage)
        self._names.place(self.entries)
        return super().write()


def _new_position() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_DRAW_POSITION)
        position: int = cursor.fetchone()[0]
    return position
