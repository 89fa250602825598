"""Where the books disagree with approved contracts, worked out from their own terms."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from django.db.models import Sum

from billing_project.kernel.models import PolicyStatus
from invoicing.models import PREPAID, InvoiceStatus, LineKind
from revrec.allocation import Part, allocate_price
from revrec.models import AllocatedShare, ContractAllocation, EntrySource, GrantBasis, Posting
from revrec.posting import Account, EntryKind
from revrec.selectors.allocations import ALLOCATION, UNDONE, shares_of
from revrec.selectors.facts import PATIENCE, accounted, unaccounted_allocations, waiting_customers
from revrec.selectors.tieouts import Mismatch
from revrec.sources import SourceType

CHANGES = (
    EntryKind.CREDIT_NOTE_ISSUED.value,
    EntryKind.INVOICE_VOIDED.value,
    EntryKind.WRITTEN_OFF.value,
    EntryKind.DISPUTE_LOST.value,
    EntryKind.CONTRACT_MODIFIED.value,
)
_LIABILITIES = (Account.CREDITS_LIABILITY.value, Account.FEES_LIABILITY.value)


def untied_allocations(at: datetime) -> Iterator[Mismatch]:
    """Divide each contract's price again, and compare with what its promises took and gave back.

    Args:
        at: Now; approved contracts that wait for too long by then are listed, too.
    """
    known = ContractAllocation.objects.filter(accounted(SourceType.CONTRACT_ALLOCATION))
    waiting = set(waiting_customers(at))
    for contract in known.select_related("policy_change").order_by("pk"):
        shares = shares_of(contract)
        subject = f"{ALLOCATION}:{contract.pk}"
        sources = _entries(contract)
        expected = _expected(contract, shares, is_silent=sources.get("promised") is None)
        found = _moved(sources.get("promised"), shares)
        if expected != found:
            yield Mismatch(subject, str(expected), str(found))
        back = _moved(sources.get(UNDONE), shares)
        if sources.get(UNDONE) is not None and back != [-minor for minor in found]:
            yield Mismatch(subject, f"{found} given back", str(back))
        if _outlives(contract, shares, sources) and contract.customer_id not in waiting:
            yield Mismatch(subject, "ended with what was taken off its lines", "stands")
    for contract in unaccounted_allocations(at - PATIENCE).filter(
        policy_change__decided_at__lt=at - PATIENCE
    ):
        yield Mismatch(f"{ALLOCATION}:{contract.pk}", "in the books", "not accounted for")


def _expected(
    contract: ContractAllocation, shares: Sequence[AllocatedShare], *, is_silent: bool
) -> list[int]:
    """Return what each promise takes; nothing where it was no longer whole when it was approved."""
    nothing = [0] * len(shares)
    if contract.policy_change.status != PolicyStatus.APPROVED:
        return nothing
    if is_silent and any(map(_was_changed, shares)):
        return nothing
    claimed = [share.invoice_line.amount_minor for share in shares]
    prices = allocate_price(sum(claimed), [Part(share.ssp) for share in shares])
    return [price - minor for price, minor in zip(prices, claimed, strict=True)]


def _was_changed(share: AllocatedShare) -> bool:
    """Tell whether something came off a line beside its contract."""
    line = share.invoice_line
    bonus = GrantBasis.objects.filter(purchase__source_key=f"invoice_line:{line.pk}:pack")
    changed = Posting.objects.filter(invoice_line=line, entry__kind__in=CHANGES)
    return bonus.exists() or changed.exists()


def _outlives(
    contract: ContractAllocation,
    shares: Sequence[AllocatedShare],
    sources: Mapping[str, int | None],
) -> bool:
    """Tell whether a contract stands although a line of it is gone.

    It may where what a line took cannot go back: it was given up, or went on in a changed contract.
    """
    if sources.get("promised") is None or UNDONE in sources:
        return False
    lines = [share.invoice_line for share in shares]
    gone = any(
        line.invoice.status == InvoiceStatus.VOID
        or (line.credited_minor and LineKind(line.kind) in PREPAID)
        or line.credited_minor == line.amount_minor
        for line in lines
    )
    given_up = Posting.objects.filter(
        invoice_line__in=[line.pk for line in lines],
        entry__kind__in=["written_off", "dispute_lost", "contract_modified"],
    )
    return gone and not given_up.exists()


def _entries(contract: ContractAllocation) -> dict[str, int | None]:
    rows = EntrySource.objects.filter(
        source_type=SourceType.CONTRACT_ALLOCATION.value, source_id=contract.pk
    )
    return dict(rows.values_list("role", "entry_id"))


def _moved(entry_id: int | None, shares: Sequence[AllocatedShare]) -> list[int]:
    """Return what an entry added to the liability of each line's promise."""
    rows = Posting.objects.filter(entry=entry_id, account__in=_LIABILITIES)
    sums = dict(
        rows.order_by().values_list("obligation__invoice_line").annotate(Sum("amount_minor"))
    )
    return [-sums.get(share.invoice_line_id, 0) for share in shares]
