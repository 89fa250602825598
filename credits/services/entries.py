"""Write single entries of the ledger of credits; the customer is locked by the caller."""

from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel import outbox
from billing_project.kernel.models import User
from credits.costing import cost_of
from credits.models import CreditGrant, GrantCategory, LedgerKind, LedgerTransaction
from credits.services.announcing import announce_ended, announce_granted


def cost_of_credits(grant: CreditGrant, amount: Decimal) -> Decimal:
    """Return what so many of a grant's credits cost, at the basis that it has for good."""
    return cost_of(amount, grant.priced_amount, grant.price_minor, grant.currency)


def enter(
    grant: CreditGrant,
    kind: LedgerKind,
    amount: Decimal,
    *,
    reason_code: str,
    effective_at: datetime,
    at: datetime,
    by: User,
    source_key: str,
) -> LedgerTransaction:
    """Write one entry of a grant that no usage is behind, and let `remaining` follow.

    Nothing is effective before the grant was, nor known before the grant is.

    Args:
        amount: Credits, signed as the kind asks for.
    """
    entry = LedgerTransaction.objects.create(
        customer_id=grant.customer_id,
        grant=grant,
        kind=kind,
        credits=amount,
        cost_unrounded=cost_of_credits(grant, amount),
        reason_code=reason_code,
        effective_at=max(effective_at, grant.effective_at),
        recorded_at=max(at, grant.created_at),
        recorded_by=by,
        source_key=source_key,
    )
    grant.refresh_from_db(fields=["remaining"])
    outbox.publish("credits_changed", [grant.customer_id], at)
    announce_ended(entry)
    return entry


def linked_grant(
    origin: CreditGrant,
    amount: Decimal,
    *,
    effective_at: datetime,
    expires_at: datetime | None,
    reason_code: str,
    source_key: str,
    by: User,
    at: datetime,
) -> CreditGrant:
    """Make the empty grant that credits of another one go to, at the very same cost basis."""
    linked = CreditGrant.objects.create(
        customer_id=origin.customer_id,
        pricing_unit_id=origin.pricing_unit_id,
        category=GrantCategory(origin.category),
        name=origin.name,
        amount=amount,
        remaining=Decimal(0),
        price_minor=origin.price_minor,
        currency=origin.currency,
        basis_amount=origin.priced_amount,
        origin=origin,
        root_id=origin.root_id or origin.pk,
        terms_id=origin.terms_id,
        priority=origin.priority,
        effective_at=effective_at,
        expires_at=expires_at,
        workspace_id=origin.workspace_id,
        meter_codes=origin.meter_codes,
        reason_code=reason_code,
        source_key=source_key,
        created_by=by,
        created_at=at,
    )
    announce_granted(linked)
    return linked


def life_after_return(origin: CreditGrant, at: datetime) -> datetime | None:
    """Return when credits that come back at `at`, after their grant's end, lapse again.

    By the grant's terms, or else after as long as the grant itself lived.
    """
    if origin.terms and origin.terms.return_days:
        return at + timedelta(days=origin.terms.return_days)
    return origin.expires_at and at + (origin.expires_at - origin.effective_at)
