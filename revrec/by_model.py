"""Which model earned what: the worth of a day's use, cut by the models that were used.

Pure. Credits used of each model come in, amounts in minor units go out; they sum to what all of the
use is worth, because each is a difference of one cumulative figure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

Part = tuple[str | None, int]  # A model, or None where usage names none; minor units.


def used_by_model(uses: Iterable[tuple[str | None, Decimal]]) -> dict[str | None, Decimal]:
    """Sum credits by model; a text without content names none."""
    sums: dict[str | None, Decimal] = defaultdict(Decimal)
    for model, credit_count in uses:
        sums[model or None] += credit_count
    return dict(sums)


def cut_by_model(
    used: Decimal, uses: Mapping[str | None, Decimal], worth: Callable[[Decimal], int]
) -> tuple[Part, ...]:
    """Cut what further use is worth: model by model, in the order of their names.

    At 0.01 a credit, after 0.6 credits: 0.8 of "a" and 1.2 of "b" are worth 0.00 and 0.02, because
    1.4 credits settle to 0.01, as 0.6 did, and 2.6 to 0.03.

    Args:
        used: Credits that were used before.
        uses: Credits used since, by model; negative where usage was corrected.
        worth: What so many used credits are worth in all, in minor units.

    Returns:
        What each model's use is worth, without those that are worth nothing. Each is less than one
        minor unit off its exact share.
    """
    parts = []
    before = worth(used)
    for model in sorted(uses, key=lambda name: name or ""):
        used += uses[model]
        after = worth(used)
        if after != before:
            parts.append((model, after - before))
        before = after
    return tuple(parts)
