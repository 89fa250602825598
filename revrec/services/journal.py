"""Post balanced entries to the general ledger, in bulk, once each, at the end of the hash chain.

Each legal entity has a chain of its own, so that what is posted for one waits for no other.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import connection, transaction

from billing_project.kernel.errors import IdempotencyConflict, Unbalanced
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from invoicing.models import MAIN_ENTITY
from revrec.chain import Field
from revrec.models import JournalEntry, Posting
from revrec.posting import Lines, PostingLine, balanced
from revrec.selectors.journal import (
    chain_head,
    entities_of_customers,
    own_fields,
    sealed_sha256,
)
from revrec.services.anchoring import refuse_older_state
from revrec.services.drafts import EntryDraft
from revrec.services.functional import Books
from revrec.services.months import hold_open_books, periods_of
from revrec.sources import Source

__all__ = ["EntryDraft", "lock_chain_head", "note_nothing_to_post", "post_entries"]

Whose = tuple[int | None, int]  # A customer, or nobody's of an entity.
_SOURCES = """
INSERT INTO entry_source (entry_id, source_type, source_id, role)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[])
"""


def post_entries(*, drafts: Sequence[EntryDraft], by: User, at: datetime) -> list[JournalEntry]:
    """Append entries, each in its month or, if that is closed, in the first open one.

    Drafts that were posted before are skipped. Locks: open periods, then the heads of the chains of
    the drafts' legal entities; what posts for one of them passes here one at a time.

    Returns:
        The entries that are new, in the order of the drafts.

    Raises:
        Unbalanced: a draft does not sum to zero, or moves nothing.
        NotFound: an entity's books are kept in another currency than a draft's, and there is no
            approved rate of exchange of its day (`rate_missing`).
        IdempotencyConflict: a source key was posted with other content.
        OlderState: the journal ends before the last sealed head outside the database.
    """
    return _post(drafts, by, at) if drafts else []


@transaction.atomic
def _post(drafts: Sequence[EntryDraft], by: User, at: datetime) -> list[JournalEntry]:
    books = hold_open_books()
    entities = _entities_of(drafts)
    for entity_id in sorted(set(entities.values())):
        lock_chain_head(entity_id)
    refuse_older_state()
    new = _without_posted(drafts)
    days = [books.effective_day(draft.wanted_on) for draft in new]
    kept = Books.of(new, at)
    taken_over = kept.take_over(new, days)
    new, days = [*taken_over, *new], [*(draft.wanted_on for draft in taken_over), *days]
    periods = periods_of(days)
    postings = [
        _postings(draft, kept.worth(draft, day), kept.functional_of(draft))
        for draft, day in zip(new, days, strict=True)
    ]
    entries = [
        JournalEntry(
            entity_id=entities[_whose(draft)],
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
    return entries[len(taken_over) :]


def note_nothing_to_post(*, sources: Iterable[Source]) -> None:
    """Record that facts were looked at and move no money."""
    _insert_sources((None, source) for source in sources)


def lock_chain_head(entity_id: int) -> None:
    """Wait until nobody else extends a legal entity's chain, until the transaction ends."""
    wait_for(f"journal_chain:{entity_id}")


def _whose(draft: EntryDraft) -> Whose:
    return (draft.customer_id, 0) if draft.customer_id else (None, draft.entity_id)


def _entities_of(drafts: Sequence[EntryDraft]) -> dict[Whose, int]:
    """Return in whose books each draft is posted: its customer's entity, or the one it names."""
    ids = {draft.customer_id for draft in drafts if draft.customer_id}
    told = entities_of_customers(ids) if ids else {}
    return {
        _whose(draft): told.get(draft.customer_id, MAIN_ENTITY)
        if draft.customer_id
        else draft.entity_id
        for draft in drafts
    }


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
    return [draft.kind.value, draft.customer_id, _amounts(_postings(draft, draft.lines, None))]


def _content_of_entry(entry: JournalEntry) -> list[object]:
    postings = sorted(entry.postings.all(), key=lambda posting: posting.position)
    return [entry.kind, entry.customer_id, _amounts(postings)]


def _amounts(postings: Iterable[Posting]) -> list[list[Field]]:
    """Return what postings say in their own currency; what they are worth follows from the day."""
    return [[*own_fields(posting), posting.model] for posting in postings if posting.amount_minor]


def _postings(draft: EntryDraft, lines: Lines, functional: str | None) -> list[Posting]:
    """Make the postings of an entry: of lines that say what they are worth in its books."""
    moving = balanced(lines)
    if not moving:
        raise Unbalanced(f"{draft.source_key} moves nothing; such facts have no entry")
    return [
        _posting(position, draft.customer_id, line, functional)
        for position, line in enumerate(moving, start=1)
    ]


def _posting(
    position: int, customer_id: int | None, line: PostingLine, functional: str | None
) -> Posting:
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
        model=line.about.model,
        functional_minor=line.functional_minor if functional else None,
        functional_currency=functional,
    )


def _seal(entries: Sequence[JournalEntry], postings: Sequence[list[Posting]]) -> None:
    """Give each entry its place in its entity's chain and its hash."""
    heads = {pk: chain_head(pk) for pk in {entry.entity_id for entry in entries}}
    for entry, of_entry in zip(entries, postings, strict=True):
        position, previous = heads[entry.entity_id]
        entry.chain_position, entry.previous_sha256 = position + 1, previous
        entry.entry_sha256 = sealed_sha256(previous, entry, of_entry)
        heads[entry.entity_id] = entry.chain_position, entry.entry_sha256


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
    _insert_sources(
        (entry.pk, source)
        for draft, entry in zip(drafts, entries, strict=True)
        for source in draft.sources
    )


def _insert_sources(rows: Iterable[tuple[int | None, Source]]) -> None:
    """Write which facts an entry accounts for, without an object for each: they are many."""
    cells = [(entry, one.type.value, one.id, one.role) for entry, one in rows]
    if not cells:
        return
    with connection.cursor() as cursor:
        cursor.execute(_SOURCES, [list(column) for column in zip(*cells, strict=True)])
