"""Write how rated usage is paid: drawn from grants, given back to them, or left as overage.

Works under the customer's lock, which the caller holds. Rows are collected and written in bulk; the
database moves the grants when their ledger transactions arrive.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.copying import copy_rows
from billing_project.kernel.models import User
from credits.costing import cost_of
from credits.drawdown import (
    Drawdown,
    GrantState,
    Part,
    Use,
    cover_overage,
    draw_down,
    give_back,
    spend,
)
from credits.history import PeriodHistory, RatedWindow, Stack, Unpaid
from credits.models import (
    BillingPeriod,
    CreditGrant,
    CreditPolicy,
    GrantCategory,
    LedgerKind,
    LedgerTransaction,
    RatedUsage,
)
from credits.selectors.facts import Rulebook, history_of

_ZERO = Decimal(0)
_ENDINGS = (LedgerKind.VOIDED, LedgerKind.EXPIRED)


@dataclass(frozen=True)
class Bill:
    """One row of rated usage, not yet paid, with what decides who pays."""

    row: RatedUsage
    use: Use
    stack: Stack  # Where the charge is found again.
    period: BillingPeriod
    policy: CreditPolicy


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


class Wallet:
    """A customer's grants: which can be burned, and what each was sold for."""

    def __init__(self, grants: Iterable[CreditGrant]) -> None:
        self._rows = {grant.pk: grant for grant in grants}
        self._usable: dict[int, dict[int, GrantState]] = defaultdict(dict)
        for grant in self._rows.values():
            self._usable[grant.pricing_unit_id][grant.pk] = _state(grant, grant.remaining)

    def draw(self, charge: Decimal, unit_id: int, use: Use, order: list[str]) -> Drawdown:
        """Burn grants of a pricing unit for one use."""
        grants = self._usable[unit_id]
        result = draw_down(charge, grants.values(), use, order)
        self.spend(unit_id, result.parts)
        return result

    def spend(self, unit_id: int, parts: Iterable[Part]) -> None:
        """Lower what is left of the grants that paid; empty ones are not looked at again."""
        grants = self._usable[unit_id]
        spend(grants, parts)
        for part in parts:
            if not grants[part.grant_id].remaining:
                del grants[part.grant_id]

    def put_back(self, part: Part) -> GrantState:
        """Add credits to the grant that they came from; return it with only those."""
        grant = self.grant(part.grant_id)
        grants = self._usable[grant.pricing_unit_id]
        before = grants[grant.pk].remaining if grant.pk in grants else _ZERO
        grants[grant.pk] = _state(grant, before + part.credits)
        return _state(grant, part.credits)

    def grant(self, grant_id: int) -> CreditGrant:
        """Return a grant's row, read once."""
        if grant_id not in self._rows:
            self._rows[grant_id] = CreditGrant.objects.get(pk=grant_id)
        return self._rows[grant_id]


def wallets_of(customer_ids: Collection[int]) -> dict[int, Wallet]:
    """Read the grants of customers that have something left."""
    by_customer: dict[int, list[CreditGrant]] = {pk: [] for pk in customer_ids}
    for grant in CreditGrant.objects.filter(customer_id__in=customer_ids, remaining__gt=0):
        by_customer[grant.customer_id].append(grant)
    return {pk: Wallet(grants) for pk, grants in by_customer.items()}


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
            -bill.row.charge, history.overage_at(bill.stack), history.draws_at(bill.stack)
        )
        bill.row.drawn, bill.row.overage = -given.returned, -given.overage
        self._pages.usage.append(bill.row)
        history.add_overage(bill.stack, _window(bill.row), bill.use, -given.overage)
        freed = [self._return(bill, part) for part in given.parts]
        self._cover(bill, [grant for grant in freed if grant is not None])

    def _write(self, bill: Bill, result: Drawdown) -> None:
        bill.row.drawn, bill.row.overage = result.drawn, result.overage
        self._pages.usage.append(bill.row)
        for part in result.parts:
            self._enter_burn(bill, LedgerKind.DRAWN, part.grant_id, -part.credits)
        if history := self._histories.get(bill.period.pk):
            history.add_overage(bill.stack, _window(bill.row), bill.use, result.overage)

    def _return(self, bill: Bill, part: Part) -> GrantState | None:
        """Give credits back to a grant; what was voided or expired keeps none of them."""
        self._enter_burn(bill, LedgerKind.RETURNED, part.grant_id, part.credits)
        endings = LedgerTransaction.objects.filter(grant_id=part.grant_id, kind__in=_ENDINGS)
        ending = endings.order_by("-pk").first()
        if ending is None:
            return self._wallet.put_back(part)
        source_key = f"{bill.row.source_key}:grant:{part.grant_id}:ended"
        entry = self._entry(LedgerKind(ending.kind), part.grant_id, -part.credits, source_key)
        entry.reason_code, entry.effective_at = "returned_after_end", ending.effective_at
        self._pages.entries.append(entry)
        return None

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
        entry = self._entry(kind, grant_id, amount, f"{bill.row.source_key}:grant:{grant_id}")
        entry.rated_usage, entry.credit_policy_id = bill.row, bill.policy.pk
        # Within the hour, but not before the grant: no balance of the past falls below zero.
        grant = self._wallet.grant(grant_id)
        entry.effective_at = max(bill.use.period.start, grant.effective_at)
        self._pages.entries.append(entry)
        if history := self._histories.get(bill.period.pk):
            history.add_draw(bill.stack, grant_id, amount)

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
            cost_unrounded=cost_of(amount, grant.amount, grant.price_minor, grant.currency),
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


def _state(grant: CreditGrant, remaining: Decimal) -> GrantState:
    return GrantState(
        id=grant.pk,
        remaining=remaining,
        priority=grant.priority,
        is_paid=grant.category == GrantCategory.PAID,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        created_at=grant.created_at,
        workspace_id=grant.workspace_id,
        meter_codes=frozenset(grant.meter_codes),
    )
