"""How a customer's usage is invoiced, and how overage divides over workspaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Exists, OuterRef, QuerySet, Sum

from credits.models import BillingPeriod, RatedUsage
from invoicing.lines import Kind, Line
from invoicing.models import InvoiceSplit, InvoiceStatus, LineKind, LineUsage, SplitBy
from invoicing.splitting import divided_over
from metering.models import Customer, Workspace


@dataclass(frozen=True)
class Part:
    """What one invoice of several would claim, net; None is the account's own."""

    workspace: str | None
    credits: Decimal  # Of overage.
    amount_minor: int


def split_of(customer: Customer) -> SplitBy:
    """Return what a customer wants now: one invoice, unless it was said otherwise."""
    told = InvoiceSplit.objects.filter(customer=customer).order_by("-id")
    found = told.values_list("split_by", flat=True).first()
    return SplitBy(found) if found else SplitBy.NOTHING


def overage_by_workspace(rated: QuerySet[RatedUsage]) -> dict[int | None, Decimal]:
    """Sum overage by workspace, in the order of their external ids."""
    rows = rated.order_by("window__workspace__external_id").values_list("window__workspace_id")
    return dict(rows.annotate(sum=Sum("overage")))


def parts_of(period: BillingPeriod, lines: Sequence[Line]) -> list[Part]:
    """Show into which invoices the coming lines of a period would be cut, the account's first."""
    claims = [line for line in lines if line.amount_minor]
    whole = next((line for line in claims if line.kind == Kind.OVERAGE), None)
    own = sum(line.amount_minor for line in claims if line is not whole)
    if whole is None or split_of(period.customer) != SplitBy.WORKSPACE:
        used = whole.quantity if whole else Decimal(0)
        return [Part(None, used, own + (whole.amount_minor if whole else 0))]
    shares = divided_over(whole, overage_by_workspace(_unissued(period)))
    names = dict(
        Workspace.objects.filter(customer=period.customer).values_list("pk", "external_id")
    )
    parts = {share.workspace_id: share.line for share in shares}
    mine = parts.pop(None, None)
    found = [
        Part(names[key], line.quantity, line.amount_minor)
        for key, line in parts.items()
        if key is not None
    ]
    if mine is None and not own:
        return found
    credits_, minor = (mine.quantity, mine.amount_minor) if mine else (Decimal(0), 0)
    return [Part(None, credits_, own + minor), *found]


def _unissued(period: BillingPeriod) -> QuerySet[RatedUsage]:
    issued = LineUsage.objects.filter(
        rated_usage=OuterRef("pk"), kind=LineKind.OVERAGE, is_void=False
    ).exclude(line__invoice__status=InvoiceStatus.DRAFT)
    rows = RatedUsage.objects.filter(billing_period=period).exclude(overage=0)
    return rows.filter(~Exists(issued))
