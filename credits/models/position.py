"""One order for all facts of a customer's credits, whichever table they are in."""

from django.db import models
from django.db.models import Func, Value


def position_field() -> "models.BigIntegerField[int, int]":
    """Return a column that PostgreSQL numbers from the sequence that all such tables share.

    Facts are written under their customer's lock, so that a customer's positions ascend in the
    order in which the facts became known.
    """
    return models.BigIntegerField(
        db_default=Func(Value("credit_fact_position"), function="nextval"), editable=False
    )
