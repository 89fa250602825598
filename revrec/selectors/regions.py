"""Where the customer of a posting was when it was recorded: what was reported stays as it was.

A customer's country may change, and its history is append-only: it keeps what was known when.
"""

from django.db.models import Case, CharField, Count, F, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce

from metering.models import Customer
from revrec.models import Posting


def with_region(postings: QuerySet[Posting]) -> QuerySet[Posting]:
    """Add `region`: a country, "" where it was not known, or None without a customer.

    Only of customers who ever moved is the history asked.
    """
    history = Customer.history.model.objects
    moved = history.values("id").annotate(seen=Count("country", distinct=True)).filter(seen__gt=1)
    of_customer = history.filter(id=OuterRef("customer_id")).values("country")
    then = of_customer.filter(history_date__lte=OuterRef("entry__recorded_at"))
    region = Case(
        When(
            customer_id__in=moved.order_by().values("id"),
            then=Coalesce(
                Subquery(then.order_by("-history_date", "-history_id")[:1]),
                Subquery(of_customer.order_by("history_date", "history_id")[:1]),
            ),
        ),
        default=F("customer__country"),
        output_field=CharField(),
    )
    return postings.annotate(region=region)
