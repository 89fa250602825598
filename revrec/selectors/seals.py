"""Seals of the journal: what they say, and whether the journal still stands to it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import connection

from invoicing.models import MAIN_CODE, LegalEntity
from revrec.chain import origin
from revrec.links import Fault, Head
from revrec.models import AccountingPeriod, JournalEntry, LedgerSeal
from revrec.sealing import Contents, CurrencyTotal, chains_of, head_of, is_signed
from revrec.selectors.journal import chain_head, own_code

_TOTALS = """
SELECT p.currency, sum(greatest(p.amount_minor, 0))::bigint,
       sum(greatest(-p.amount_minor, 0))::bigint, count(*)
  FROM posting p JOIN journal_entry e ON e.id = p.entry_id
 WHERE e.entity_id = %(entity)s AND e.chain_position <= %(position)s
 GROUP BY p.currency ORDER BY p.currency
"""

# Sealed heads whose entry is not in its chain, or is another one.
_NOT_STANDING = """
SELECT s.code, y.id FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS s(code, position, sha256)
  LEFT JOIN legal_entity y ON y.code = s.code
  LEFT JOIN journal_entry e ON e.entity_id = y.id AND e.chain_position = s.position
 WHERE s.position > 0 AND e.entry_sha256 IS DISTINCT FROM s.sha256 ORDER BY s.code
"""


def chain_contents(entities: Iterable[LegalEntity]) -> list[Contents]:
    """Count and sum what the chain of each legal entity holds."""
    heads = [(entity, Head(*chain_head(entity.pk))) for entity in entities]
    return [contents_until(entity, head) for entity, head in heads]


def contents_until(entity: LegalEntity, head: Head) -> Contents:
    """Count and sum what an entity's chain holds up to a position."""
    if not head.position:
        return Contents(entity.code, head, 0, ())
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS, {"entity": entity.pk, "position": head.position})
        rows = cursor.fetchall()
    totals = [CurrencyTotal(currency, debit, credit) for currency, debit, credit, _ in rows]
    return Contents(entity.code, head, sum(row[3] for row in rows), totals)


def seal_faults(name: str, manifest: Mapping[str, Any]) -> Iterator[Fault]:
    """Compare a manifest with the journal, chain by chain; its signature is the caller's affair.

    Args:
        name: What to call the seal ("seal of 2026-10").
    """
    chains = chains_of(manifest, MAIN_CODE)
    entities = {entity.code: entity for entity in LegalEntity.objects.filter(code__in=chains)}
    for code, chain in chains.items():
        of = name if code == MAIN_CODE else f"{name}, chain of {code}"
        if code in entities:
            yield from _faults_of_chain(of, entities[code], chain)
        else:
            yield Fault(of, _gone(0, head_of(chain).position))


def head_faults(name: str, manifest: Mapping[str, Any]) -> Iterator[Fault]:
    """Look a manifest's heads up in the journal, all in one query; what they count is not added up.

    Args:
        name: What to call the seal (its file).
    """
    heads = {code: head_of(one) for code, one in chains_of(manifest, MAIN_CODE).items()}
    positions = [head.position for head in heads.values()]
    with connection.cursor() as cursor:
        hashes = [head.sha256 for head in heads.values()]
        cursor.execute(_NOT_STANDING, [list(heads), positions, hashes])
        rows = cursor.fetchall()
    for code, entity_id in rows:
        of = f"{name}, chain of {code}"
        if entity_id is None:
            yield Fault(of, _gone(0, heads[code].position))
        else:
            yield from _faults_of_head(of, LegalEntity.objects.get(pk=entity_id), heads[code])


def _faults_of_chain(name: str, entity: LegalEntity, said: Mapping[str, Any]) -> Iterator[Fault]:
    head = head_of(said)
    if faults := list(_faults_of_head(name, entity, head)):
        yield from faults
        return
    for key, value in contents_until(entity, head).as_json().items():
        if said.get(key) != value:
            yield Fault(name, f"{key} is {value}, sealed was {said.get(key)}")


def _faults_of_head(name: str, entity: LegalEntity, head: Head) -> Iterator[Fault]:
    found = _sha256_at(entity, head.position)
    if found is None:
        yield Fault(name, _gone(chain_head(entity.pk)[0], head.position))
    elif found != head.sha256:
        yield Fault(
            name,
            f"the entry at position {head.position} has {found}, sealed was {head.sha256}:"
            " the journal was written anew",
        )


def _gone(last: int, sealed: int) -> str:
    """Say what is missing of a chain that ends before its sealed head."""
    span = f"{sealed}" if last + 1 == sealed else f"{last + 1} to {sealed}"
    return (
        f"the journal ends at position {last}, before the sealed head {sealed}: entries are gone,"
        f" or a state older than the seal was restored; missing: {span}"
    )


def stored_seal_faults(only: LedgerSeal | None = None) -> Iterator[Fault]:
    """Check each stored seal: its signature by the key beside it, and its heads in the journal."""
    entities = {entity.code: entity for entity in LegalEntity.objects.all()}
    for seal in LedgerSeal.objects.order_by("pk") if only is None else [only]:
        name = f"ledger_seal:{seal.pk}"
        if not is_signed(seal.manifest, seal.signature, seal.public_key):
            yield Fault(name, "the signature does not belong to the manifest")
            continue
        chains = chains_of(json.loads(seal.manifest), MAIN_CODE)
        if head_of(chains[MAIN_CODE]) != Head(seal.head_position, seal.head_sha256):
            yield Fault(name, "the row names another head than its manifest")
        for code, chain in chains.items():
            head, of = head_of(chain), "" if code == MAIN_CODE else f" of {code}"
            if code not in entities or _sha256_at(entities[code], head.position) != head.sha256:
                yield Fault(name, f"the sealed head {head.position}{of} is not in the journal")


def seal_of(period: AccountingPeriod) -> LedgerSeal | None:
    """Return the seal of a month; None while it is open, or closed without one."""
    return LedgerSeal.objects.filter(period=period).first()


def last_seal() -> LedgerSeal | None:
    """Return the newest seal."""
    return LedgerSeal.objects.select_related("period").order_by("-pk").first()


def _sha256_at(entity: LegalEntity, position: int) -> str | None:
    if position == 0:
        return origin(own_code(entity))
    entries = JournalEntry.objects.filter(entity=entity, chain_position=position)
    return entries.values_list("entry_sha256", flat=True).first()
