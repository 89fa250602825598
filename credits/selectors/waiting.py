"""Why a usage window was not rated yet, in words."""

from collections.abc import Iterable

from credits.models import Rate, RatedUsage
from credits.selectors.facts import Rulebook, is_group_rated
from credits.tariff import ChargeOutOfBounds
from metering.models import UsageWindow

NO_PERIOD = "no billing period covers it"
NO_BURN_ORDER = "no approved burn order governs it"
IS_NEXT = "waits to be rated"
TOO_LARGE = "its charge is larger than can be kept"
_NO_RATE = "no rate for "


def why_unrated(customer_id: int, windows: Iterable[UsageWindow]) -> list[str]:
    """Say why windows of one customer wait that were never rated; each reason once.

    Windows that changed since they were rated are left out: their first rate prices them.
    """
    of_event = list(windows)
    ids = [window.pk for window in of_event]
    rated = set(RatedUsage.objects.filter(window_id__in=ids).values_list("window_id", flat=True))
    waiting = [window for window in of_event if window.pk not in rated]
    if not waiting:
        return []
    rules = Rulebook(customer_id)
    return list(dict.fromkeys(_why(window, rules) for window in waiting))


def is_without_rate(words: str) -> bool:
    """Tell whether a reason is that no rate is approved: the usage waits, seen by its owners."""
    return words.startswith(_NO_RATE)


def _why(window: UsageWindow, rules: Rulebook) -> str:
    if rules.period_of(window.start_at) is None:
        return NO_PERIOD
    rate = rules.rate_of(window)
    if rate is None and is_group_rated(window, rules):
        return IS_NEXT
    if rate is None:
        return f"{_NO_RATE}{', '.join(_names(window, rules))}"
    if rules.policy_of(window.start_at) is None:
        return NO_BURN_ORDER
    return TOO_LARGE if _is_too_large(window, rate, rules) else IS_NEXT


def _is_too_large(window: UsageWindow, rate: Rate, rules: Rulebook) -> bool:
    """Tell whether the window alone is charged more than any ledger keeps."""
    try:
        rules.prices.tariff(rate).charge(window.quantity)
    except ChargeOutOfBounds:
        return True
    return False


def _names(window: UsageWindow, rules: Rulebook) -> list[str]:
    dimensions = (f"{name} {value}" for name, value in sorted(window.dimensions.items()))
    return [rules.meters[window.meter_id].code, *dimensions]
