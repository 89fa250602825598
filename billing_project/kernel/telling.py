"""Tell people by mail what they have to know, once."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from django.core.mail import send_mail
from django.db.models import Model, QuerySet

from billing_project.kernel.sessions import held

log = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)


def tell_once(
    *,
    name: str,
    untold: QuerySet[Row],
    people: Sequence[str],
    subject: str,
    text: Callable[[Sequence[Row]], str],
    at: datetime,
) -> None:
    """Mail what nobody was told yet; it is told once the mail is out, however one ends before.

    Call it outside a transaction: it waits for the network. A mail that fails is left to the next
    call.

    Args:
        name: Keeps others from telling the same at the same time.
        untold: Rows by their keys, without `told_at`, which is set when they are told.
        people: Addresses; without any nothing is told.
        text: Writes the mail about the rows.
    """
    if not people:
        return
    with held(name) as is_ours:
        rows = list(untold) if is_ours else []
        if not rows:
            return
        try:
            send_mail(subject, text(rows), None, people)
        except OSError as error:  # Refused, unreachable, timed out; smtplib's errors are OSErrors.
            log.error("alert not sent", extra={"reason": str(error)})
            return
        untold.update(told_at=at)
