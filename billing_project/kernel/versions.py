"""The numbers of versions: 1, 2, 3 ... within what they are versions of."""

from typing import Any, cast

from django.db.models import Max, QuerySet


def next_number(versions: QuerySet[Any]) -> int:
    """Return the number that follows the highest of these rows; 1 where there are none.

    Of two who ask at once both get the same: the caller holds a lock, such as `sessions.wait_for`.
    """
    return cast(int, versions.aggregate(last=Max("number"))["last"] or 0) + 1
