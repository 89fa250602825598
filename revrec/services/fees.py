"""Account for fees: a service day is earned once it has ended."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from itertools import groupby
from operator import attrgetter

from revrec.models import ObligationKind, PerformanceObligation, RevenueScheduleLine
from revrec.posting import About, EntryKind, Lines, arrears_fee_earned, fee_earned, joined
from revrec.selectors.facts import due_schedule_lines
from revrec.services.drafts import Run, about
from revrec.services.journal import EntryDraft, note_nothing_to_post, post_entries
from revrec.sources import Source, SourceType


def recognise_fees(run: Run, before: date) -> int:
    """Post Dr 2120 Cr 4000 for every service day before a date; return the entries posted.

    One entry holds all fees that a customer earned us on one day.
    """
    due = due_schedule_lines(before).filter(schedule__obligation__customer=run.customer_id)
    lines = list(due)
    note_nothing_to_post(
        sources=[
            Source(SourceType.SCHEDULE_LINE, line.pk) for line in lines if not line.amount_minor
        ]
    )
    earned = [line for line in lines if line.amount_minor]
    _follow(earned)
    drafts = [
        _draft(run, service_on, list(of_day))
        for service_on, of_day in groupby(earned, key=attrgetter("service_on"))
    ]
    return len(post_entries(drafts=drafts, by=run.by, at=run.at))


def _follow(lines: Sequence[RevenueScheduleLine]) -> None:
    """Let each fee's promise follow what was earned of it."""
    earned: dict[int, int] = defaultdict(int)
    for line in lines:
        earned[line.schedule.obligation_id] += line.amount_minor
    obligations = list(PerformanceObligation.objects.filter(pk__in=earned))
    for obligation in obligations:
        obligation.recognised_minor += earned[obligation.pk]
    PerformanceObligation.objects.bulk_update(obligations, ["recognised_minor"])


def _draft(run: Run, service_on: date, lines: Sequence[RevenueScheduleLine]) -> EntryDraft:
    last = max(line.pk for line in lines)
    return EntryDraft(
        wanted_on=service_on,
        kind=EntryKind.FEES_EARNED,
        description=f"Fees earned on {service_on}",
        customer_id=run.customer_id,
        lines=joined(
            _earned(line)(line.amount_minor, about(line.schedule.obligation, service_on))
            for line in lines
        ),
        source_key=f"customer:{run.customer_id}:fees:{service_on}:through:{last}",
        sources=tuple(Source(SourceType.SCHEDULE_LINE, line.pk) for line in lines),
    )


def _earned(line: RevenueScheduleLine) -> Callable[[int, About], Lines]:
    """Choose the rule: a fee in advance was owed before, one in arrears is billed afterwards."""
    if line.schedule.obligation.kind == ObligationKind.ARREARS:
        return arrears_fee_earned
    return fee_earned
