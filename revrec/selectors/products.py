"""Which product a posting is about: the plan, as it was sold for the days served, or the credits.

It follows from what the posting names already (line, promise, billing period), and so from what its
entry's hash covers: a line is issued for one plan, and a change of plan cuts its periods. Credits
that are sold by themselves are products of their own, whatever plan the customer has.
"""

from django.db.models import Case, CharField, F, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Concat

from invoicing.models import PREPAID, ChangeKind, LineKind, Subscription, SubscriptionChange
from revrec.models import Posting
from revrec.selectors.contracts import with_contract

_LINES = ("invoice_line", "obligation__invoice_line")


def with_product(postings: QuerySet[Posting]) -> QuerySet[Posting]:
    """Add `contract`, and `product`: a plan's code, "credit_pack:credit", or None."""
    sold_at = Coalesce(*_of_line("service_start_at"), "obligation__billing_period__start_at")
    kind, unit = Coalesce(*_of_line("kind")), Coalesce(*_of_line("unit"))
    told = with_contract(postings).annotate(_sold_at=sold_at, _line_kind=kind, _line_unit=unit)
    pack = Value(f"{LineKind.CREDIT_PACK.value}:")
    product = Case(
        When(_line_kind__in=PREPAID, then=Concat("_line_kind", Value(":"), "_line_unit")),
        When(contract__isnull=False, then=_plan_code()),
        When(
            obligation__grant__isnull=False,
            then=Concat(pack, "obligation__grant__pricing_unit__code"),
        ),
        output_field=CharField(),
    )
    return told.annotate(product=product)


def _plan_code() -> Coalesce:
    """Return the plan of the contract at the start of what was served, as an expression."""
    changes = SubscriptionChange.objects.filter(
        subscription=OuterRef("contract"),
        kind=ChangeKind.PLAN,
        undone_at=None,
        effective_at__lte=OuterRef("_sold_at"),
    ).order_by("-effective_at")
    sold = Subscription.objects.filter(pk=OuterRef("contract"))
    code = "plan_version__plan__code"
    return Coalesce(Subquery(changes.values(code)[:1]), Subquery(sold.values(code)[:1]))


def _of_line(name: str) -> tuple[F, ...]:
    return tuple(F(f"{line}__{name}") for line in _LINES)
