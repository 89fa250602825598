"""Which contract a posting belongs to: the subscription behind its line, its promise or its period.

It follows from what the posting names already, and so from what its entry's hash covers. What was
sold beside a subscription, such as a pack, belongs to none.
"""

from django.db.models import BigIntegerField, Case, F, Func, QuerySet, Value, When
from django.db.models.functions import Cast, Coalesce

from revrec.models import Posting

_OF_PERIOD = "obligation__billing_period__source_key"


def with_contract(postings: QuerySet[Posting]) -> QuerySet[Posting]:
    """Add `contract` to postings: the subscription's number, or None."""
    return postings.annotate(contract=contract_number())


def contract_number() -> Coalesce:
    """Return the number of the subscription that a posting belongs to, as an expression."""
    number = Func(F(_OF_PERIOD), Value(":"), Value(2), function="split_part")
    of_period = Case(
        When(
            **{f"{_OF_PERIOD}__startswith": "subscription:"},
            then=Cast(number, BigIntegerField()),
        )
    )
    return Coalesce(
        "invoice_line__invoice__subscription",
        "obligation__invoice_line__invoice__subscription",
        of_period,
        output_field=BigIntegerField(),
    )
