"""Post balanced entries to the general ledger, in bulk, once each, at the end of the hash chain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db import transaction

from billing_project.kernel.errors import IdempotencyConflict, Unbalanced
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from revrec.chain import Field
from revrec.models import EntrySource, JournalEntry, Posting
from revrec.posting import EntryKind, Lines, PostingLine, balanced
from revrec.selectors.journal import chain_head, posting_fields, sealed_sha256
from revrec.services.months import hold_open_books, periods_of
from revrec.sources import Source


@dataclass(frozen=True)
class EntryDraft:
    """An entry to be posted.

    `source_key` names the state that the entry brings about ("grant:7:used:tx:991"), so that the
    same step taken twice is one entry. `wanted_on` is the service day, or the day of the document.
    """

    wanted_on: date
    kind: EntryKind
    description: str
    customer_id: int | None
    lines: Lines
    source_key: str
    sources: tuple[Source, ...] = ()
    reverses_id: int | None = None


@transaction.atomic
def post_entries(*, drafts: Sequence[EntryDraft], by: User, at: datetime) -> list[JournalEntry]:
    """Append entries, each in its month or, if that is closed, in the first open one.

    Drafts that were posted before are skipped. Locks: open periods, then the head of the chain;
    everything that posts passes here one at a time.

    Returns:
        The entries that are new, in the order of the drafts.

    Raises:
        Unbalanced: a draft does not sum to zero, or moves nothing.
        IdempotencyConflict: a source key was posted with other content.
    """
    if not drafts:
        return []
    books = hold_open_books()
    _lock_chain_head()
    new = _without_posted(drafts)
    days = [books.effective_day(draft.wanted_on) for draft in new]
    periods = periods_of(days)
    postings = [_postings(draft) for draft in new]
    entries = [
        JournalEntry(
            period=periods[day],
            effective_on=day,
            kind=draft.kind.value,
            description=draft.description,
            customer_id=draft.customer_id,
            posting_count=len(of_entry),
            reverses_id=draft.reverses_id,
            source_key=draft.source_key,
            recorded_at=at,
            recorded_by=by,
        )
        for draft, day, of_entry in zip(new, days, postings, strict=True)
    ]
    _seal(entries, postings)
    _insert(new, entries, postings)
    return entries


def note_nothing_to_post(*, sources: Iterable[Source]) -> None:
    """Record that facts were looked at and move no money."""
    EntrySource.objects.bulk_create(_source(source, None) for source in sources)


def _lock_chain_head() -> None:
    wait_for("journal_chain")


def _without_posted(drafts: Sequence[EntryDraft]) -> list[EntryDraft]:
    """Leave out what stands in the journal already; a key stands for one content."""
    keys = [draft.source_key for draft in drafts]
    known = {
        entry.source_key: _content_of_entry(entry)
        for entry in JournalEntry.objects.filter(source_key__in=keys).prefetch_related("postings")
    }
    new = []
    for draft in drafts:
        content = _content_of_draft(draft)
        if known.setdefault(draft.source_key, content) is content:
            new.append(draft)
        elif known[draft.source_key] != content:
            raise IdempotencyConflict(f"{draft.source_key} was posted with other content")
    return new


def _content_of_draft(draft: EntryDraft) -> list[object]:
    postings: list[list[Field]] = [posting_fields(posting) for posting in _postings(draft)]
    return [draft.kind.value, draft.customer_id, postings]


def _content_of_entry(entry: JournalEntry) -> list[object]:
    postings = sorted(entry.postings.all(), key=lambda posting: posting.position)
    return [entry.kind, entry.customer_id, [posting_fields(posting) for posting in postings]]


def _postings(draft: EntryDraft) -> list[Posting]:
    lines = balanced(draft.lines)
    if not lines:
        raise Unbalanced(f"{draft.source_key} moves nothing; such facts have no entry")
    return [
        _posting(position, draft.customer_id, line) for position, line in enumerate(lines, start=1)
    ]


def _posting(position: int, customer_id: int | None, line: PostingLine) -> Posting:
    return Posting(
        position=position,
        account_id=line.account.value,
        amount_minor=line.amount_minor,
        currency=line.currency,
        customer_id=customer_id,
        obligation_id=line.about.obligation_id,
        invoice_line_id=line.about.invoice_line_id,
        service_start_on=line.about.service_start_on,
        service_end_on=line.about.service_end_on,
    )


def _seal(entries: Sequence[JournalEntry], postings: Sequence[list[Posting]]) -> None:
    """Give each entry its place in the chain and its hash."""
    position, previous = chain_head()
    for entry, of_entry in zip(entries, postings, strict=True):
        position += 1
        entry.chain_position, entry.previous_sha256 = position, previous
        entry.entry_sha256 = previous = sealed_sha256(previous, entry, of_entry)


def _insert(
    drafts: Sequence[EntryDraft],
    entries: Sequence[JournalEntry],
    postings: Sequence[list[Posting]],
) -> None:
    JournalEntry.objects.bulk_create(entries)
    for entry, of_entry in zip(entries, postings, strict=True):
        for posting in of_entry:
            posting.entry = entry
    Posting.objects.bulk_create(posting for of_entry in postings for posting in of_entry)
    EntrySource.objects.bulk_create(
        _source(source, entry)
        for draft, entry in zip(drafts, entries, strict=True)
        for source in draft.sources
    )


def _source(source: Source, entry: JournalEntry | None) -> EntrySource:
    return EntrySource(
        entry=entry, source_type=source.type.value, source_id=source.id, role=source.role
    )
