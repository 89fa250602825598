"""Rated usage on its way to an invoice: what was claimed, what waits, what was claimed too much.

The overage of a period is claimed after the period's end, in one invoice; usage rated later goes
to a further one. Where later corrections outweigh what waits, nothing is claimed: the period shows
in `overcharged_periods` until a credit note or more usage evens it out. What a note evened out does
not count as claimed any more, and is claimed again with later usage (see `invoicing.claims`). A
period without overage gets no invoice at its end, unless the policy asks for one that states its
credits (`selectors.covered`); `credits_used` states them whenever somebody asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import DecimalField, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from credits.models import BillingPeriod, RatedUsage
from invoicing.claims import Claim, Evened, even_out, overcharge, worth
from invoicing.lines import Line, OveragePrice, UsageShare, credits_used_lines, overage_line
from invoicing.models import (
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    LineKind,
    LineUsage,
)
from invoicing.selectors.advance import coming_lines
from invoicing.selectors.arrears import arrears_lines, periods_in_arrears
from invoicing.selectors.entities import entity_id_of
from invoicing.selectors.markets import known_tax
from invoicing.selectors.plans import plan_version_of, subscription_of
from invoicing.tax import taxed_as
from metering.models import Customer

NOT_CLAIMING = (InvoiceStatus.DRAFT, InvoiceStatus.VOID)  # Not yet, and not any more.
_CREDITS: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=38, decimal_places=12)

# What `_issued_lines` and the notes on them come to, as text: each invoice asks it.
_SUMS = """
SELECT (SELECT coalesce(sum(overage), 0) FROM rated_usage WHERE billing_period_id = %(period)s),
       coalesce(sum(l.quantity), 0) - coalesce(sum(n.credits), 0),
       coalesce(sum(l.amount_minor), 0), coalesce(sum(n.evened), 0), coalesce(sum(n.minor), 0)
  FROM invoice_line l
  JOIN invoice i ON i.id = l.invoice_id AND i.status NOT IN ('draft', 'void')
  LEFT JOIN LATERAL (
       SELECT sum(t.evened_credits) AS credits, sum(t.evened_minor) AS evened,
              sum(t.amount_minor) AS minor
         FROM credit_note_line t
        WHERE t.invoice_line_id = l.id
          AND NOT EXISTS (SELECT FROM credit_note_void v WHERE v.credit_note_id = t.credit_note_id)
       ) n ON true
 WHERE l.billing_period_id = %(period)s AND l.kind = 'overage'
"""
_ON_NO_LINE = """
SELECT count(*), coalesce(sum(r.overage), 0) FROM rated_usage r
 WHERE r.billing_period_id = %s AND r.overage <> 0
   AND NOT EXISTS (SELECT FROM line_usage u
                    WHERE u.rated_usage_id = r.id AND u.kind = 'overage' AND NOT u.is_void)
