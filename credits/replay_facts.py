"""What is stored of a customer's credits, as replay reads it: grants, entries, rated usage."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.quantity import plain
from credits.drawdown import GrantState, Use
from credits.history import Place, RatedWindow, Stack
from credits.tariff import Tariff, Tier

_ZERO = Decimal(0)
Told = tuple[tuple[int, Decimal], ...]  # Grants and credits, in order.


@dataclass(frozen=True)
class GrantFact:
    """A grant as it was given: what of it never changes."""

    state: GrantState
    unit_id: int
    amount: Decimal
    origin_id: int | None
    root_id: int  # The grant that its credits were in first.
    rollover: str  # What becomes of the rest at the end: "none", "fraction" or "cap",
    rollover_value: Decimal | None  # and of how much.
    basis_amount: Decimal  # Credits that the price was paid for.
    price_minor: int
    currency: str

    @property
    def basis(self) -> str:
        """Return what its credits cost: so much for so many."""
        return f"{self.price_minor} {self.currency} for {plain(self.basis_amount)}"


@dataclass(frozen=True)
class EntryFact:
    """One ledger transaction as it was stored."""

    key: str
    position: int
    grant_id: int
    kind: str
    credits: Decimal
    cost: Decimal
    effective_at: datetime
    recorded_at: datetime
    reason_code: str = ""


@dataclass(frozen=True)
class ClawBackFact:
    """The first reason to take a purchase back, with what it took."""

    key: str
    position: int
    grant_id: int
    credits: Decimal
    recorded_at: datetime


@dataclass(frozen=True)
class RatedFact:
    """One row of rated usage as it was stored, with what was written because of it."""

    key: str
    position: int
    period_id: int
    window: RatedWindow
    use: Use
    unit_id: int
    stack: Stack
    scope: tuple[int, int, int | None]
    tariff: Tariff
    order: Sequence[str]
    quantity: Decimal
    charge: Decimal
    drawn: Decimal
    overage: Decimal
    tiers: tuple[Tier, ...]
    rated_at: datetime
    entries: tuple[EntryFact, ...]
    forgiven: Decimal = _ZERO
    dimensions_key: str = ""
    covers: tuple["RatedFact", ...] = ()

    @property
    def place(self) -> Place:
        """Name what a line of an invoice would be about."""
        return self.use.workspace_id, self.dimensions_key

    @property
    def is_of_note(self) -> bool:
        """Tell whether a credit note moved credits: nothing was used, and nothing is charged."""
        return bool(self.forgiven) and not self.charge

    def not_before(self, since: datetime) -> datetime:
        """Return from when credits that came back are void: of a note, not before its issue."""
        return max(since, self.rated_at) if self.is_of_note else since

    def moved(self, kind: str) -> Told:
        """Return what entries of a kind moved, in their order, without signs."""
        return tuple((e.grant_id, abs(e.credits)) for e in self.entries if e.kind == kind)

    def entries_of(self, kind: str, grant_id: int, reason: str | None = None) -> list[EntryFact]:
        """Return the entries of one kind and grant, of any reason where it is None."""
        found = [e for e in self.entries if (e.kind, e.grant_id) == (kind, grant_id)]
        return [e for e in found if reason in (None, e.reason_code)]
