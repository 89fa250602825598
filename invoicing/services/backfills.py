"""Price a backfill before it is approved: credits and money of each billing period it reaches.

The trial run of metering is rated and compared with the books as they are; then all of it is taken
back. What is shown is therefore what the rates, grants and invoices make of it, not an estimate.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db.models import QuerySet, Sum

from billing_project.kernel.backoffice.display import money_text
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from credits.models import BillingPeriod, RatedUsage
from credits.services.rating import rate_customer
from invoicing.claims import worth
from invoicing.selectors import overage_state
from invoicing.services.closing import is_usage_closed
from metering.models import Backfill, BackfillProposal
from metering.services.backfilling import Tell, tell_nobody
from metering.services.backfills import propose_backfill
from metering.services.previewing import Preview, try_backfill

KEPT_QUANTITIES = 200  # Rows that a proposal carries; all of them are in the preview.


@dataclass(frozen=True)
class PeriodState:
    """What a billing period's usage comes to."""

    charge: Decimal
    drawn: Decimal
    overage: Decimal
    worth_minor: int
    overcharged_minor: int
    unbilled_minor: int


@dataclass(frozen=True)
class PeriodEffect:
    """What a backfill changes in one billing period."""

    name: str
    unit: str
    currency: str
    is_invoiced: bool
    before: PeriodState
    after: PeriodState

    @property
    def consequence(self) -> str:
        """Say where the difference goes."""
        too_much = self.after.overcharged_minor - self.before.overcharged_minor
        if too_much > 0:
            return f"a credit note over {money_text(too_much, self.currency)} is proposed"
        if not self.is_invoiced:
            return "on the period's invoice"
        if self.after.unbilled_minor > 0:
            return f"{money_text(self.after.unbilled_minor, self.currency)} on a further invoice"
        return "credits only"

    def as_content(self) -> dict[str, object]:
        """Return what a proposal keeps of it."""
        return {
            "period": self.name,
            "unit": self.unit,
            "currency": self.currency,
            "consequence": self.consequence,
            "charge_before": plain(self.before.charge),
            "charge_after": plain(self.after.charge),
            "drawn_before": plain(self.before.drawn),
            "drawn_after": plain(self.after.drawn),
            "overage_before": plain(self.before.overage),
            "overage_after": plain(self.after.overage),
            "overage_minor_before": self.before.worth_minor,
            "overage_minor_after": self.after.worth_minor,
        }


@dataclass(frozen=True)
class PricedPreview:
    """Quantities, credits and money that a backfill would change; nothing of it is stored."""

    backfill: Backfill
    quantities: Preview[dict[int, PeriodState]]
    periods: tuple[PeriodEffect, ...]

    def effect(self) -> dict[str, object]:
        """Return what a proposal carries."""
        counts = self.quantities.carried.counts
        changes = self.quantities.quantities
        return {
            "lines": self.quantities.line_count,
            "added": counts.add,
            "amended": counts.amend,
            "cancelled": counts.cancel,
            "reinstated": counts.reinstate,
            "kept": counts.keep,
            "money": [period.as_content() for period in self.periods],
            "quantity_count": len(changes),
            "quantities": [change.as_content() for change in changes[:KEPT_QUANTITIES]],
        }


def preview_backfill(
    *, backfill: Backfill, by: User, at: datetime, tell: Tell = tell_nobody
) -> PricedPreview:
    """Show what a backfill would change, in quantities, credits and money.

    Raises:
        Conflict: an identifier is stored elsewhere; no burn order is approved.
    """
    periods = list(_periods(backfill))
    measure = partial(_measure, backfill.customer_id, periods, by, at)
    tried = try_backfill(backfill=backfill, by=by, at=at, measure=measure, tell=tell)
    effects = (_effect(period, tried) for period in periods)
    return PricedPreview(backfill, tried, tuple(effects))


def submit_backfill(
    *, backfill: Backfill, by: User, at: datetime, tell: Tell = tell_nobody
) -> BackfillProposal:
    """Preview a backfill and put it, with the preview, before a finance approver.

    Raises:
        Conflict: what the preview or the proposal raises.
    """
    preview = preview_backfill(backfill=backfill, by=by, at=at, tell=tell)
    return propose_previewed(preview=preview, by=by, at=at)


def propose_previewed(*, preview: PricedPreview, by: User, at: datetime) -> BackfillProposal:
    """Put what a preview saw before a finance approver.

    Raises:
        Conflict: what the proposal raises.
    """
    return propose_backfill(
        backfill=preview.backfill,
        state_sha256=preview.quantities.carried.state_sha256,
        effect=preview.effect(),
        by=by,
        at=at,
    )


def _periods(backfill: Backfill) -> QuerySet[BillingPeriod]:
    return BillingPeriod.objects.filter(
        customer_id=backfill.customer_id,
        start_at__lt=backfill.end_at,
        end_at__gt=backfill.start_at,
        source_key__startswith="subscription:",
    ).order_by("start_at")


def _measure(
    customer_id: int, periods: list[BillingPeriod], by: User, at: datetime
) -> dict[int, PeriodState]:
    if periods:
        rate_customer(customer_id=customer_id, by=by, at=at)
    return {period.pk: _state(period) for period in periods}


def _state(period: BillingPeriod) -> PeriodState:
    sums = RatedUsage.objects.filter(billing_period=period).aggregate(
        charge=Sum("charge"), drawn=Sum("drawn"), overage=Sum("overage")
    )
    claimed = overage_state(period)
    return PeriodState(
        **{name: value or Decimal(0) for name, value in sums.items()},
        worth_minor=worth(claimed.rated, claimed.price),
        overcharged_minor=claimed.overcharged_minor,
        unbilled_minor=claimed.unbilled_minor,
    )


def _effect(period: BillingPeriod, tried: Preview[dict[int, PeriodState]]) -> PeriodEffect:
    price = overage_state(period).price
    return PeriodEffect(
        name=str(period),
        unit=price.unit,
        currency=price.currency,
        is_invoiced=is_usage_closed(period),
        before=tried.before[period.pk],
        after=tried.after[period.pk],
    )
