"""Divide what a period's overage claims over the workspaces that used it.

A line over a whole period and its credits by workspace go in; lines that sum to it come out. Money
was settled over the whole already: its parts are cut by credits, to the last minor unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from billing_project.kernel.money import allocate
from invoicing.lines import Line

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Share:
    """What one workspace claims of a line; None is the account itself."""

    workspace_id: int | None
    line: Line


def divided_over(whole: Line, used: Mapping[int | None, Decimal]) -> list[Share]:
    """Cut an overage line by workspace, the account's own share first.

    What the line claims beyond what was used now was credited before and is claimed again: the
    account's own. Where corrections of one workspace outweigh its usage, the line stays whole and
    the account's: no other workspace's claim is lowered for it.

    Args:
        used: Overage credits by workspace that stand behind the line, in the order of the shares.

    Returns:
        Shares of more than nothing; quantities and amounts sum to the line's.
    """
    beyond = whole.quantity - sum(used.values(), _ZERO)
    own = used.get(None, _ZERO) + beyond
    parts: dict[int | None, Decimal] = {None: own}
    parts.update((key, credits_) for key, credits_ in used.items() if key is not None)
    if min(parts.values()) < 0:
        return [Share(None, whole)]
    parts = {key: credits_ for key, credits_ in parts.items() if credits_}
    amounts = allocate(whole.amount_minor, list(parts.values()))
    return [
        Share(key, replace(whole, quantity=credits_, amount_minor=amount))
        for (key, credits_), amount in zip(parts.items(), amounts, strict=True)
    ]
