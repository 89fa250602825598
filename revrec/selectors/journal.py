"""Entries, what they account for, and what each is sealed over."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from django.db.models import Prefetch, QuerySet

from revrec.chain import GENESIS, Field, entry_sha256
from revrec.models import EntrySource, JournalEntry, Posting

# What the hash of a posting covers, in this order.
_SEALED_OF_POSTING = (
    "position",
    "account_id",
    "amount_minor",
    "currency",
    "customer_id",
    "obligation_id",
    "invoice_line_id",
    "service_start_on",
    "service_end_on",
)


def journal_entries(
    *,
    customer: str | None = None,
    period_start_on: date | None = None,
    account: str | None = None,
) -> QuerySet[JournalEntry]:
    """List entries with their postings.

    Args:
        customer: External id.
        period_start_on: First day of an accounting month.
        account: Code; entries with at least one posting on it.
    """
    postings = Prefetch("postings", Posting.objects.order_by("position"))
    entries = JournalEntry.objects.select_related("customer", "period").prefetch_related(postings)
    if customer is not None:
        entries = entries.filter(customer__external_id=customer)
    if period_start_on is not None:
        entries = entries.filter(period__start_on=period_start_on)
    if account is not None:
        entries = entries.filter(
            pk__in=Posting.objects.filter(account_id=account).values("entry_id")
        )
    return entries


def entries_of_source(source_type: str, source_id: int) -> QuerySet[JournalEntry]:
    """List the entries that account for a fact."""
    return JournalEntry.objects.filter(
        sources__source_type=source_type, sources__source_id=source_id
    ).distinct()


def sources_of_entry(entry: JournalEntry) -> QuerySet[EntrySource]:
    """List the facts that an entry accounts for."""
    return entry.sources.order_by("source_type", "source_id")


def chain_head() -> tuple[int, str]:
    """Return the position and hash of the last entry; call under the chain's lock to extend it."""
    head = (
        JournalEntry.objects.order_by("-chain_position")
        .values_list("chain_position", "entry_sha256")
        .first()
    )
    return head or (0, GENESIS)


def sealed_sha256(previous: str, entry: JournalEntry, postings: Iterable[Posting]) -> str:
    """Hash an entry and its postings as they stand."""
    return entry_sha256(previous, _entry_fields(entry), map(posting_fields, postings))


def posting_fields(posting: Posting) -> list[Field]:
    """Return what is sealed of a posting."""
    return [getattr(posting, name) for name in _SEALED_OF_POSTING]


def entries_in_chain_order(chunk_size: int = 2000) -> Iterator[tuple[JournalEntry, list[Posting]]]:
    """Walk the whole chain with each entry's postings by position."""
    entries = JournalEntry.objects.select_related("period").order_by("chain_position")
    chunk: list[JournalEntry] = []
    for entry in entries.iterator(chunk_size):
        chunk.append(entry)
        if len(chunk) == chunk_size:
            yield from _with_postings(chunk)
            chunk = []
    yield from _with_postings(chunk)


def _with_postings(
    entries: Sequence[JournalEntry],
) -> Iterator[tuple[JournalEntry, list[Posting]]]:
    postings: dict[int, list[Posting]] = {entry.pk: [] for entry in entries}
    for posting in Posting.objects.filter(entry__in=entries).order_by("entry", "position"):
        postings[posting.entry_id].append(posting)
    for entry in entries:
        yield entry, postings[entry.pk]


def _entry_fields(entry: JournalEntry) -> list[Field]:
    return [
        entry.chain_position,
        entry.period.start_on,
        entry.effective_on,
        entry.kind,
        entry.description,
        entry.customer_id,
        entry.posting_count,
        entry.reverses_id,
        entry.source_key,
        entry.recorded_at,
        entry.recorded_by_id,
    ]
