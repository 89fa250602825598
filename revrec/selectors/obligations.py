"""How far a promise is kept, in its own measure."""

from decimal import Decimal
from itertools import pairwise

from django.db.models import F, Q, QuerySet, Sum

from billing_project.kernel.period import DAY
from credits.models import BillingPeriod, LedgerKind, LedgerTransaction
from credits.selectors.frozen import OF_DISPUTES
from invoicing.models import CreditNoteLine, LineKind
from revrec.basis import CostBasis
from revrec.crediting import Promise
from revrec.models import (
    EntrySource,
    GrantBasis,
    Granularity,
    ObligationKind,
    PerformanceObligation,
    RevenueSchedule,
    RevenueScheduleLine,
    UsedCredits,
)
from revrec.posting import Account
from revrec.selectors.allocations import shift_of
from revrec.selectors.facts import accounted, posted
from revrec.selectors.modifications import took_over
from revrec.sources import ROLES, SourceType

USES = (LedgerKind.DRAWN, LedgerKind.RETURNED)
ENDS = (LedgerKind.EXPIRED, LedgerKind.VOIDED, LedgerKind.REINSTATED)


def basis_of(obligation: PerformanceObligation) -> CostBasis:
    """Return what the credits of a promise cost; its grant must have been issued.

    The basis is the grant's own, at its inception, less what bonuses that came with it take, or as
    its contract allocates it; of a grant without a price it is the approved one. A later note
    lowers the promise's price, and so what may still be released, but not what used credits earned.
    """
    grant = obligation.grant
    assert grant is not None
    price_minor = grant.price_minor + _priced_since(grant.pk)
    price_minor += shift_of(obligation.invoice_line_id)
    return CostBasis(price_minor, grant.amount, bound_minor=obligation.price_minor)


def _priced_since(grant_id: int) -> int:
    """Return what approved bases gave a grant, less what it gave up to bonuses of its own."""
    bases = GrantBasis.objects.filter(
        Q(grant=grant_id) | Q(purchase=grant_id), posted(SourceType.GRANT_BASIS)
    )
    return sum(
        minor if given_to == grant_id else -minor
        for given_to, minor in bases.values_list("grant_id", "price_minor")
    )


def revenue_of_end(obligation: PerformanceObligation) -> Account:
    """Return where the end of unused credits is earned: of a commitment it is a shortfall."""
    is_commitment = obligation.kind == ObligationKind.COMMITMENT
    return Account.SHORTFALL_REVENUE if is_commitment else Account.BREAKAGE_REVENUE


def used_credits(obligation: PerformanceObligation) -> Decimal:
    """Return the credits of a promise that were used, as far as the books know.

    Those of grants linked to the promise's own are among them. Zero while no grant was issued.
    """
    return -_credits(obligation, USES)


def ended_credits(obligation: PerformanceObligation) -> Decimal:
    """Return the credits of a promise that expired or were voided, as far as the books know."""
    return -_credits(obligation, ENDS)


def used_so_far(obligation: PerformanceObligation) -> UsedCredits:
    """Return what is kept of `used_credits`; it is folded, and not saved, where nothing is kept."""
    kept = UsedCredits.objects.filter(obligation=obligation).first()
    return kept or UsedCredits(obligation=obligation, credits=used_credits(obligation))


def conceded_on(billing_period: BillingPeriod) -> int:
    """Return what notes in the books conceded on a period's overage, in minor units."""
    lines = CreditNoteLine.objects.filter(
        accounted(SourceType.CREDIT_NOTE, "credit_note_id"),
        ~accounted(SourceType.CREDIT_NOTE_VOID, "credit_note__void"),
        invoice_line__billing_period=billing_period,
        invoice_line__kind=LineKind.OVERAGE,
    )
    conceded = lines.aggregate(minor=Sum(F("amount_minor") - F("evened_minor")))
    return conceded["minor"] or 0


def progress_of(obligation: PerformanceObligation) -> Promise:
    """Return how far a promise is kept in its own measure, with its price."""
    if obligation.kind in (ObligationKind.FEE, ObligationKind.ARREARS):
        schedule = newest_schedule(obligation)
        done = Decimal(earned_days(obligation))
        whole = Decimal((schedule.end_on - schedule.start_on).days)
        if schedule.pattern == Granularity.MONTH:
            done, whole = _planned(obligation, schedule, obligation.schedules.earliest("revision"))
        elif (plan := _plan_of_change(obligation)) is not None:
            done, whole = _planned(obligation, schedule, plan)
    else:
        # An unpaid pack has no grant yet: nothing of it is done.
        done = used_so_far(obligation).credits
        whole = obligation.grant.amount if obligation.grant else Decimal(1)
    return Promise(obligation.price_minor, obligation.recognised_minor, done, whole)


def _planned(
    obligation: PerformanceObligation, newest: RevenueSchedule, plan: RevenueSchedule
) -> tuple[Decimal, Decimal]:
    """Return how much of a fee a plan has earned by now, of how much: its days differ.

    What was earned before the plan is what it has no days for.
    """
    next_on = newest.start_on + DAY * earned_days(obligation)
    before = plan.price_minor - _sum_of(plan.lines.all())
    done = before + _sum_of(plan.lines.filter(service_on__lt=next_on))
    return Decimal(done), Decimal(plan.price_minor)


def _plan_of_change(obligation: PerformanceObligation) -> RevenueSchedule | None:
    """Return the plan that a promise follows since its contract changed, if it took others over.

    Its days earn otherwise than those before; a plan that raises the price is one that others,
    of what notes take off, measure by.
    """
    if not took_over(obligation):
        return None
    plans = list(obligation.schedules.order_by("revision"))
    raised = [after for before, after in pairwise(plans) if after.price_minor > before.price_minor]
    return raised[-1] if raised else None


def _sum_of(lines: QuerySet[RevenueScheduleLine]) -> int:
    return lines.aggregate(sum=Sum("amount_minor"))["sum"] or 0


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


def _credits(obligation: PerformanceObligation, kinds: tuple[LedgerKind, ...]) -> Decimal:
    """Sum entries in the books of the promise's grant and of those linked to it, signed."""
    grant_id = obligation.grant_id
    if grant_id is None:
        return Decimal(0)
    entries = LedgerTransaction.objects.filter(
        accounted(SourceType.LEDGER_TRANSACTION),
        Q(grant=grant_id) | Q(grant__root=grant_id),
        kind__in=kinds,
    ).exclude(reason_code__in=OF_DISPUTES)
    return entries.aggregate(credits=Sum("credits"))["credits"] or Decimal(0)
