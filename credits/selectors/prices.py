"""The approved rates, read once for many customers, and which of them price whose usage."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import cached_property

from credits.models import CreditPolicy, Rate, RateCard, RateCardVersion, RatePin
from credits.rating import WORKSPACE, AmbiguousRate, RateOption, asked_of, match_rate
from credits.selectors.governing import (
    approved_pins,
    approved_policies,
    approved_versions,
    is_in_force,
)
from credits.selectors.tariffs import tariff_of_rate
from credits.tariff import Tariff
from metering.models import Meter, UsageWindow, Workspace

_MOST_MATCHES = 100_000
_UNKNOWN = -1


class Prices:
    """The approved rates and burn orders, and all meters: read once for many customers."""

    def __init__(self, rate_card_ids: Collection[int], customer_ids: Collection[int]) -> None:
        """Take up rate cards with the overrides and pins that customers have of them."""
        self._rate_card_ids, self._customer_ids = set(rate_card_ids), set(customer_ids)
        self._matches: dict[tuple[int, str, str, int | None], int | None] = {}
        self._names: dict[int, str] = {}  # Of workspaces, by id.
        self._tariffs: dict[int, Tariff] = {}

    @classmethod
    def of_all(cls) -> "Prices":
        """Read all that is approved at once, for whoever keeps it."""
        customers = RateCard.objects.filter(customer__isnull=False).values_list("customer_id")
        pinned = RatePin.objects.values_list("customer_id")
        cards = RateCard.objects.filter(customer=None).values_list("pk", flat=True)
        found = cls(list(cards), [pk for (pk,) in customers.union(pinned) if pk is not None])
        for part in ("meters", "overrides", "pins", "versions", "rates", "policies", "_by_id"):
            getattr(found, part)
        return found

    @cached_property
    def meters(self) -> dict[int, Meter]:
        """All meters by id: read once, not with each window."""
        return Meter.objects.in_bulk()

    @cached_property
    def overrides(self) -> dict[tuple[int, int], int]:
        """Rate cards that override another, by customer and base."""
        cards = RateCard.objects.filter(
            customer_id__in=self._customer_ids, base_id__in=self._rate_card_ids
        )
        rows = cards.values_list("customer_id", "base_id", "pk")
        return {(customer_id, base_id): pk for customer_id, base_id, pk in rows}

    @cached_property
    def pins(self) -> dict[tuple[int, int], list[RatePin]]:
        """Approved pins by customer and rate card, the one that governs last first."""
        found: dict[tuple[int, int], list[RatePin]] = defaultdict(list)
        for pin in approved_pins(self._rate_card_ids, self._customer_ids):
            found[pin.customer_id, pin.rate_card_id].append(pin)
        return found

    @cached_property
    def versions(self) -> dict[int, list[RateCardVersion]]:
        """Approved versions by rate card, the one that governs last first."""
        by_card: dict[int, list[RateCardVersion]] = defaultdict(list)
        for version in approved_versions(self._rate_card_ids | set(self.overrides.values())):
            by_card[version.rate_card_id].append(version)
        return by_card

    @cached_property
    def rates(self) -> dict[int, Rate]:
        """Rates of all those versions, by id."""
        ids = [version.pk for versions in self.versions.values() for version in versions]
        return {rate.pk: rate for rate in Rate.objects.filter(version_id__in=ids).order_by("pk")}

    @cached_property
    def policies(self) -> list[CreditPolicy]:
        """Approved burn orders, the one that governs last first."""
        return list(approved_policies())

    def standing(
        self, customer_id: int, rate_card_id: int, at: datetime
    ) -> Iterator[RateCardVersion]:
        """Yield the versions that price a customer's usage at an instant, the first one first."""
        override = self.overrides.get((customer_id, rate_card_id))
        own = self.governing(override, at) if override else None
        if own:
            yield own
        if base := self.chosen(customer_id, rate_card_id, at):
            yield base

    def chosen(self, customer_id: int, rate_card_id: int, at: datetime) -> RateCardVersion | None:
        """Find the version of a card that a customer has: the pinned one, or the governing."""
        pin = self.pin(customer_id, rate_card_id, at)
        if pin is None or pin.version_id is None:
            return self.governing(rate_card_id, at)
        return self._by_id[pin.version_id]

    def pin(self, customer_id: int, rate_card_id: int, at: datetime) -> RatePin | None:
        """Find the pin that governs for a customer at an instant."""
        pins = self.pins.get((customer_id, rate_card_id), [])
        return next((pin for pin in pins if is_in_force(pin.policy_change, at)), None)

    def governing(self, rate_card_id: int, at: datetime) -> RateCardVersion | None:
        """Find the version of a rate card that governs at an instant."""
        for version in self.versions.get(rate_card_id, []):
            if is_in_force(version.policy_change, at):
                return version
        return None

    def instants(self) -> set[datetime]:
        """Return when any version or pin begins or expires: in between, prices stay as they are."""
        rows = [row for versions in self.versions.values() for row in versions]
        changes = [row.policy_change for row in rows]
        changes += [pin.policy_change for pins in self.pins.values() for pin in pins]
        ends = {change.expires_at for change in changes if change.expires_at is not None}
        return ends | {change.effective_at for change in changes}

    def match(self, version: RateCardVersion, window: UsageWindow) -> Rate | None:
        """Find the rate of a version that fits a window's meter and dimensions."""
        code = self.meters[window.meter_id].code
        is_asked = (version.pk, code) in self._by_workspace
        place = window.workspace_id if is_asked else None
        key = (version.pk, code, window.dimensions_key, place)
        if (rate_id := self._matches.get(key, _UNKNOWN)) == _UNKNOWN:
            if len(self._matches) >= _MOST_MATCHES:  # Callers name the dimensions: no end of them.
                self._matches.clear()  # Other threads read it: nothing stays until the next line.
            rate_id = self._match(version.pk, code, asked_of(window.dimensions, self._name(place)))
            self._matches[key] = rate_id
        return None if rate_id is None else self.rates[rate_id]

    def tariff(self, rate: Rate) -> Tariff:
        """Return the price function of a rate."""
        if rate.pk not in self._tariffs:
            self._tariffs[rate.pk] = tariff_of_rate(rate)
        return self._tariffs[rate.pk]

    @cached_property
    def _by_id(self) -> dict[int, RateCardVersion]:
        return {row.pk: row for versions in self.versions.values() for row in versions}

    @cached_property
    def _options(self) -> dict[tuple[int, str], list[RateOption]]:
        options: dict[tuple[int, str], list[RateOption]] = defaultdict(list)
        for rate in self.rates.values():
            options[rate.version_id, rate.meter_code].append(RateOption(rate.pk, rate.dimensions))
        return options

    @cached_property
    def _by_workspace(self) -> set[tuple[int, str]]:
        """Versions and meters that have a rate of some workspace."""
        rates = self.rates.values()
        return {
            (rate.version_id, rate.meter_code) for rate in rates if WORKSPACE in rate.dimensions
        }

    def _name(self, workspace_id: int | None) -> str:
        if workspace_id is None:
            return ""
        if workspace_id not in self._names:
            self._names[workspace_id] = Workspace.objects.get(pk=workspace_id).external_id
        return self._names[workspace_id]

    def _match(self, version_id: int, meter_code: str, dimensions: Mapping[str, str]) -> int | None:
        try:
            match = match_rate(self._options.get((version_id, meter_code), ()), dimensions)
        except AmbiguousRate:  # Proposals refuse this; what slipped through waits, visible.
            return None
        return match.id if match else None
