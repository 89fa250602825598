"""Everything that a decision on work reads of its customer, in one question to the database.

The request path asks it under the customer's lock; one statement sees one state.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from billing_project.kernel.period import HOUR, Period, hour_of
from billing_project.kernel.prepared import run_prepared
from credits.drawdown import GrantState, Use
from credits.models import BillingPeriod, CreditGrant, PricingUnit, RateCard
from credits.rating import RatedSoFar
from credits.selectors.facts import Scope
from credits.selectors.remembered import STAMP, Stamp
from credits.selectors.states import state_of_grant
from metering.models import Customer

# Decimals travel as text: a JSON number would be read as a float.
_READ = f"""
SELECT {STAMP},
  EXISTS (SELECT FROM hold h WHERE h.customer_id = %(customer)s AND h.counted_at IS NULL
             AND h.identifier <> '' AND h.state IN ('open', 'settled')),
  (SELECT json_agg(json_build_array(u.id, u.code))::text FROM pricing_unit u),
  (SELECT json_agg(json_build_array(p.id, p.start_at, p.end_at, p.uncut_end_at, c.id, c.code,
                                    c.pricing_unit_id) ORDER BY p.start_at)::text
     FROM billing_period p JOIN rate_card c ON c.id = p.rate_card_id
    WHERE p.customer_id = %(customer)s AND p.start_at < %(hour_end)s AND p.end_at > %(hour)s),
  (SELECT json_agg(json_build_array(t.period, t.rate, t.place, t.quantity::text,
                                    t.charge::text))::text
     FROM (SELECT s.billing_period_id AS period, s.rate_id AS rate,
                  CASE WHEN r.pools = 'workspace' THEN s.workspace_id END AS place,
                  sum(s.quantity) AS quantity, sum(s.charge) AS charge
             FROM billing_period p JOIN rate_total s ON s.billing_period_id = p.id
             JOIN rate r ON r.id = s.rate_id
            WHERE p.customer_id = %(customer)s
              AND p.start_at < %(hour_end)s AND p.end_at > %(hour)s
              AND (r.pools <> 'workspace' OR s.workspace_id IS NOT DISTINCT FROM %(workspace)s)
            GROUP BY 1, 2, 3) t),
  (SELECT json_agg(json_build_array(g.pricing_unit_id, g.id, g.category, g.amount::text,
              g.remaining::text, g.price_minor, g.currency, g.basis_amount::text, g.priority,
              g.effective_at, g.expires_at, g.workspace_id, g.meter_codes, g.reason_code,
              g.created_at, o.effective_at, o.expires_at) ORDER BY g.id)::text
     FROM credit_grant g LEFT JOIN credit_grant o ON o.id = g.origin_id
    WHERE g.customer_id = %(customer)s AND g.remaining > 0),
  (SELECT json_agg(json_build_array(t.unit, t.place, t.code, t.amount::text)
                   ORDER BY t.first, t.code)::text
     FROM (SELECT h.pricing_unit_id AS unit, h.workspace_id AS place, p.key AS code,
                  sum(p.value::numeric) AS amount, min(h.id) AS first
             FROM hold h, jsonb_each_text(h.parts) p
            WHERE h.customer_id = %(customer)s
              AND ((h.state = 'open' AND h.expires_at > %(at)s)
                   OR (h.state = 'settled' AND h.counted_at IS NULL))
            GROUP BY 1, 2, 3) t)
"""  # noqa: S608 - texts of this house
_STAMP_LENGTH = 5
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class DeskFacts:
    """What stands for a customer at an instant.

    Attributes:
        stamp: Of which approved rules this was read beside.
        has_named_holds: Whether holds wait that name their event: some may be settled by now.
        units: Pricing units by id.
        periods: Billing periods that touch the hour, the first one first.
        totals: What was rated in them, of the workspace and of rates that pool the account.
        grants: Grants with credits left, by pricing unit.
        held: What is held for work that goes on, by pricing unit; the oldest first.
    """

    stamp: Stamp
    has_named_holds: bool
    units: Mapping[int, PricingUnit]
    periods: list[BillingPeriod]
    totals: dict[Scope, RatedSoFar]
    grants: dict[int, list[GrantState]]
    held: dict[int, list[tuple[Use, Decimal]]]


def read_desk_facts(customer: Customer, workspace_id: int | None, at: datetime) -> DeskFacts:
    """Read what decides on work of a customer, done in a workspace or in none, at an instant."""
    hour = hour_of(at)
    words = {
        "customer": customer.pk, "workspace": workspace_id, "at": at, "hour": hour,
        "hour_end": hour + HOUR,
    }  # fmt: skip
    (row,) = run_prepared(_READ, words)
    has_named, *parts = row[_STAMP_LENGTH:]
    units, periods, totals, grants, held = (
        msgspec.json.decode(part) if part else [] for part in parts
    )
    place = Period(hour, hour + HOUR)
    return DeskFacts(
        row[:_STAMP_LENGTH],
        has_named,
        {pk: PricingUnit(pk=pk, code=code) for pk, code in units},
        [_period(customer, *columns) for columns in periods],
        {
            (period, rate, workspace): RatedSoFar(Decimal(quantity), Decimal(charge))
            for period, rate, workspace, quantity, charge in totals
        },
        _by_unit((unit, _grant(*columns)) for unit, *columns in grants),
        _by_unit(
            (unit, (Use(place, workspace, code), Decimal(amount)))
            for unit, workspace, code, amount in held
        ),
    )


def _period(
    customer: Customer,
    pk: int,
    start_at: str,
    end_at: str,
    uncut_end_at: str | None,
    card_id: int,
    code: str,
    unit_id: int,
) -> BillingPeriod:
    card = RateCard(pk=card_id, code=code, pricing_unit_id=unit_id)
    return BillingPeriod(
        pk=pk, customer_id=customer.pk, rate_card=card, start_at=_instant(start_at),
        end_at=_instant(end_at), uncut_end_at=_instant(uncut_end_at),
    )  # fmt: skip


def _grant(
    pk: int, category: str, amount: str, remaining: str, price_minor: int, currency: str,
    basis_amount: str | None, priority: int, effective_at: str, expires_at: str | None,
    workspace_id: int | None, meter_codes: list[str], reason_code: str, created_at: str,
    origin_from: str | None, origin_until: str | None,
) -> GrantState:  # fmt: skip
    origin = None
    if origin_from is not None:
        origin = CreditGrant(effective_at=_instant(origin_from), expires_at=_instant(origin_until))
    grant = CreditGrant(
        pk=pk, category=category, amount=Decimal(amount), price_minor=price_minor,
        currency=currency, basis_amount=Decimal(basis_amount) if basis_amount else None,
        priority=priority, effective_at=_instant(effective_at), expires_at=_instant(expires_at),
        workspace_id=workspace_id, meter_codes=meter_codes, reason_code=reason_code,
        created_at=_instant(created_at), origin=origin,
    )  # fmt: skip
    return state_of_grant(grant, Decimal(remaining))


def _instant(text: str | None) -> Any:
    """Read an instant as PostgreSQL writes it in JSON."""
    return None if text is None else datetime.fromisoformat(text)


def _by_unit(pairs: Iterable[tuple[int, Kept]]) -> dict[int, list[Kept]]:
    found: dict[int, list[Kept]] = {}
    for unit_id, kept in pairs:
        found.setdefault(unit_id, []).append(kept)
    return found
