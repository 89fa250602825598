"""Price some customers otherwise: their own rates for a time, or a version that they stay at."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction

from billing_project.kernel import audit
from billing_project.kernel.approvals import Proposal, propose
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from credits.models import RateCard, RateCardVersion, RatePin
from credits.selectors.contents import content_of_pins
from credits.services.rates import OVERRIDE_PREFIX, RateInput, write_version
from metering.models import Customer
from metering.services.customers import lock_customer, refuse_closed

MIGRATION = "rate_migration"


@transaction.atomic
def propose_rate_override(
    *,
    customer: Customer,
    base: RateCard,
    rates: Sequence[RateInput],
    proposal: Proposal,
    by: User,
    at: datetime,
) -> RateCardVersion:
    """Propose a customer's own rates, from the proposal's effective date until it expires.

    What they have no rate for, the base card prices. Without any rate the override ends: a later
    version governs before an earlier one.

    Raises:
        Invalid: the base is an override itself, or a rate is bad; with its field.
        Conflict: the customer is closed, or another version of the override begins at the same
            instant.
    """
    refuse_closed(lock_customer(customer.pk))
    if base.base_id is not None:
        raise Invalid(f"{base} is an override itself", field="base")
    base = RateCard.objects.select_for_update(of=("self",)).get(pk=base.pk)
    card, made = RateCard.objects.get_or_create(
        customer=customer,
        base=base,
        defaults={
            "code": f"{OVERRIDE_PREFIX}{base.pk}:{customer.pk}",
            "name": f"{base.name[:90]} for {customer.name[:90]}",
            "pricing_unit_id": base.pricing_unit_id,
        },
    )
    if made:
        audit.record(by=by, at=at, action="create_rate_card", subject=card, code=card.code)
    return write_version(card, rates, proposal, by, at)


@transaction.atomic
def propose_rate_migration(
    *,
    rate_card: RateCard,
    customers: Collection[Customer],
    version: RateCardVersion | None,
    proposal: Proposal,
    by: User,
    at: datetime,
) -> PolicyChange:
    """Propose that customers move to a version of a card, or follow the card again (None).

    A version that begins in mid-period begins new tiers and allowances for them.

    Raises:
        Invalid: no customers, one of them twice, or a version that does not govern anybody, or
            not yet when they move; with its field.
        Conflict: a customer is closed.
    """
    card = RateCard.objects.select_for_update(of=("self",)).get(pk=rate_card.pk)
    _refuse_bad_move(card, customers, version)
    _refuse_before_it_begins(version, proposal)
    subject = f"{MIGRATION}:{card.code}:"
    count = PolicyChange.objects.filter(kind=MIGRATION, subject__startswith=subject).count()
    change = propose(
        kind=MIGRATION,
        subject=f"{subject}{count + 1}",
        content=content_of_pins(card, version, [customer.external_id for customer in customers]),
        proposal=proposal,
        by=by,
        at=at,
    )
    RatePin.objects.bulk_create(
        RatePin(customer=customer, rate_card=card, version=version, policy_change=change)
        for customer in customers
    )
    return change


def _refuse_bad_move(
    card: RateCard, customers: Collection[Customer], version: RateCardVersion | None
) -> None:
    if card.base_id is not None:
        raise Invalid("an override has one customer: nobody moves to it", field="rate_card")
    if not customers:
        raise Invalid("a migration moves at least one customer", field="customers")
    if len({customer.pk for customer in customers}) < len(customers):
        raise Invalid("a customer is named twice", field="customers")
    gone = Customer.objects.filter(pk__in=[one.pk for one in customers], closed_at__isnull=False)
    if closed := gone.order_by("pk").first():
        raise Conflict(
            f"{closed} is closed: nobody moves them any more",
            code="customer_closed",
            field="customers",
        )
    if version is None:
        return
    if version.rate_card_id != card.pk:
        raise Invalid(f"{version} is no version of {card}", field="version")
    if version.policy_change.status != PolicyStatus.APPROVED:
        raise Invalid(f"{version} was not approved", field="version")


def _refuse_before_it_begins(version: RateCardVersion | None, proposal: Proposal) -> None:
    if version is None or version.policy_change.effective_at <= proposal.effective_at:
        return
    begins = version.policy_change.effective_at.isoformat()
    raise Invalid(f"{version} begins at {begins}: nobody moves to it before", field="version")
