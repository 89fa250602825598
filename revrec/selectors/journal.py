"""Entries, what they account for, and what each is sealed over."""

from collections.abc import Iterable
from datetime import date

from django.db.models import Prefetch, QuerySet

from invoicing.models import MAIN_ENTITY, CustomerEntity, LegalEntity
from revrec.chain import Field, entry_sha256, origin
from revrec.chain_columns import SEALED_IF_TOLD, SEALED_OF_POSTING
from revrec.models import EntrySource, JournalEntry, Posting
from revrec.selectors.products import with_product
from revrec.selectors.regions import with_region


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
    postings = Prefetch("postings", with_region(with_product(Posting.objects.order_by("position"))))
    entries = JournalEntry.objects.select_related("entity", "customer", "period").prefetch_related(
        postings
    )
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


def chain_head(entity_id: int = MAIN_ENTITY) -> tuple[int, str]:
    """Return the position and hash of the last entry of a legal entity's chain.

    Call under the chain's lock to extend it.
    """
    head = (
        JournalEntry.objects.filter(entity_id=entity_id)
        .order_by("-chain_position")
        .values_list("chain_position", "entry_sha256")
        .first()
    )
    return head or (0, origin(own_code(LegalEntity.objects.get(pk=entity_id))))


def own_code(entity: LegalEntity) -> str | None:
    """Return by which code an entity's chain begins; None for the main one's."""
    return None if entity.pk == MAIN_ENTITY else entity.code


def entities_of_customers(customer_ids: Iterable[int]) -> dict[int, int]:
    """Return which entity bills each customer; those that the main one bills are left out."""
    told = CustomerEntity.objects.filter(customer__in=set(customer_ids))
    return dict(told.values_list("customer_id", "entity_id"))


def sealed_sha256(previous: str, entry: JournalEntry, postings: Iterable[Posting]) -> str:
    """Hash an entry and its postings as they stand."""
    return entry_sha256(previous, _entry_fields(entry), map(posting_fields, postings))


def posting_fields(posting: Posting) -> list[Field]:
    """Return what is sealed of a posting: what it says only at times, where it does, at the end."""
    told = [getattr(posting, name) for name in SEALED_IF_TOLD]
    return [*own_fields(posting), *(field for field in told if field is not None)]


def own_fields(posting: Posting) -> list[Field]:
    """Return what is sealed of every posting."""
    return [getattr(posting, name) for name in SEALED_OF_POSTING]


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
