"""What goes wrong, on demand: each call draws from the faults that were asked for."""

import random
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """One way in which a call fails."""

    LOST_ANSWER = "lost_answer"  # Done, and the answer never arrives.
    LOST_REQUEST = "lost_request"  # Never arrives.
    ERROR = "error"  # 500 before anything was done; kept under the key and replayed.
    ERROR_AFTER = "error_after"  # 500 although it was done; kept under the key and replayed.
    UNAVAILABLE = "unavailable"  # 503: nothing done, nothing kept.
    TOO_MANY = "too_many"  # 429: nothing done, nothing kept.
    IN_USE = "in_use"  # 409: another call holds the lock or the key.


@dataclass
class Rule:
    """A fault for calls whose "METHOD path" matches, so often out of 100, so many times."""

    fault: Fault
    calls: re.Pattern[str]
    percent: int
    times: int | None


class Faults:
    """The rules that stand, and the dice."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._dice = random.Random(0)

    def ask(self, wanted: dict[str, Any]) -> None:
        """Set rules: {"seed": 1, "rules": [{"fault", "calls", "percent", "times"}]}."""
        self._dice = random.Random(wanted.get("seed", 0))
        self._rules = [
            Rule(
                Fault(rule["fault"]), re.compile(rule.get("calls", "POST /v1/")),
                rule.get("percent", 100), rule.get("times"),
            )
            for rule in wanted.get("rules", [])
        ]  # fmt: skip

    def draw(self, call: str) -> Fault | None:
        """Return what goes wrong with a call; None: nothing. Percentages of rules add up."""
        drawn = self._dice.randrange(100)
        for rule in self._rules:
            if not rule.calls.match(call) or rule.times == 0:
                continue
            drawn -= rule.percent
            if drawn < 0:
                if rule.times is not None:
                    rule.times -= 1
                return rule.fault
        return None
