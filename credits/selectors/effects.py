"""What a change of rates would have made of each customer's last period.

Before and after are both priced anew, by the version that the customer has when the change begins
and by the proposed one: the difference is the change's alone.
"""

import json
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

from django.db.models import Count, QuerySet, Sum

from billing_project.kernel.effects import Effect, EffectRow, effect_of
from billing_project.kernel.models import PolicyChange
from billing_project.kernel.quantity import how_many, plain
from credits.models import BillingPeriod, CreditGrant, RateCard, RateCardVersion, RatedUsage
from credits.selectors.prices import Prices
from credits.selectors.repricing import Layer, Used, last_spans, layer_of, priced, used_in
from metering.models import Customer

BASIS = "Each customer's last complete billing period, or the last 30 days without one"
_ZERO = Decimal(0)
Layers = Sequence[Layer]


@effect_of("rate_card")
def of_version(change: PolicyChange) -> Effect:
    """Price those who would follow the proposed version: not who stays, nor who is pinned."""
    content = json.loads(change.content)
    card = RateCard.objects.filter(code=content["rate_card"]).first()
    if card is None:
        return Effect(BASIS, (), 0, 0)
    stays = {row["customer"] for row in content.get("stays", [])}
    customers = _customers_of(card).exclude(external_id__in=stays)
    proposed = Layer(content["rates"])
    book = _Book(card, customers, change)
    followers = [one for one in customers if not book.is_pinned(one.pk)]
    return _effect(book, followers, lambda pk: [*book.own(pk), proposed])


@effect_of("rate_override")
def of_override(change: PolicyChange) -> Effect:
    """Price one customer with the proposed rates before those of the base card."""
    content = json.loads(change.content)
    card = RateCard.objects.get(code=content["base"])
    customers = Customer.objects.filter(external_id=content["customer"])
    proposed = Layer(content["rates"])
    book = _Book(card, customers, change)
    return _effect(book, customers, lambda pk: [proposed, *book.base(pk)])


@effect_of("rate_migration")
def of_migration(change: PolicyChange) -> Effect:
    """Price the customers named with the version that they move to."""
    content = json.loads(change.content)
    card = RateCard.objects.get(code=content["rate_card"])
    customers = Customer.objects.filter(external_id__in=content["customers"])
    book = _Book(card, customers, change)
    governing = book.prices.governing(card.pk, change.effective_at)
    wanted = card.versions.filter(number=content["version"]).first() or governing
    moved = [book.layer(wanted)] if wanted else []
    return _effect(book, customers, lambda pk: [*book.own(pk), *moved])


class _Book:
    """What customers are priced by when a change begins, without it."""

    def __init__(
        self, card: RateCard, customers: Collection[Customer], change: PolicyChange
    ) -> None:
        self.card, self.change = card, change
        self.prices = Prices({card.pk}, [customer.pk for customer in customers])
        self._layers: dict[int, Layer] = {}

    def is_pinned(self, customer_id: int) -> bool:
        """Tell whether the customer stays at a version, whatever the card does."""
        pin = self.prices.pin(customer_id, self.card.pk, self.change.effective_at)
        return pin is not None and pin.version_id is not None

    def own(self, customer_id: int) -> list[Layer]:
        """Return the rates of the customer's override, if they have one then."""
        override = self.prices.overrides.get((customer_id, self.card.pk))
        version = override and self.prices.governing(override, self.change.effective_at)
        return [self.layer(version)] if version else []

    def base(self, customer_id: int) -> list[Layer]:
        """Return the rates of the card that the customer has."""
        version = self.prices.chosen(customer_id, self.card.pk, self.change.effective_at)
        return [self.layer(version)] if version else []

    def layer(self, version: RateCardVersion) -> Layer:
        """Return the rates of a version, read once."""
        if version.pk not in self._layers:
            self._layers[version.pk] = layer_of(version)
        return self._layers[version.pk]


def _effect(book: _Book, customers: Collection[Customer], after: Callable[[int], Layers]) -> Effect:
    ids = [customer.pk for customer in customers]
    usage = used_in(last_spans(ids, book.change.proposed_at))
    unit = book.card.pricing_unit
    rows = [
        EffectRow(
            subject=f"Usage of {customer.external_id}",
            customer_id=customer.pk,
            before=_total(usage[customer.pk], [*book.own(customer.pk), *book.base(customer.pk)]),
            after=_total(usage[customer.pk], after(customer.pk)),
            unit=unit.code,
        )
        for customer in customers
    ]
    rows.sort(key=lambda row: (-abs(row.difference), row.subject))
    grants = CreditGrant.objects.filter(
        customer_id__in=ids, pricing_unit=unit, remaining__gt=0
    ).count()
    return Effect(BASIS + _meanwhile(book, ids), tuple(rows), len(ids), grants)


def _meanwhile(book: _Book, customer_ids: Collection[int]) -> str:
    """Say what was rated since the change should begin: approved now, it comes too late for that.

    A window keeps the rate that priced it first, so that an approval after the effective date
    changes nothing of it.
    """
    begins = book.change.effective_at
    periods = BillingPeriod.objects.filter(
        rate_card=book.card, customer_id__in=customer_ids, end_at__gt=begins
    )
    rated = RatedUsage.objects.filter(billing_period__in=periods, service_at__gte=begins)
    sums = rated.aggregate(
        windows=Count("window", distinct=True),
        customers=Count("customer", distinct=True),
        charge=Sum("charge"),
    )
    if not sums["windows"]:
        return ""
    windows = how_many(sums["windows"], "usage window")
    customers = how_many(sums["customers"], "customer")
    return (
        f". Since {begins:%Y-%m-%d %H:%M} UTC, when it should begin, {windows} of {customers}"
        f" rated without it, to {plain(sums['charge'])} {book.card.pricing_unit.code}: they keep"
        " their rates"
    )


def _total(usage: Sequence[Used], layers: Layers) -> Decimal:
    return sum((one.charge.total for one in priced(usage, layers)), _ZERO)


def _customers_of(card: RateCard) -> QuerySet[Customer]:
    ids = BillingPeriod.objects.filter(rate_card=card).values("customer_id")
    return Customer.objects.filter(pk__in=ids)
