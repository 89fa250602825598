"""What a credit beyond the included ones costs a customer: how impacts in credits become money."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from invoicing.models import Subscription
from invoicing.selectors.plans import plan_version_now
from metering.models import Customer


def credit_price_at(customer: Customer, unit: str, at: datetime) -> tuple[Decimal, str] | None:
    """Return the overage price in major units and its currency.

    None without a plan then, or where its plan counts in another kind of credits.
    """
    sold = Subscription.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=at), customer=customer, start_at__lte=at
    )
    sold = sold.select_related("plan_version__plan").prefetch_related("changes__plan_version__plan")
    subscription = sold.order_by("-start_at").first()
    if subscription is None:
        return None
    version = plan_version_now(subscription, at)
    if version.rate_card.pricing_unit.code != unit:
        return None
    return version.overage_price_unrounded, version.currency
