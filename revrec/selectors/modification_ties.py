"""Where the books disagree with approved changes of contracts, by the order of entries."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import QuerySet, Sum

from billing_project.kernel.models import PolicyStatus
from revrec.models import ContractModification, EntrySource, JournalEntry, Posting
from revrec.modification import Treatment
from revrec.posting import Account
from revrec.selectors.facts import PATIENCE, accounted, unaccounted_modifications
from revrec.selectors.modifications import MODIFICATION, lines_of
from revrec.selectors.tieouts import Mismatch
from revrec.sources import SourceType

_OWED = Account.FEES_LIABILITY.value


def untied_modifications(at: datetime) -> Iterator[Mismatch]:
    """Compare what each change moved with what its promises deferred until then.

    Args:
        at: Now; approved changes that wait for too long by then are listed, too.
    """
    known = ContractModification.objects.filter(accounted(SourceType.CONTRACT_MODIFICATION))
    for change in known.select_related("policy_change").order_by("pk"):
        subject = f"{MODIFICATION}:{change.pk}"
        source = EntrySource.objects.select_related("entry").get(
            source_type=SourceType.CONTRACT_MODIFICATION.value, source_id=change.pk
        )
        if source.entry is None:
            continue
        if change.policy_change.status != PolicyStatus.APPROVED or (
            change.treatment == Treatment.SEPARATE.value
        ):
            yield Mismatch(subject, "nothing moved", f"journal_entry:{source.entry_id}")
        yield from _of_entry(subject, change, source.entry)
    for change in unaccounted_modifications(at - PATIENCE).filter(
        policy_change__decided_at__lt=at - PATIENCE
    ):
        yield Mismatch(f"{MODIFICATION}:{change.pk}", "in the books", "not accounted for")


def _of_entry(
    subject: str, change: ContractModification, entry: JournalEntry
) -> Iterator[Mismatch]:
    """Of all lines but one, all that was deferred moves to that one."""
    lines = [row.invoice_line_id for row in lines_of(change)]
    moved = _sums(Posting.objects.filter(entry=entry, account=_OWED), lines)
    before = _sums(
        Posting.objects.filter(
            account=_OWED, entry_id__lt=entry.pk,  # A customer's entries, over all chains.
            obligation__invoice_line__in=lines,
        ),
        lines,
    )  # fmt: skip
    into = [line for line in lines if moved[line] < 0]
    expected = {line: 0 if line in into else -before[line] for line in lines}
    found = {line: 0 if line in into else moved[line] for line in lines}
    total: int = sum(moved.values())
    if len(into) != 1 or total or expected != found:
        yield Mismatch(subject, f"moved {list(expected.values())}", str(list(moved.values())))


def _sums(postings: QuerySet[Posting], lines: list[int]) -> dict[int, int]:
    rows = postings.order_by().values_list("obligation__invoice_line")
    sums: dict[int, int] = dict(rows.annotate(Sum("amount_minor")))
    return {line: sums.get(line, 0) for line in lines}
