"""When a mail is tried again, when nobody tries any more, and what it says.

Mail servers are away for minutes, now and then for a day; an address that a server refuses for
good stays refused. The waits add up to three and a half days.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

WAITS = (
    *(timedelta(minutes=n) for n in (1, 5, 15, 60)),
    *(timedelta(hours=n) for n in (6, 24, 24, 24)),
)
MOST_TRIES = len(WAITS) + 1
_REFUSED_FOR_GOOD = range(500, 600)  # SMTP replies: 4xx asks for another try, 5xx for none.


def next_try(attempts: int, at: datetime) -> datetime | None:
    """Return when a mail is tried again that failed `attempts` times, the last time at `at`.

    Worked example: after the first failure in a minute, after the second one in five; after the
    ninth never (None).
    """
    return at + WAITS[attempts - 1] if 0 < attempts <= len(WAITS) else None


def is_refused_for_good(replies: list[int]) -> bool:
    """Tell whether every reply of a server to an address was a permanent refusal."""
    return bool(replies) and all(reply in _REFUSED_FOR_GOOD for reply in replies)


@dataclass(frozen=True)
class Said:
    """What a mail says about an invoice; amounts and days are written out already."""

    customer: str
    number: str
    issued: str
    total: str
    open: str
    due: str
    is_paid: bool
    url: str
    seller: str


def subject(said: Said) -> str:
    """Write the subject; names are made one line, because a header is one."""
    return " ".join(f"Invoice {said.number} from {said.seller}".split())


def text(said: Said) -> str:
    """Write the mail."""
    owed = "Nothing is left to pay." if said.is_paid else f"{said.open} is due by {said.due}."
    return (
        f"Dear {' '.join(said.customer.split())},\n\n"
        f"here is invoice {said.number} of {said.issued} over {said.total}. {owed}\n\n"
        "See its lines, what was paid and what was credited:\n"
        f"{said.url}\n\n"
        "The document is attached.\n\n"
        f"{said.seller}\n"
    )
