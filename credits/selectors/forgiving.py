"""What of rated usage could be given back to grants, and where it would go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain

from django.db.models import Max, QuerySet, Sum

from billing_project.kernel.errors import Insufficient
from billing_project.kernel.quantity import plain
from credits.drawdown import Part, newest_first
from credits.history import PeriodHistory, Stack
from credits.models import BillingPeriod, CreditGrant, RatedUsage
from credits.selectors.facts import Rulebook, history_of, stack_of, use_of
from credits.selectors.returning import Fate, fate_of

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Forgivable:
    """Draws that could be undone, and the newest rated usage of each stack that they are on.

    Attributes:
        most: Credits that may be given back: what grants still pay of this usage.
    """

    history: PeriodHistory
    newest: dict[Stack, RatedUsage]
    most: Decimal

    def parts_of(self, amount: Decimal) -> list[tuple[Stack, Sequence[Part]]]:
        """Take credits off the newest draws; return the grants of each stack.

        Raises:
            Insufficient: grants paid less than that.
        """
        if amount > self.most:
            raise Insufficient(f"grants paid {plain(self.most)} credits of it, not {plain(amount)}")
        taken: dict[Stack, Decimal] = dict.fromkeys(self.newest, _ZERO)
        left = amount
        for draw in self.history.draws_of(self.newest):
            part = min(left, draw.credits)
            taken[draw.stack] += part
            left -= part
            if not left:
                break
        return [
            (stack, newest_first(part, self.history.draws_at(stack)))
            for stack, part in taken.items()
            if part
        ]


@dataclass(frozen=True)
class GivenBack:
    """Credits that one grant would get back.

    Attributes:
        fate: Whether the grant itself takes them, a linked one, or nobody.
    """

    grant: CreditGrant
    credits: Decimal
    fate: Fate


def forgivable(
    period: BillingPeriod, history: PeriodHistory, rated: QuerySet[RatedUsage]
) -> Forgivable:
    """Find what grants paid of some rated usage of a period, corrections since then included.

    Args:
        rated: Rows of the period; all that was rated of their windows counts.
    """
    windows = rated.order_by().values("window_id")
    rows = RatedUsage.objects.filter(billing_period=period, window__in=windows).order_by()
    drawn = rows.aggregate(sum=Sum("drawn"))["sum"] or _ZERO
    last = rows.values("rate_id", "window__workspace_id").annotate(last=Max("pk"))
    newest: dict[Stack, RatedUsage] = {}
    found = RatedUsage.objects.filter(pk__in=[row["last"] for row in last])
    for row in found.select_related("window__meter", "rate").order_by("pk"):
        place = (row.window.workspace_id, row.window.meter.code)
        newest[stack_of(row.rate, use_of(row.service_at, period, place))] = row
    open_draws = sum((draw.credits for draw in history.draws_of(newest)), _ZERO)
    return Forgivable(history, newest, max(min(drawn, open_draws), _ZERO))


def credits_to_give_back(
    period: BillingPeriod, wanted: Sequence[tuple[QuerySet[RatedUsage], Decimal]], at: datetime
) -> list[list[GivenBack]]:
    """Show which grants would get so many credits back, one request after the other.

    Raises:
        Insufficient: grants paid less than that; the message says how much.
    """
    history = history_of(period, Rulebook(period.customer_id))
    shown = []
    for rated, amount in wanted:
        found = forgivable(period, history, rated).parts_of(amount)
        for stack, parts in found:
            for part in parts:
                history.add_draw(stack, part.grant_id, part.credits)
        shown.append(_by_grant(found, at))
    return shown


def credits_that_may_come_back(
    period: BillingPeriod, wanted: Sequence[tuple[QuerySet[RatedUsage], Decimal]], at: datetime
) -> list[list[GivenBack]]:
    """Show which grants would get so many credits back, or as many as they paid; each for itself.

    The windows of some usage may have been rated before it, too: what grants paid of them bounds
    what comes back, and so does the amount.
    """
    history = history_of(period, Rulebook(period.customer_id))
    found = [(forgivable(period, history, rated), amount) for rated, amount in wanted]
    return [_by_grant(some.parts_of(min(some.most, amount)), at) for some, amount in found]


def _by_grant(found: Iterable[tuple[Stack, Sequence[Part]]], at: datetime) -> list[GivenBack]:
    by_grant: dict[int, Decimal] = {}
    for part in chain.from_iterable(parts for _, parts in found):
        by_grant[part.grant_id] = by_grant.get(part.grant_id, _ZERO) + part.credits
    grants = CreditGrant.objects.select_related("root", "pricing_unit").in_bulk(by_grant)
    return [
        GivenBack(grants[pk], credits_, fate_of(grants[pk], at))
        for pk, credits_ in by_grant.items()
    ]
