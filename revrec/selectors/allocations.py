"""Contracts whose price is allocated: their content, and which of them hold."""

from collections.abc import Iterable, Sequence

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, PolicyStatus
from billing_project.kernel.quantity import plain
from revrec.models import AllocatedShare, ContractAllocation, EntrySource
from revrec.selectors.facts import accounted
from revrec.sources import SourceType

ALLOCATION = "contract_allocation"
UNDONE = "undone"  # Role of an allocation that a later change of its contract ended.
register_kind(
    Kind(
        ALLOCATION, "Allocation of a contract", is_rule=False,
        consequence="The books divide the price of these invoice lines by what each would cost"
        " alone, and catch up what was earned of them. What customers owe stays as it is.",
    )
)  # fmt: skip


def content_of_allocation(
    allocation: ContractAllocation, shares: Iterable[AllocatedShare]
) -> dict[str, object]:
    """Return the whole version as plain values."""
    return {
        "customer": allocation.customer.external_id,
        "currency": allocation.currency,
        "shares": [
            {
                "line": f"{share.invoice_line.invoice.number}/{share.invoice_line.position}",
                "ssp": plain(share.ssp),
                "allocated_minor": share.allocated_minor,
            }
            for share in shares
        ],
        "evidence": allocation.evidence,
    }


@content_of(ALLOCATION)
def _content(change: PolicyChange) -> dict[str, object]:
    found = ContractAllocation.objects.select_related("customer").get(policy_change=change)
    return content_of_allocation(found, shares_of(found))


def shares_of(allocation: ContractAllocation) -> Sequence[AllocatedShare]:
    """Return the shares of a contract, in their order."""
    return list(allocation.shares.select_related("invoice_line__invoice").order_by("id"))


def standing_shares() -> QuerySet[AllocatedShare]:
    """Return the shares that the books hold: of contracts in them that nothing ended since."""
    ended = EntrySource.objects.filter(
        source_type=SourceType.CONTRACT_ALLOCATION.value,
        source_id=OuterRef("allocation_id"),
        role=UNDONE,
    )
    in_books = EntrySource.objects.filter(
        source_type=SourceType.CONTRACT_ALLOCATION.value,
        source_id=OuterRef("allocation_id"),
        entry__isnull=False,
    )
    return AllocatedShare.objects.filter(
        accounted(SourceType.CONTRACT_ALLOCATION, "allocation_id"), Exists(in_books), ~Exists(ended)
    )


def held_shares() -> QuerySet[AllocatedShare]:
    """Return the shares that hold their lines: of contracts that stand, or that wait.

    What ended, or never began, holds no line.
    """
    return AllocatedShare.objects.filter(
        ~accounted(SourceType.CONTRACT_ALLOCATION, "allocation_id")
        | Q(pk__in=standing_shares().values("pk")),
        allocation__policy_change__status__in=(PolicyStatus.SUBMITTED, PolicyStatus.APPROVED),
    )


def shift_of(invoice_line_id: int | None) -> int:
    """Return what a line's promise holds beyond what the line claims, by its contract."""
    if invoice_line_id is None:
        return 0
    shares = standing_shares().filter(invoice_line=invoice_line_id)
    shift = shares.aggregate(sum=Sum("allocated_minor") - Sum("invoice_line__amount_minor"))
    return shift["sum"] or 0
