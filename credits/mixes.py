"""What somebody might use: calls, tokens and how they are split in; tokens by model and day out.

A mix is a guess about one billing period. Tokens are whole, and every split sums to what was split.
Knows no rates, no customers and no money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from billing_project.kernel.money import allocate
from credits.supplier_prices import TokenKind

_MILLION, _HUNDRED = 1_000_000, Decimal(100)
_LARGEST = Decimal(10) ** 9  # MTok of a period: 10^15 tokens.
_MOST_CALLS, _MOST_MODELS, _MOST_DAYS = 10**12, 50, 366
_BURST_PART = 10  # A burst has half of the tokens in the last tenth of the days.


class Shape(StrEnum):
    """How a period's usage lies in it."""

    STEADY = "steady"
    BURST = "burst"


class BadMix(ValueError):
    """A mix says what nobody can use; with the `field` at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Mix:
    """Usage of one billing period.

    Attributes:
        megatokens: Millions of tokens, input and output together.
        output_percent: Of all tokens.
        cached_percent: Of the input tokens.
        models: Name and weight of each.
    """

    name: str
    calls: int
    megatokens: Decimal
    output_percent: Decimal
    cached_percent: Decimal
    models: tuple[tuple[str, Decimal], ...]
    shape: Shape = Shape.STEADY


@dataclass(frozen=True)
class ModelUse:
    """What one model does in a mix."""

    model: str
    calls: int
    tokens: tuple[tuple[TokenKind, int], ...]


def presets(models: tuple[tuple[str, Decimal], ...]) -> tuple[Mix, Mix, Mix]:
    """Return a low, a medium and a heavy mix; the heavy one ends in a burst."""

    def mix(name: str, calls: int, megatokens: int, shape: Shape = Shape.STEADY) -> Mix:
        return Mix(name, calls, Decimal(megatokens), Decimal(10), Decimal(30), models, shape)

    return (
        mix("low", 4_000, 10),
        mix("medium", 20_000, 50),
        mix("heavy", 120_000, 300, Shape.BURST),
    )


def refuse_bad_mix(mix: Mix) -> None:
    """Check that a mix can be used.

    Raises:
        BadMix: a share beyond 100 %, more tokens than there are, no model or one twice.
    """
    for name in ("output_percent", "cached_percent"):
        value = getattr(mix, name)
        if not value.is_finite() or not 0 <= value <= _HUNDRED:
            raise BadMix("a share is 0 to 100 percent", name)
    if not mix.megatokens.is_finite() or not 0 <= mix.megatokens <= _LARGEST:
        raise BadMix(f"a period has 0 to {_LARGEST:,} million tokens", "megatokens")
    if not 0 <= mix.calls <= _MOST_CALLS:
        raise BadMix(f"a period has 0 to {_MOST_CALLS:,} calls", "calls")
    names = [name for name, _ in mix.models]
    if not 0 < len(names) <= _MOST_MODELS or len(set(names)) < len(names) or "" in names:
        raise BadMix(f"name 1 to {_MOST_MODELS} models, each once", "models")
    if not all(w.is_finite() and 0 <= w < _LARGEST for _, w in mix.models) or not any(
        w for _, w in mix.models
    ):
        raise BadMix("weights are 0 or more, and not all 0", "models")


def uses_of(mix: Mix) -> list[ModelUse]:
    """Split a mix by model and token kind; the parts sum to its tokens and calls exactly.

    50 MTok, 10 % output, 30 % of the input cached: 5 MTok output, 13.5 cached, 31.5 input.
    """
    tokens = int(mix.megatokens * _MILLION)
    output, whole_input = allocate(tokens, [mix.output_percent, _HUNDRED - mix.output_percent])
    cached, fresh = allocate(whole_input, [mix.cached_percent, _HUNDRED - mix.cached_percent])
    weights = [weight for _, weight in mix.models]
    split = {
        TokenKind.INPUT: allocate(fresh, weights),
        TokenKind.CACHED_INPUT: allocate(cached, weights),
        TokenKind.OUTPUT: allocate(output, weights),
    }
    calls = allocate(mix.calls, weights)
    return [
        ModelUse(name, calls[i], tuple((kind, parts[i]) for kind, parts in split.items()))
        for i, (name, _) in enumerate(mix.models)
    ]


def so_far(total: int, days: int, shape: Shape) -> list[int]:
    """Return how much of a total is used by the end of each day; the last is all of it.

    Args:
        days: 1 to 366.
    """
    assert 0 < days <= _MOST_DAYS, "a period has days"
    reached, found = 0, []
    for part in allocate(total, day_weights(days, shape)):
        reached += part
        found.append(reached)
    return found


def day_weights(days: int, shape: Shape) -> Sequence[int]:
    """Weigh days: evenly, or half of all on the last tenth of them (at least one day).

    30 days, burst: 27 days of weight 3, 3 of weight 27: 81 and 81.
    """
    late = max(days // _BURST_PART, 1)
    if shape == Shape.STEADY or days == late:
        return [1] * days
    return [late] * (days - late) + [days - late] * late
