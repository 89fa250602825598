"""The report of what is promised and still to be earned, by when it will be."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from django.db.models import Sum

from invoicing.selectors.commitments import RunningCommit, running_commits
from revrec.disclosures import Exemptions, Remaining, in_bands, is_short, not_invoiced
from revrec.models import AccountingPeriod, ObligationKind, Posting
from revrec.posting import Account
from revrec.reporting import Drill, Figure, Row, Table, amount_text
from revrec.schedule import day_of
from revrec.selectors.disclosures import exemptions_of
from revrec.selectors.tables.ledger import REVENUE_CODES, before
from revrec.selectors.tables.promises import (
    STREAM_OF_KIND,
    PromiseState,
    grouped,
    liability_of,
    promise_states,
)
from revrec.selectors.zone import books_zone, end_of

RPO_BANDS = ("up_to_12_months", "13_to_24_months", "over_24_months")
_COMMITMENTS = "Commitments not invoiced"
# Promises that lines of a kind belong to.
_COUNTS = {
    "overage": (ObligationKind.OVERAGE,),
    "outcome": (ObligationKind.OUTCOME,),
    "recurring": (ObligationKind.FEE, ObligationKind.ARREARS),
    "seat": (ObligationKind.FEE, ObligationKind.ARREARS),
    "one_off": (ObligationKind.FEE, ObligationKind.ARREARS),
}


def remaining_obligations(period: AccountingPeriod) -> Table:
    """Divide what is still to be earned into bands of time.

    Fees are earned evenly by day until their end, credits until they expire; credits that never
    expire are expected to be used within a year. Of a commitment whose term runs, what is neither
    earned nor invoiced is fixed, and so a promise; it falls evenly on the days that are left. What
    the policy in force exempts is left out, and said so.
    """
    exemptions, states = exemptions_of(period), promise_states(period)
    kept = [state for state in states if not _is_exempt(state, exemptions)]
    rows = list(_promised(kept, period))
    rows += _expected_breakage(period, kept)
    rows += _committed(period, exemptions)
    notes = (
        "Usage beyond what was bought is an option of the customer and no promise."
        " Fees that are not invoiced yet are left out where the customer can end the contract.",
        *exemptions.paragraphs(),
        *_left_out([state for state in states if _is_exempt(state, exemptions)]),
    )
    return Table(("stream",), (*RPO_BANDS, "total"), rows, notes)


def _is_exempt(state: PromiseState, exemptions: Exemptions) -> bool:
    return exemptions.short and is_short(state.start_on or state.sold_on, state.end_on)


def _promised(states: Iterable[PromiseState], period: AccountingPeriod) -> Iterator[Row]:
    for (currency, stream), promises in grouped(
        states, lambda p: STREAM_OF_KIND.get(p.kind, p.kind)
    ):
        remaining = [Remaining(p.closing_minor, p.start_on, p.end_on) for p in promises]
        yield _row(stream, currency, remaining, period, liability_of(promises, period))


def _row(
    stream: str, currency: str, remaining: Iterable[Remaining], period: AccountingPeriod,
    drill: Drill | None = None,
) -> Row:  # fmt: skip
    bands = in_bands(remaining, period.end_on)
    figures = dict(zip(RPO_BANDS, map(Figure, bands), strict=True))
    return Row({"stream": stream}, currency, {**figures, "total": Figure(sum(bands), drill)})


def _expected_breakage(period: AccountingPeriod, kept: Iterable[PromiseState]) -> Iterator[Row]:
    """Take off what is recognised of credits that nobody will use, where they are not exempt."""
    found = (
        Posting.objects.filter(account=Account.EXPECTED_BREAKAGE.value, **before(period.end_on))
        .values_list("currency")
        .annotate(total=Sum("amount_minor"))
        .exclude(total=0)
        .order_by("currency")
    )
    carried = {p.currency for p in kept if p.kind == ObligationKind.CREDITS and p.closing_minor}
    for currency, total_minor in found:
        if currency not in carried:
            continue
        where = {
            "account_id": Account.EXPECTED_BREAKAGE.value, "currency": currency,
            **before(period.end_on),
        }  # fmt: skip
        first = Figure(-int(total_minor), Drill(where, -1))
        figures = {RPO_BANDS[0]: first, **dict.fromkeys(RPO_BANDS[1:], Figure(0)), "total": first}
        yield Row({"stream": "Expected breakage"}, currency, figures)


@dataclass(frozen=True)
class _Left:
    currency: str
    remaining: Remaining


def _committed(period: AccountingPeriod, exemptions: Exemptions) -> Iterator[Row]:
    """List what running commitments leave to be earned that is not in the liabilities."""
    by_currency: dict[str, list[Remaining]] = defaultdict(list)
    for commit in running_commits(end_of(period)):
        left = _left_of(commit, period.end_on)
        began_on = left.remaining.start_on or period.end_on
        is_exempt = exemptions.short and is_short(began_on, left.remaining.end_on)
        if left.remaining.amount_minor and not is_exempt:
            by_currency[left.currency].append(left.remaining)
    for currency, remaining in sorted(by_currency.items()):
        yield _row(_COMMITMENTS, currency, remaining, period)


def _left_of(commit: RunningCommit, as_of: date) -> _Left:
    kinds = {kind.value for name in commit.kinds for kind in _COUNTS.get(name, ())}
    posted = Posting.objects.filter(
        obligation__billing_period__in=commit.period_ids,
        obligation__kind__in=kinds,
        account__in=[Account.FEES_LIABILITY.value, *REVENUE_CODES],
        **before(as_of),
    )
    counted = -(posted.aggregate(sum=Sum("amount_minor"))["sum"] or 0)
    minor = not_invoiced(commit.minimum.amount_minor, counted)
    zone = books_zone()
    began_on, ends_on = day_of(commit.start_at, zone), day_of(commit.end_at, zone)
    return _Left(commit.minimum.currency, Remaining(minor, began_on, ends_on))


def _left_out(exempt: Iterable[PromiseState]) -> Iterator[str]:
    sums: dict[str, int] = defaultdict(int)
    for state in exempt:
        sums[state.currency] += state.closing_minor
    said = [f"{amount_text(minor, currency)} {currency}" for currency, minor in sorted(sums.items())
            if minor]  # fmt: skip
    if said:
        yield f"Left out so: {', '.join(said)}."
