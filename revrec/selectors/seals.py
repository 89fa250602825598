"""Seals of the journal: what they say, and whether the journal still stands to it."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from revrec.chain import GENESIS
from revrec.links import Fault, Head
from revrec.models import AccountingPeriod, JournalEntry, LedgerSeal, Posting
from revrec.sealing import Contents, CurrencyTotal, is_signed
from revrec.selectors.journal import chain_head


def chain_contents(head: Head) -> Contents:
    """Count and sum what the chain holds up to a position."""
    postings = Posting.objects.filter(entry__chain_position__lte=head.position)
    rows = (
        postings.values("currency")
        .annotate(
            debit=Coalesce(Sum("amount_minor", filter=Q(amount_minor__gt=0)), 0),
            credit=Coalesce(Sum("amount_minor", filter=Q(amount_minor__lt=0)), 0),
        )
        .order_by("currency")
    )
    totals = [CurrencyTotal(row["currency"], row["debit"], -row["credit"]) for row in rows]
    return Contents(head, postings.count(), totals)


def seal_faults(name: str, manifest: Mapping[str, Any]) -> Iterator[Fault]:
    """Compare a manifest with the journal; its signature is the caller's affair.

    Args:
        name: What to call the seal ("seal of 2026-10").
    """
    head = Head(int(manifest["head"]["position"]), str(manifest["head"]["sha256"]))
    found = _sha256_at(head.position)
    if found is None:
        yield Fault(
            name,
            f"the journal ends at position {chain_head()[0]}, before the sealed head"
            f" {head.position}: entries are gone, or a state older than the seal was restored",
        )
    elif found != head.sha256:
        yield Fault(
            name,
            f"the entry at position {head.position} has {found}, sealed was {head.sha256}:"
            " the journal was written anew",
        )
    else:
        expected = chain_contents(head).as_json()
        for key, value in expected.items():
            if manifest.get(key) != value:
                yield Fault(name, f"{key} is {value}, sealed was {manifest.get(key)}")


def stored_seal_faults(only: LedgerSeal | None = None) -> Iterator[Fault]:
    """Check each stored seal: its signature by the key beside it, and its head in the journal."""
    for seal in LedgerSeal.objects.order_by("pk") if only is None else [only]:
        name = f"ledger_seal:{seal.pk}"
        if not is_signed(seal.manifest, seal.signature, seal.public_key):
            yield Fault(name, "the signature does not belong to the manifest")
        elif _sha256_at(seal.head_position) != seal.head_sha256:
            yield Fault(name, f"the sealed head {seal.head_position} is not in the journal")
        elif f'"sha256":"{seal.head_sha256}"' not in seal.manifest:
            yield Fault(name, "the row names another head than its manifest")


def seal_of(period: AccountingPeriod) -> LedgerSeal | None:
    """Return the seal of a month; None while it is open, or closed without one."""
    return LedgerSeal.objects.filter(period=period).first()


def last_seal() -> LedgerSeal | None:
    """Return the newest seal."""
    return LedgerSeal.objects.select_related("period").order_by("-pk").first()


def _sha256_at(position: int) -> str | None:
    if position == 0:
        return GENESIS
    entries = JournalEntry.objects.filter(chain_position=position)
    return entries.values_list("entry_sha256", flat=True).first()
