"""What one piece of work would cost its customer, by the rates in force: its properties in.

Meters whose quantity adds up are priced; a max, last, unique or level has no price for one event.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.errors import Invalid
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.quantity import NotAQuantity, parse_quantity
from credits.models import BillingPeriod, Rate
from credits.rating import RatedSoFar, charge_difference
from credits.selectors.desk_facts import DeskFacts
from credits.selectors.facts import Rulebook, rated_in_scopes, scope_of
from credits.selectors.remembered import approved_rules
from credits.tariff import ChargeOutOfBounds
from metering.aggregation import MeterRule, Value, dimensions_key, dimensions_of
from metering.models import Customer, UsageWindow

_ZERO = Decimal(0)
_CREDIT_LIMIT = Decimal(10) ** 24


@dataclass(frozen=True)
class Estimate:
    """Credits by meter code; what has no price is named instead.

    Attributes:
        unit_id: The pricing unit; None where no billing period says which.
        unpriced: Why there is no price, as a sentence; "" where there is one.
    """

    unit_id: int | None
    parts: Mapping[str, Decimal]
    unpriced: str = ""

    @property
    def credits(self) -> Decimal:
        """All of it."""
        return sum(self.parts.values(), _ZERO)


class Estimator:
    """Prices work of one customer at one instant; reads the rules once."""

    def __init__(self, customer: Customer, at: datetime, facts: DeskFacts | None = None) -> None:
        """Take up a customer.

        Args:
            facts: What was read of the customer at that instant, where the caller has it.
        """
        self._customer, self._at, self._facts = customer, at, facts
        self.approved = approved_rules(facts.stamp if facts else None)
        hour = hour_of(at)
        periods = facts.periods if facts else _periods_near(customer, hour)
        self._rules = Rulebook(customer.pk, periods, self.approved.prices)
        self.period = self._rules.period_of(hour)

    @property
    def rules(self) -> Rulebook:
        """What governs for the customer."""
        return self._rules

    def price(
        self, properties: Mapping[str, Value], workspace_id: int | None, event_name: str = ""
    ) -> Estimate:
        """Price an event with these properties.

        Args:
            event_name: Whose meters read it; "": the one whose meters read any of the properties.

        Raises:
            Invalid: no meter reads any of them, or those of several event names do; or one reads
                what is no quantity, which no event could carry.
        """
        name = event_name or self._event_name(properties)
        self._refuse_what_is_no_quantity(properties, name)
        readers = self._readers(properties, name)
        if not readers:
            raise Invalid("no meter counts anything of this estimate", field="estimate")
        return self._priced(readers, properties, workspace_id)

    def price_event(
        self, properties: Mapping[str, Value], workspace_id: int | None, event_name: str
    ) -> Estimate:
        """Price a stored event; one that no meter counts costs nothing."""
        readers = self._readers(properties, event_name)
        return self._priced(readers, properties, workspace_id)

    def _priced(
        self,
        readers: Iterable[tuple[MeterRule, Decimal]],
        properties: Mapping[str, Value],
        workspace_id: int | None,
    ) -> Estimate:
        if self.period is None:
            return Estimate(None, {}, f"{self._customer} has no billing period now")
        unit_id = self.period.rate_card.pricing_unit_id
        totals = self._facts.totals if self._facts else rated_in_scopes([self.period.pk])
        parts: dict[str, Decimal] = {}
        for rule, quantity in readers:
            dimensions = dimensions_of(rule.dimensions, properties)
            rate = self._rate(rule, dimensions, workspace_id)
            if rate is None:
                return Estimate(unit_id, {}, _no_rate(rule, dimensions))
            so_far = totals.get(scope_of(self.period.pk, rate, workspace_id), RatedSoFar())
            charge = self._charge(rate, so_far, quantity)
            if charge is None:
                return Estimate(unit_id, {}, "the charge is beyond any bound")
            parts[rule.code] = parts.get(rule.code, _ZERO) + charge
        estimate = Estimate(unit_id, parts)
        if estimate.credits >= _CREDIT_LIMIT:
            return Estimate(unit_id, {}, "the charge is beyond any bound")
        return estimate

    def _rate(
        self, rule: MeterRule, dimensions: dict[str, str | None], workspace_id: int | None
    ) -> Rate | None:
        """Find the rate as rating will, for the window that the event will be counted in."""
        window = UsageWindow(
            customer_id=self._customer.pk,
            meter_id=rule.id,
            workspace_id=workspace_id,
            dimensions=dimensions,
            dimensions_key=dimensions_key(dimensions),
            start_at=hour_of(self._at),
        )
        return self._rules.rate_of(window)

    def _charge(self, rate: Rate, so_far: RatedSoFar, quantity: Decimal) -> Decimal | None:
        try:
            charge = charge_difference(so_far, quantity, self._rules.prices.tariff(rate))
        except ChargeOutOfBounds:
            return None
        return max(charge.total, _ZERO)  # A cheaper volume tier lowers the whole: nothing to hold.

    def _event_name(self, properties: Mapping[str, Value]) -> str:
        """Find the one event name whose meters read any of the properties.

        Raises:
            Invalid: there is none, or there are several.
        """
        names = [
            name
            for name, rules in self.approved.readers.items()
            if any(
                rule.value_property in properties
                and rule.governs(self._at)
                and rule.admits(properties)
                for rule in rules
            )
        ]
        if not names:
            raise Invalid("no meter counts anything of this estimate", field="estimate")
        if len(names) > 1:
            raise Invalid(
                f"meters of {', '.join(sorted(names))} read this estimate;"
                " say which event_name it will be",
                field="event_name",
            )
        return names[0]

    def _refuse_what_is_no_quantity(self, properties: Mapping[str, Value], name: str) -> None:
        """Refuse an estimate that a meter could not count, rather than price the rest of it."""
        for rule in self.approved.readers.get(name, ()):
            is_read = rule.needs_quantity and rule.value_property in properties
            if is_read and rule.governs(self._at) and rule.admits(properties):
                try:
                    parse_quantity(properties[rule.value_property])
                except NotAQuantity as error:
                    field = f"estimate.{rule.value_property}"
                    raise Invalid(f"{rule.value_property} {error}", field=field) from error

    def _readers(
        self, properties: Mapping[str, Value], event_name: str
    ) -> list[tuple[MeterRule, Decimal]]:
        """Find the meters that would count an event, with what each counts of it."""
        return [
            (rule, quantity)
            for rule in self.approved.readers.get(event_name, ())
            if rule.is_additive
            and rule.governs(self._at)
            and rule.admits(properties)
            and (quantity := rule.quantity_of(properties)) is not None
        ]


def _periods_near(customer: Customer, hour: datetime) -> list[BillingPeriod]:
    """Return the billing periods that touch an hour."""
    near = BillingPeriod.objects.filter(
        customer=customer, start_at__lt=hour + HOUR, end_at__gt=hour
    )
    return list(near.select_related("rate_card").order_by("start_at"))


def unit_of(period: BillingPeriod | None, unit_ids: set[int]) -> int | None:
    """Choose the pricing unit that credits without a unit are in; None where nothing says.

    Args:
        unit_ids: Units that the customer has grants of.
    """
    if period is not None:
        return period.rate_card.pricing_unit_id
    return next(iter(unit_ids)) if len(unit_ids) == 1 else None


def _no_rate(rule: MeterRule, dimensions: Mapping[str, str | None]) -> str:
    named = ", ".join(f"{name} {value}" for name, value in sorted(dimensions.items()) if value)
    return f"no rate prices {rule.code}" + (f" of {named}" if named else "")
