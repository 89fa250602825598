"""What a connection holds for a while: a name that nobody else holds, or one state to read on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import Error, OperationalError, connection, transaction

AGAIN = {"40P01", "40001"}  # Deadlock; serialization failure: nothing was written.


def is_to_repeat(error: Exception) -> bool:
    """Tell whether a transaction failed only because of what others did at the same time."""
    return (
        isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) in AGAIN
    )


@contextmanager
def held(name: str) -> Iterator[bool]:
    """Hold a name as long as the block lasts, or the connection; yield whether it was free.

    It spares double work and no more: what must not be done twice is guarded by rows.
    """
    key = [name]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", key)
        is_ours: bool = cursor.fetchone()[0]
    try:
        yield is_ours
    finally:
        if is_ours and connection.connection is not None:
            with suppress(Error), connection.cursor() as cursor:  # Gone, so is the lock.
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


def wait_for(name: str) -> None:
    """Wait until nobody else holds a name, and hold it until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


@contextmanager
def one_state() -> Iterator[None]:
    """Read from one snapshot and refuse writes, unless a transaction is open already."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def kept_from_one_state() -> Iterator[None]:
    """Read from one snapshot and write what was read, unless a transaction is open already."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
