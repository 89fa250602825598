"""The checklist of a close: what must be so before a month is closed, and what is said of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from django.db.models import Exists, OuterRef

from billing_project.kernel.models import (
    ChainStep,
    PolicyChange,
    PolicyStatus,
    StepFunction,
    StepOwner,
    User,
)
from credits.selectors import unrated_windows
from invoicing.models import Invoice, InvoiceLine, InvoiceStatus
from metering.models import EventBatch
from metering.selectors.quarantine import groups
from revrec.models import AccountingPeriod, CloseException, PeriodStatus
from revrec.selectors import tieouts
from revrec.selectors.estimates import BREAKAGE, VARIABLE
from revrec.selectors.facts import customers_to_recognise
from revrec.selectors.losses import LOSS
from revrec.selectors.revaluing import closing_day, missing_rates
from revrec.selectors.tieouts import Mismatch
from revrec.selectors.zone import end_of

ESTIMATES = (BREAKAGE, VARIABLE, LOSS)  # Kinds of changes that a close waits for.
_COUNTED = 1_000  # Past that it says "more than".
_NAMED = 3


@dataclass(frozen=True)
class Item:
    """One line of the checklist.

    Attributes:
        step: Whose owner may sign an exception; None: nobody can.
        says: What is missing, as a sentence; nothing where all is well.
        exception: What covers it.
    """

    code: str
    title: str
    step: ChainStep | None
    says: str
    exception: CloseException | None = None

    @property
    def is_met(self) -> bool:
        """Tell whether it keeps the month open no longer."""
        return not self.says or self.exception is not None


Look = Callable[[AccountingPeriod, datetime], str]


def close_checklist(period: AccountingPeriod, at: datetime) -> list[Item]:
    """Look at everything that a close asks for, as it is now."""
    signed: Mapping[tuple[str, str], CloseException] = {
        (row.item, row.says): row
        for row in CloseException.objects.filter(period=period).select_related("signed_by")
    }
    items = []
    for code, title, step, look in _ITEMS:
        says = look(period, at)[:500]
        items.append(Item(code, title, step, says, signed.get((code, says)) if says else None))
    return items


def owners_of(step: ChainStep, at: datetime) -> list[User]:
    """List the people who answer for a step at an instant, for any function."""
    rows = StepOwner.objects.filter(step=step, since_at__lte=at).select_related("person")
    newest: dict[str, User] = {}
    for row in rows.order_by("-id"):
        newest.setdefault(row.function, row.person)
    return [newest[function] for function in StepFunction.values if function in newest]


def _ended(period: AccountingPeriod, at: datetime) -> str:
    return "" if at >= end_of(period) else f"{period} has not ended"


def _earlier(period: AccountingPeriod, at: datetime) -> str:
    earlier = (
        AccountingPeriod.objects.exclude(status=PeriodStatus.CLOSED)
        .filter(start_on__lt=period.start_on)
        .first()
    )
    return f"{earlier} is open; months close in their order" if earlier else ""


def _lag(period: AccountingPeriod, at: datetime) -> str:
    waiting = EventBatch.objects.filter(
        aggregated_at__isnull=True, first_timestamp__lt=end_of(period)
    )
    return _counted(waiting.order_by().values("pk")[:_COUNTED].count(), "batch", "not aggregated")


def _quarantine(period: AccountingPeriod, at: datetime) -> str:
    """Everything that waits in quarantine has somebody who looks after it."""
    left = groups().filter(person__isnull=True).order_by("id")
    named = [
        f"{group.reason.replace('_', ' ')} {group.missing} ({group.event_count})".replace("  ", " ")
        for group in left[: _NAMED + 1]
    ]
    more = " and more" if len(named) > _NAMED else ""
    return f"nobody looks after {', '.join(named[:_NAMED])}{more}" if named else ""


def _rated(period: AccountingPeriod, at: datetime) -> str:
    windows = unrated_windows().filter(start_at__lt=end_of(period))
    waiting = windows.filter(is_in_period=True)  # type: ignore[misc]
    return _counted(waiting.order_by().values("pk")[:_COUNTED].count(), "usage window", "not rated")


def _drafts(period: AccountingPeriod, at: datetime) -> str:
    drafts = Invoice.objects.filter(  # One without lines claims nothing.
        Exists(InvoiceLine.objects.filter(invoice=OuterRef("pk"))),
        status=InvoiceStatus.DRAFT,
        service_start_at__lt=end_of(period),
    )
    return _counted(drafts.order_by().values("pk")[:_COUNTED].count(), "invoice", "a draft")


def _recognised(period: AccountingPeriod, at: datetime) -> str:
    waiting = len(customers_to_recognise(at, _COUNTED))
    return _counted(waiting, "customer", "not recognised")


def _tied(period: AccountingPeriod, at: datetime) -> str:
    found: Iterator[Mismatch] = chain(
        tieouts.unbalanced_currencies(),
        tieouts.untied_liabilities(),
        tieouts.untied_revenue(),
        tieouts.untied_unbilled(),
        tieouts.untied_receivables(),
        tieouts.untied_customer_balances(),
        tieouts.unexplained_rollforwards(period),
    )
    named = [f"{one.subject}: expected {one.expected}, found {one.found}"
             for one in islice(found, _NAMED)]  # fmt: skip
    return "; ".join(named)


def _estimates(period: AccountingPeriod, at: datetime) -> str:
    waiting = PolicyChange.objects.filter(
        kind__in=ESTIMATES,
        status=PolicyStatus.SUBMITTED,
        effective_at__lt=end_of(period),
    )
    return "; ".join(f"{change.title} waits for approval" for change in waiting[:_NAMED])


def _rates(period: AccountingPeriod, at: datetime) -> str:
    missing = list(missing_rates(period, at))
    if not missing:
        return ""
    return f"there is no rate of exchange of {', '.join(missing)} on {closing_day(period)}"


_ITEMS: Sequence[tuple[str, str, ChainStep | None, Look]] = (
    ("ended", "The month has ended", None, _ended),
    ("earlier", "Earlier months are closed", None, _earlier),
    ("lag", "All events are aggregated", ChainStep.AGGREGATE, _lag),
    ("quarantine", "Quarantine is reviewed", ChainStep.CAPTURE, _quarantine),
    ("rated", "All usage is rated", ChainStep.RATE, _rated),
    ("drafts", "No invoice of the month is a draft", ChainStep.INVOICE, _drafts),
    ("recognised", "All facts are in the books", None, _recognised),
    ("estimates", "Estimates are approved", ChainStep.RECOGNISE, _estimates),
    ("rates", "Rates of exchange are approved", None, _rates),
    ("ties", "Reconciliations tie", None, _tied),
)


def _counted(count: int, noun: str, state: str) -> str:
    if not count:
        return ""
    number = f"{count}" if count < _COUNTED else f"{_COUNTED} or more"
    plural = noun + ("es" if noun.endswith("ch") else "s")
    return f"1 {noun} is {state}" if count == 1 else f"{number} {plural} are {_plural(state)}"


def _plural(state: str) -> str:
    return state.removeprefix("a ") + "s" if state.startswith("a ") else state
