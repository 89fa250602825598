"""Write how rated usage is paid: drawn from grants, given back to them, or left as overage.

Works under the customer's lock, which the caller holds. Rows are collected and written in bulk; the
database moves the grants when their ledger transactions arrive.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.copying import copy_rows
from billing_project.kernel.models import User
from credits.drawdown import (
    Drawdown,
    GrantState,
    Part,
    Use,
    cover_overage,
    give_back,
)
from credits.history import PeriodHistory, Place, RatedWindow, Stack, Unpaid
from credits.models import (
    BillingPeriod,
    CreditGrant,
    CreditPolicy,
    LedgerKind,
    LedgerTransaction,
    RatedUsage,
)
from credits.selectors.facts import Rulebook, history_of
from credits.selectors.frozen import FROZEN
from credits.selectors.lapsed import LATE_USAGE, RETURNED_AFTER_END
from credits.selectors.returning import fate_of
from credits.services.entries import (
    cost_of_credits,
    life_after_return,
    linked_grant,
)
from credits.services.wallets import Wallet

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Bill:
    """One row of rated usage, not yet paid, with what decides who pays."""

    row: RatedUsage
    use: Use
    stack: Stack  # Where the charge is found again.
    period: BillingPeriod
    policy: CreditPolicy
    dimensions_key: str
    reason_code: str = ""  # What a credit note moves, it moves when it is issued.

    @property
    def place(self) -> Place:
        """Name what a line of an invoice would be about."""
        return self.use.workspace_id, self.dimensions_key


class Pages:
    """Rows of one transaction, collected to be written in bulk."""

    def __init__(self) -> None:
        self.usage: list[RatedUsage] = []
        self.entries: list[LedgerTransaction] = []
        self._written = 0

    def write(self) -> int:
        """Write what is collected; return how many rows of rated usage were written in all."""
        usage, entries = self.usage, self.entries
        self.usage, self.entries = [], []
        copy_rows(usage)
        for entry in entries:
            if entry.rated_usage is not None:  # Its id is known only now.
                entry.rated_usage_id = entry.rated_usage.pk
        copy_rows(entries)
        self._written += len(usage)
        return self._written


class Burner:
    """Pays a customer's bills one after the other; what came of it goes to the pages."""

    def __init__(
        self, rules: Rulebook, wallet: Wallet, pages: Pages, *, by: User, at: datetime
    ) -> None:
        self._rules, self._wallet, self._pages = rules, wallet, pages
        self._by, self._at = by, at
        self._histories: dict[int, PeriodHistory] = {}

    def pay(self, bill: Bill) -> None:
        """Burn grants for a charge; the rest is overage."""
        result = self._wallet.draw(bill.row.charge, _unit(bill), bill.use, bill.policy.burn_order)
        self._write(bill, result)

    def undo(self, bill: Bill) -> None:
        """Give a negative charge back: overage first, then credits to their grants.

        Credits that came back pay next for the period's overage elsewhere that their grant
        admits: it was overage only because they were used.
        """
        history = self._history(bill.period)
        given = give_back(
            -bill.row.charge,
            history.overage_at(bill.stack),
            history.draws_at(bill.stack),
            history.forgiven_at(bill.stack, bill.place),
            history.forgiven_elsewhere(bill.stack, bill.place),
        )
        bill.row.drawn, bill.row.overage = -given.returned, -given.overage
        bill.row.forgiven = -given.forgiven
        self._pages.usage.append(bill.row)
        history.add_overage(bill.stack, _window(bill.row), bill.use, -given.overage)
        history.add_forgiven(bill.stack, bill.place, -given.forgiven)
        freed = [self._return(bill, part) for part in given.parts]
        self._cover(bill, [grant for grant in freed if grant is not None])

    def forgive(self, bill: Bill, parts: Sequence[Part]) -> None:
        """Give credits back that stay charged: drawn becomes forgiven, and nothing else moves."""
        self._history(bill.period).add_forgiven(bill.stack, bill.place, bill.row.forgiven)
        self._pages.usage.append(bill.row)
        for part in parts:
            self._return(bill, part)

    def take_again(self, bill: Bill, parts: Iterable[Part]) -> None:
        """Burn again what was forgiven, from the grants that have it."""
        self._history(bill.period).add_forgiven(bill.stack, bill.place, bill.row.forgiven)
        self._pages.usage.append(bill.row)
        for part in parts:
            self._enter_burn(bill, LedgerKind.DRAWN, part.grant_id, -part.credits)

    def _write(self, bill: Bill, result: Drawdown) -> None:
        bill.row.drawn, bill.row.overage = result.drawn, result.overage
        self._pages.usage.append(bill.row)
        for part in result.parts:
            self._enter_burn(bill, LedgerKind.DRAWN, part.grant_id, -part.credits)
        if history := self._histories.get(bill.period.pk):
            history.add_overage(bill.stack, _window(bill.row), bill.use, result.overage)

    def _return(self, bill: Bill, part: Part) -> GrantState | None:
        """Give credits back: to their grant, to a linked one, or to nobody; see `fate_of`."""
        self._enter_burn(bill, LedgerKind.RETURNED, part.grant_id, part.credits)
        grant = self._wallet.grant(part.grant_id)
        fate = fate_of(grant, self._at)
        if fate.void_at is not None:
            self._end_again(bill, part, LedgerKind.VOIDED, self._not_before(bill, fate.void_at))
            return None
        holder = self._link(bill, part, grant) if fate.is_ended else grant
        settled = Part(holder.pk, part.credits)
        if fate.frozen_at is not None:
            since = max(fate.frozen_at, holder.effective_at)
            self._freeze(bill, settled, self._not_before(bill, since))
            return None
        return self._wallet.put_back(settled)

    def _not_before(self, bill: Bill, since: datetime) -> datetime:
        """Let what a note gives back be void, or frozen, from when it came back, and no earlier."""
        return max(since, self._at) if bill.reason_code else since

    def _end_again(
        self, bill: Bill, part: Part, kind: LedgerKind, effective_at: datetime
    ) -> LedgerTransaction:
        source_key = f"{bill.row.source_key}:grant:{part.grant_id}:ended"
        entry = self._entry(kind, part.grant_id, -part.credits, source_key)
        entry.reason_code, entry.effective_at = RETURNED_AFTER_END, effective_at
        self._pages.entries.append(entry)
        return entry

    def _freeze(self, bill: Bill, part: Part, effective_at: datetime) -> None:
        """Take what came back out of use until the dispute ends, as what remained was taken."""
        source_key = f"{bill.row.source_key}:grant:{part.grant_id}:frozen"
        entry = self._entry(LedgerKind.VOIDED, part.grant_id, -part.credits, source_key)
        entry.reason_code, entry.effective_at = FROZEN, effective_at
        self._pages.entries.append(entry)

    def _link(self, bill: Bill, part: Part, grant: CreditGrant) -> CreditGrant:
        """Move credits that came back too late to a linked grant with a life of its own."""
        at = max(self._at, grant.created_at)
        linked = linked_grant(
            grant,
            part.credits,
            effective_at=at,
            expires_at=life_after_return(grant, at),
            reason_code=RETURNED_AFTER_END,
            source_key=f"{bill.row.source_key}:grant:{grant.pk}:returned",
            by=self._by,
            at=at,
        )
        self._wallet.add(linked)
        self._end_again(bill, part, LedgerKind.ROLLED_OVER, max(at, grant.effective_at))
        source_key = f"grant:{linked.pk}:granted"
        filled = self._entry(LedgerKind.GRANTED, linked.pk, part.credits, source_key)
        filled.reason_code, filled.effective_at = linked.reason_code, linked.effective_at
        filled.recorded_at = at
        self._pages.entries.append(filled)
        return linked

    def _cover(self, bill: Bill, freed: list[GrantState]) -> None:
        if not freed:
            return
        read: list[Unpaid] = []

        def overages() -> Iterator[tuple[Decimal, Use]]:
            for unpaid in self._history(bill.period).open_overage():
                read.append(unpaid)
                yield unpaid.credits, unpaid.use

        covered = cover_overage(overages(), freed, bill.policy.burn_order)
        by_window: dict[int, tuple[Unpaid, list[Part]]] = {}
        for unpaid, result in zip(read, covered, strict=False):
            by_window.setdefault(unpaid.window.id, (unpaid, []))[1].extend(result.parts)
        for unpaid, parts in by_window.values():
            if parts:
                self._write_cover(bill, unpaid, parts)

    def _write_cover(self, bill: Bill, unpaid: Unpaid, parts: list[Part]) -> None:
        """Move a window's overage to the grants that can pay for it now; its charge stays."""
        merged: dict[int, Decimal] = defaultdict(Decimal)
        for part in parts:
            merged[part.grant_id] += part.credits
        drawn = sum(merged.values(), _ZERO)
        row = _cover_row(bill, unpaid, drawn)
        cover = replace(bill, row=row, use=unpaid.use, stack=unpaid.stack)
        self._pages.usage.append(cover.row)
        for grant_id, amount in merged.items():
            self._enter_burn(cover, LedgerKind.DRAWN, grant_id, -amount)
        self._wallet.spend(_unit(bill), [Part(*item) for item in merged.items()])
        self._history(bill.period).add_overage(
            unpaid.stack, unpaid.window, unpaid.use, -drawn, is_cover=True
        )

    def _enter_burn(
        self,
        bill: Bill,
        kind: LedgerKind,
        grant_id: int,
        amount: Decimal,
    ) -> None:
        if kind == LedgerKind.DRAWN:
            self._reclaim(bill, grant_id)
        entry = self._entry(kind, grant_id, amount, f"{bill.row.source_key}:grant:{grant_id}")
        entry.rated_usage, entry.credit_policy_id = bill.row, bill.policy.pk
        # Within the hour, but not before the grant, nor while its credits were taken back.
        since = self._wallet.grant(grant_id).effective_at
        if kind == LedgerKind.DRAWN:
            since = self._wallet.there_since(grant_id)
        entry.reason_code = bill.reason_code
        moved_at = self._at if bill.reason_code else bill.use.period.start
        entry.effective_at = max(moved_at, since)
        self._pages.entries.append(entry)
        if history := self._histories.get(bill.period.pk):
            history.add_draw(bill.stack, grant_id, amount)

    def _reclaim(self, bill: Bill, grant_id: int) -> None:
        """Take back what lapsed while this usage from before the grant's end was on its way."""
        lapsed = self._wallet.reclaim(grant_id)
        if not lapsed:
            return
        grant = self._wallet.grant(grant_id)
        source_key = f"{bill.row.source_key}:grant:{grant_id}:reclaimed"
        entry = self._entry(LedgerKind.REINSTATED, grant_id, lapsed, source_key)
        entry.reason_code = LATE_USAGE
        entry.effective_at = max(grant.expires_at or self._at, grant.effective_at)
        self._pages.entries.append(entry)

    def _entry(
        self,
        kind: LedgerKind,
        grant_id: int,
        amount: Decimal,
        source_key: str,
    ) -> LedgerTransaction:
        grant = self._wallet.grant(grant_id)
        return LedgerTransaction(
            customer_id=grant.customer_id,
            grant_id=grant_id,
            kind=kind,
            credits=amount,
            cost_unrounded=cost_of_credits(grant, amount),
            recorded_at=self._at,
            recorded_by_id=self._by.pk,
            source_key=source_key,
        )

    def _history(self, period: BillingPeriod) -> PeriodHistory:
        """Fold the period once, with all that was collected; it follows along from then on."""
        if period.pk not in self._histories:
            self._pages.write()
            self._histories[period.pk] = history_of(period, self._rules)
        return self._histories[period.pk]


def _unit(bill: Bill) -> int:
    return bill.period.rate_card.pricing_unit_id


def _window(row: RatedUsage) -> RatedWindow:
    return RatedWindow(
        row.window_id, row.service_at, row.window_revision, row.rate_id, row.rate_card_version_id
    )


def _cover_row(bill: Bill, unpaid: Unpaid, drawn: Decimal) -> RatedUsage:
    return RatedUsage(
        customer_id=bill.row.customer_id,
        billing_period_id=bill.period.pk,
        window_id=unpaid.window.id,
        window_revision=unpaid.window.revision,
        service_at=unpaid.window.start_at,
        rate_id=unpaid.window.rate_id,
        rate_card_version_id=unpaid.window.version_id,
        quantity=_ZERO,
        charge=_ZERO,
        drawn=drawn,
        overage=-drawn,
        rated_at=bill.row.rated_at,
        source_key=f"{bill.row.source_key}:covers:{unpaid.window.id}",
    )
