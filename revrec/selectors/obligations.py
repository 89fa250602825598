"""How far a promise is kept, in its own measure."""

from decimal import Decimal

from django.db.models import Sum

from credits.models import LedgerKind, LedgerTransaction
from revrec.basis import CostBasis
from revrec.models import EntrySource, PerformanceObligation, RevenueSchedule, RevenueScheduleLine
from revrec.selectors.facts import accounted
from revrec.sources import ROLES, SourceType

USES = (LedgerKind.DRAWN, LedgerKind.RETURNED)


def basis_of(obligation: PerformanceObligation) -> CostBasis:
    """Return what the credits of a promise cost; its grant must have been issued."""
    assert obligation.grant is not None
    return CostBasis(obligation.price_minor, obligation.grant.amount)


def used_credits(obligation: PerformanceObligation) -> Decimal:
    """Return the credits of a promise's grant that were used, as far as the books know.

    Zero while no grant was issued for it.
    """
    uses = LedgerTransaction.objects.filter(
        accounted(SourceType.LEDGER_TRANSACTION),
        grant__isnull=False,
        grant=obligation.grant_id,
        kind__in=USES,
    )
    return -(uses.aggregate(credits=Sum("credits"))["credits"] or Decimal(0))


def newest_schedule(obligation: PerformanceObligation) -> RevenueSchedule:
    """Return the revision by which a fee is earned now."""
    return obligation.schedules.latest("revision")


def earned_days(obligation: PerformanceObligation) -> int:
    """Return the number of service days of a fee that are earned; each is earned once."""
    lines = RevenueScheduleLine.objects.filter(schedule__obligation=obligation)
    return EntrySource.objects.filter(
        source_type=SourceType.SCHEDULE_LINE.value,
        role=ROLES[SourceType.SCHEDULE_LINE],
        source_id__in=lines.values("pk"),
    ).count()
