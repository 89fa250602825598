"""What each grant of a customer has left, and what of it is held for work that goes on."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.period import hour_of
from credits.burn_order import STRIPE_ORDER, in_burn_order
from credits.models import CreditGrant
from credits.selectors.desk_facts import read_desk_facts
from credits.selectors.governing import governing_credit_policy
from credits.spend import after_holds
from metering.models import Customer


@dataclass(frozen=True)
class GrantBalance:
    """One grant with credits left.

    Attributes:
        held: What of them the holds would burn, were they settled now at what they hold.
    """

    grant: CreditGrant
    left: Decimal
    held: Decimal


@dataclass(frozen=True)
class UnitGrants:
    """The grants of one pricing unit in burn order.

    Attributes:
        beyond: Credits that are held and that no grant reaches for: overage, if they are used.
    """

    pricing_unit: str
    grants: tuple[GrantBalance, ...]
    beyond: Decimal

    @property
    def left(self) -> Decimal:
        """What all of them have together."""
        return sum((one.left for one in self.grants), Decimal(0))

    @property
    def held(self) -> Decimal:
        """What of it is held."""
        return sum((one.held for one in self.grants), Decimal(0))


def balance_by_grant(customer: Customer, at: datetime) -> list[UnitGrants]:
    """List a customer's grants that have credits left, by pricing unit.

    A hold reserves credits of the customer, and of no grant: which grants it would burn follows
    from the burn order, as a decision on new work reckons it.
    """
    facts = read_desk_facts(customer, None, at)
    policy = governing_credit_policy(hour_of(at))
    order = policy.burn_order if policy else STRIPE_ORDER
    rows = CreditGrant.objects.select_related("workspace").in_bulk(
        [state.id for states in facts.grants.values() for state in states]
    )
    found = []
    for unit_id in facts.grants.keys() | facts.held.keys():
        states = facts.grants.get(unit_id, [])
        after, beyond = after_holds(states, facts.held.get(unit_id, []), order)
        free = {state.id: state.remaining for state in after}
        grants = tuple(
            GrantBalance(rows[state.id], state.remaining, state.remaining - free[state.id])
            for state in in_burn_order(states, order)
        )
        found.append(UnitGrants(facts.units[unit_id].code, grants, beyond))
    return sorted(found, key=lambda one: one.pricing_unit)
