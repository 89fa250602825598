"""A customer's grants while usage is being paid for: what is left of each, as rating goes on."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from credits.drawdown import Drawdown, GrantState, Part, Use, draw_down, spend
from credits.models import CreditGrant
from credits.selectors.lapsed import lapsed_credits, reinstated_at
from credits.selectors.states import state_of_grant
from credits.selectors.taken import taken_back

_ZERO = Decimal(0)


class Wallet:
    """A customer's grants: which can be burned, and what each was sold for.

    Credits that time took may be burned by usage from before the end: how late it is rated, and
    whether the expiry was entered by then, changes nothing. What was taken back
    since is not for it.
    """

    def __init__(
        self,
        grants: Iterable[CreditGrant],
        lapsed: Mapping[int, Decimal] | None = None,
        reinstated: Mapping[int, datetime] | None = None,
    ) -> None:
        self._rows = {grant.pk: grant for grant in grants}
        self._lapsed = dict(lapsed or {})
        self._reinstated = reinstated or {}
        self._usable: dict[int, dict[int, GrantState]] = defaultdict(dict)
        for grant in self._rows.values():
            left = grant.remaining + self._lapsed.get(grant.pk, _ZERO)
            self._usable[grant.pricing_unit_id][grant.pk] = state_of_grant(grant, left)

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
        grants[grant.pk] = state_of_grant(grant, before + part.credits)
        return state_of_grant(grant, part.credits)

    def add(self, grant: CreditGrant) -> None:
        """Take up a grant that was made just now."""
        self._rows[grant.pk] = grant

    def reclaim(self, grant_id: int) -> Decimal:
        """Return how many of the credits that were spent had lapsed, not told before."""
        lapsed = self._lapsed.get(grant_id, _ZERO)
        if not lapsed:
            return _ZERO
        grants = self._usable[self.grant(grant_id).pricing_unit_id]
        left = grants[grant_id].remaining if grant_id in grants else _ZERO
        self._lapsed[grant_id] = min(lapsed, left)
        return lapsed - self._lapsed[grant_id]

    def there_since(self, grant_id: int) -> datetime:
        """Return from when what is left of a grant was there: for a while nothing may have been."""
        effective_at = self.grant(grant_id).effective_at
        return max(effective_at, self._reinstated.get(grant_id, effective_at))

    def grant(self, grant_id: int) -> CreditGrant:
        """Return a grant's row, read once."""
        if grant_id not in self._rows:
            rows = CreditGrant.objects.select_related("origin", "terms")
            self._rows[grant_id] = rows.get(pk=grant_id)
        return self._rows[grant_id]


def wallets_of(customer_ids: Collection[int], since: datetime) -> dict[int, Wallet]:
    """Read the grants of customers that usage since an instant may burn."""
    lapsed = lapsed_credits(customer_ids, since)
    for grant_id in taken_back(lapsed):
        del lapsed[grant_id]
    burnable = CreditGrant.objects.filter(
        Q(remaining__gt=0) | Q(pk__in=lapsed), customer_id__in=customer_ids
    )
    by_customer: dict[int, list[CreditGrant]] = {pk: [] for pk in customer_ids}
    for grant in burnable.select_related("origin", "terms"):
        by_customer[grant.customer_id].append(grant)
    reinstated = reinstated_at(customer_ids)
    return {pk: Wallet(grants, lapsed, reinstated) for pk, grants in by_customer.items()}