"""


@dataclass(frozen=True)
class OnNoLine:
    """Overage of a period that stands behind no line, drafts included."""

    count: int  # Rows of rated usage.
    credits: Decimal


@dataclass(frozen=True)
class OverageState:
    """How far the overage of one period is claimed: rated == invoiced + unbilled, in credits."""

    billing_period: BillingPeriod
    price: OveragePrice
    rated: Decimal
    claim: Claim

    @property
    def invoiced(self) -> Decimal:
        """Credits on issued invoices, less what notes evened out."""
        return self.claim.credits

    @property
    def invoiced_minor(self) -> int:
        """Money that issued invoices claim for them."""
        return self.claim.minor

    @property
    def unbilled(self) -> Decimal:
        """Credits on no issued invoice; negative where too much was claimed."""
        return self.rated - self.invoiced

    @property
    def unbilled_minor(self) -> int:
        """Money still to claim for the period, settled over the whole of it."""
        return worth(self.rated, self.price) - self.invoiced_minor

    @property
    def overcharged_minor(self) -> int:
        """Money claimed beyond what was used: what a credit note evens out first."""
        return overcharge(self.claim, self.rated, self.price)

    def even_out(self, amount_minor: int) -> Evened:
        """Return the part of a note of so much that takes back an overcharge."""
        return even_out(self.claim, self.rated, self.price, amount_minor)

    def next_line(self) -> Line | None:
        """Return the line that would claim what is unbilled, or None if nothing is."""
        if self.unbilled <= 0:
            return None
        return overage_line(self.price, self.unbilled, self.invoiced, self.invoiced_minor)


@dataclass(frozen=True)
class Preview:
    """What would be claimed for a period if it ended now; nothing of it is stored."""

    billing_period: BillingPeriod
    currency: str
    lines: tuple[Line, ...]
    total_minor: int  # With the tax.
    tax_minor: int
    coming: tuple[Line, ...] = ()  # What the next period will claim when it begins.

    @property
    def coming_minor(self) -> int:
        """What that comes to, before tax that the prices do not have in them."""
        return sum(line.amount_minor for line in self.coming)


def overage_state(billing_period: BillingPeriod) -> OverageState:
    """Sum a period's overage, what issued invoices claimed of it and what notes took back."""
    version = plan_version_of(billing_period)
    unit = version.rate_card.pricing_unit.code
    price = OveragePrice(unit, version.overage_price_unrounded, version.currency)
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, {"period": billing_period.pk})
        rated, credits_, claimed, evened, taken = cursor.fetchone()
    claim = Claim(credits_, minor=int(claimed - evened), conceded_minor=int(taken - evened))
    return OverageState(billing_period, price, rated, claim)


def claimed_by(draft: Invoice) -> Decimal:
    """Sum the credits that a draft claims as overage."""
    lines = (line for line in draft.lines.all() if line.kind == LineKind.OVERAGE)
    return sum((line.quantity for line in lines), Decimal(0))


def overage_on_no_line(billing_period: BillingPeriod) -> OnNoLine:
    """Count and sum what `uninvoiced` lists of a period's overage."""
    with connection.cursor() as cursor:
        cursor.execute(_ON_NO_LINE, [billing_period.pk])
        return OnNoLine(*cursor.fetchone())


def uninvoiced(billing_period: BillingPeriod, kind: LineKind) -> QuerySet[RatedUsage]:
    """List a period's rated usage that stands behind no line of a kind, drafts included."""
    rows = RatedUsage.objects.filter(billing_period=billing_period)
    if kind == LineKind.OVERAGE:
        rows = rows.exclude(overage=0)
    return rows.filter(~_linked(kind)).order_by("id")


def periods_to_invoice(at: datetime) -> QuerySet[BillingPeriod]:
    """List periods that ended by `at` and have overage or items to claim, the oldest first.

    A period whose corrections outweigh what waits is not listed, however long it stays so.
    """
    waiting = RatedUsage.objects.filter(
        ~_linked(LineKind.OVERAGE), billing_period=OuterRef("pk")
    ).exclude(overage=0)
    ended = sold_periods().filter(Exists(waiting), end_at__lte=at)
    # The sums are only worth their cost for the few periods with something on no line.
    few = sold_periods().filter(pk__in=list(ended.values_list("pk", flat=True)))
    unbilled = few.alias(unbilled=unbilled_credits()).filter(unbilled__gt=0)
    ids = set(unbilled.values_list("pk", flat=True))
    return sold_periods().filter(pk__in=ids | set(periods_in_arrears(at)))


def unbilled_overage(customer: Customer | None = None) -> list[OverageState]:
    """List periods, running ones too, with overage that no issued invoice claims."""
    return [state for state in _unsettled_states(customer) if state.unbilled > 0]


def overcharged_periods(customer: Customer | None = None) -> list[OverageState]:
    """List periods that are claimed beyond what was used: candidates for a credit note."""
    return [state for state in _unsettled_states(customer) if state.overcharged_minor]


