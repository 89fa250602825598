"""Contracts that changed: their content, and which promise took over what was left of another."""

from collections.abc import Iterable, Sequence

from django.db.models import QuerySet

from billing_project.kernel.approvals import content_of
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange
from revrec.models import (
    ContractModification,
    EntrySource,
    ModifiedLine,
    PerformanceObligation,
    Posting,
)
from revrec.posting import Account
from revrec.sources import SourceType

MODIFICATION = "contract_modification"
register_kind(
    Kind(
        MODIFICATION, "Modification of a contract", is_rule=False,
        consequence="The books treat the change as it says: what is left of the old lines joins the"
        " new ones, or is caught up at once, or stays apart. What customers owe stays as it is.",
    )
)  # fmt: skip


def content_of_modification(
    change: ContractModification, lines: Iterable[ModifiedLine]
) -> dict[str, object]:
    """Return the whole version as plain values."""
    rows = list(lines)

    def named(*, is_added: bool) -> list[str]:
        return [
            f"{row.invoice_line.invoice.number}/{row.invoice_line.position}"
            for row in rows
            if row.is_added == is_added
        ]

    return {
        "customer": change.customer.external_id,
        "treatment": str(change.treatment),
        "adds_distinct": change.adds_distinct,
        "at_ssp": change.at_ssp,
        "rest_is_distinct": change.rest_is_distinct,
        "before": named(is_added=False),
        "added": named(is_added=True),
        "evidence": change.evidence,
    }


@content_of(MODIFICATION)
def _content(change: PolicyChange) -> dict[str, object]:
    found = ContractModification.objects.select_related("customer").get(policy_change=change)
    return content_of_modification(found, lines_of(found))


def lines_of(change: ContractModification) -> Sequence[ModifiedLine]:
    """Return the lines of a change, in their order."""
    return list(change.lines.select_related("invoice_line__invoice").order_by("id"))


def heir_of(obligation: PerformanceObligation) -> PerformanceObligation | None:
    """Return the promise that took over what was left of one when its contract changed, if any."""
    last = moved(obligation).filter(amount_minor__gt=0).order_by("-entry_id").first()
    return None if last is None else taker_of(last)


def took_over(obligation: PerformanceObligation) -> bool:
    """Tell whether a promise took over what was left of others when its contract changed."""
    return moved(obligation).filter(amount_minor__lt=0).exists()


def moved(obligation: PerformanceObligation) -> QuerySet[Posting]:
    """List what changes of contracts moved in and out of a promise."""
    entries = EntrySource.objects.filter(
        source_type=SourceType.CONTRACT_MODIFICATION.value, entry__isnull=False
    )
    return Posting.objects.filter(
        entry__in=entries.values("entry"), obligation=obligation,
        account=Account.FEES_LIABILITY.value,
    )  # fmt: skip


def taker_of(given: Posting) -> PerformanceObligation:
    """Return the promise that took over what a posting handed on."""
    taken = Posting.objects.filter(
        entry=given.entry_id, account=Account.FEES_LIABILITY.value, amount_minor__lt=0
    )
    return PerformanceObligation.objects.get(pk=taken.values("obligation")[:1])