def credits_used(rows: QuerySet[RatedUsage]) -> list[UsageShare]:
    """Sum the credits of rated usage by meter and dimensions, drawn or not."""
    groups = (
        rows.order_by()
        .values("window__meter_id", "window__meter__name", "window__dimensions_key")
        .annotate(used=Sum("charge"), dimensions=F("window__dimensions"))
    )
    return [_share(group) for group in groups]


def preview(billing_period: BillingPeriod) -> Preview:
    """Show the lines that would claim a period if it ended now, and all credits it used."""
    state = overage_state(billing_period)
    shares = credits_used(RatedUsage.objects.filter(billing_period=billing_period))
    claim = state.next_line()
    owed = arrears_lines(billing_period, claim)
    lines = [*([claim] if claim else []), *owed, *credits_used_lines(state.price.unit, shares)]
    currency, customer = state.price.currency, billing_period.customer
    known = known_tax(customer, currency, billing_period.end_at, entity_id_of(customer))
    parts = [taxed_as(line.kind.value, line.amount_minor, known) for line in lines]
    tax = sum(part.tax_minor for part in parts)
    total = sum(part.net_minor for part in parts) + tax
    coming = coming_lines(billing_period, subscription_of(billing_period))
    return Preview(billing_period, currency, tuple(lines), total, tax, tuple(coming))


def _issued_lines() -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(kind=LineKind.OVERAGE).exclude(
        invoice__status__in=NOT_CLAIMING
    )


def unbilled_credits() -> Combinable:
    """Sum a period's `OverageState.unbilled` inside the database."""
    rated = RatedUsage.objects.exclude(overage=0).filter(billing_period=OuterRef("pk"))
    lines = _issued_lines().filter(billing_period=OuterRef("pk"))
    notes = CreditNoteLine.objects.filter(
        invoice_line__kind=LineKind.OVERAGE,
        invoice_line__billing_period=OuterRef("pk"),
        credit_note__void=None,
    )
    evened = _sum(notes, "evened_credits", "invoice_line__billing_period")
    return _sum(rated, "overage") - _sum(lines, "quantity") + evened


def _sum(rows: QuerySet[Any], column: str, by: str = "billing_period") -> Coalesce:
    sums = rows.order_by().values(by).annotate(sum=Sum(column)).values("sum")
    return Coalesce(Subquery(sums), Decimal(0), output_field=_CREDITS)


def _linked(kind: LineKind) -> Exists:
    return Exists(LineUsage.objects.filter(rated_usage=OuterRef("pk"), kind=kind, is_void=False))


def _unsettled_states(customer: Customer | None) -> list[OverageState]:
    """Sum up the periods that have overage rows on no issued line."""
    issued = LineUsage.objects.filter(rated_usage=OuterRef("pk"), kind=LineKind.OVERAGE).exclude(
        line__invoice__status__in=NOT_CLAIMING
    )
    rows = RatedUsage.objects.exclude(overage=0).filter(~Exists(issued))
    if customer is not None:
        rows = rows.filter(customer=customer)
    ids = rows.order_by().values_list("billing_period_id", flat=True).distinct()
    return [overage_state(period) for period in sold_periods().filter(pk__in=list(ids))]


def unstated() -> Q:
    """Say which rated usage no line states, drafts included."""
    return Q(~_linked(LineKind.CREDITS_USED))


def sold_periods() -> QuerySet[BillingPeriod]:
    """List the periods that subscriptions opened: only they have a price."""
    return (
        BillingPeriod.objects.filter(source_key__startswith="subscription:")
        .select_related("customer")
        .order_by("end_at", "id")
    )


def _share(group: Mapping[str, Any]) -> UsageShare:
    dimensions = tuple(sorted((name, str(value)) for name, value in group["dimensions"].items()))
    key = f"used:{group['window__meter_id']}:{group['window__dimensions_key'][:16]}"
    return UsageShare(key, group["window__meter__name"], dimensions, group["used"])
