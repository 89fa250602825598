"""Versioned, approved prices of usage in a pricing unit."""

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange

_CREDIT_LIMIT = 10**24


class PricingUnit(models.Model):
    """What rates are quoted in: a kind of credit, or a currency."""

    code = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=100)
    # Set where the unit is a currency: one of it is one of the currency.
    currency = models.CharField(max_length=3, blank=True, default="")

    class Meta:
        db_table = "pricing_unit"
        constraints = [
            models.CheckConstraint(
                condition=Q(currency__regex=r"^([A-Z]{3})?$"), name="pricing_unit_currency_code"
            ),
            models.UniqueConstraint(
                fields=["currency"], condition=~Q(currency=""), name="pricing_unit_currency_once"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class RateCard(models.Model):
    """A named set of rates; its versions carry the prices.

    A card with a customer overrides its base for them: usage looks here first, then in the base.
    """

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    base = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="overrides", null=True, blank=True
    )

    class Meta:
        db_table = "rate_card"
        constraints = [
            models.CheckConstraint(
                condition=Q(customer__isnull=True, base__isnull=True)
                | Q(customer__isnull=False, base__isnull=False),
                name="rate_card_override_has_base",
            ),
            models.UniqueConstraint(fields=["customer", "base"], name="rate_card_override_once"),
        ]

    def __str__(self) -> str:
        return self.code


class RateCardVersion(models.Model):
    """One immutable version; governs from its policy change's effective date once approved."""

    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "rate_card_version"
        ordering = ["rate_card", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["rate_card", "number"], name="rate_card_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.rate_card.code} v{self.number}"


class PricingModel(models.TextChoices):
    PER_UNIT = "per_unit"
    PACKAGE = "package"
    GRADUATED = "graduated"
    VOLUME = "volume"
    FLAT_FEE = "flat_fee"
    PERCENTAGE = "percentage"


class Pools(models.TextChoices):
    """Over what a rate's quantity accumulates within a billing period."""

    WORKSPACE = "workspace"
    ACCOUNT = "account"


class Rate(models.Model):
    """Price of a meter's quantity, for usage whose dimensions match.

    `terms` is what the pricing model needs beside its unit price, decimals as plain text:
    {"size", "price"} of a package; {"tiers": [{"up_to", "unit_price", "flat_fee"}]}, ascending and
    the last one open, graduated or by volume; {"fee"}; {"percent"}. A rate that was written as a
    cell of a matrix names it: {"matrix"}.
    """

    version = models.ForeignKey(RateCardVersion, on_delete=models.PROTECT, related_name="rates")
    meter_code = models.CharField(max_length=64)
    dimensions = models.JSONField(default=dict)  # {"model": "gpt-5.4"}; {} matches everything.
    dimensions_key = models.CharField(max_length=64)
    model = models.CharField(
        max_length=10, choices=PricingModel.choices, default=PricingModel.PER_UNIT
    )
    unit_price = models.DecimalField(max_digits=38, decimal_places=18)  # Credits per unit.
    terms = models.JSONField(default=dict)
    # Of a billing period, in the meter's unit: what is free. In credits: least and most charge.
    included = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    minimum = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    maximum = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    pools = models.CharField(max_length=9, choices=Pools.choices, default=Pools.WORKSPACE)

    class Meta:
        db_table = "rate"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "meter_code", "dimensions_key"], name="rate_once"
            ),
            models.CheckConstraint(
                condition=Q(unit_price__gte=0, unit_price__lt=10**15),
                name="rate_unit_price_bounds",
            ),
            models.CheckConstraint(
                condition=Q(model="per_unit")
                | Q(unit_price=0, model="package", terms__has_keys=["size", "price"])
                | Q(unit_price=0, model__in=["graduated", "volume"], terms__has_key="tiers")
                | Q(unit_price=0, model="flat_fee", terms__has_key="fee")
                | Q(unit_price=0, model="percentage", terms__has_key="percent"),
                name="rate_terms_of_model",
            ),
            models.CheckConstraint(
                condition=Q(pools__in=["workspace", "account"]), name="rate_pools_known"
            ),
            models.CheckConstraint(
                condition=(Q(included__isnull=True) | Q(included__gt=0, included__lt=_CREDIT_LIMIT))
                & (Q(minimum__isnull=True) | Q(minimum__gt=0, minimum__lt=_CREDIT_LIMIT))
                & (Q(maximum__isnull=True) | Q(maximum__gt=0, maximum__lt=_CREDIT_LIMIT))
                & (
                    Q(minimum__isnull=True) | Q(maximum__isnull=True) | Q(minimum__lte=F("maximum"))
                ),
                name="rate_allowance_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter_code} {self.dimensions}"


class RatePin(models.Model):
    """One customer's choice of version of a rate card, in force once its change was approved.

    The newest pin in force governs; one without a version lets the customer follow the card again.
    A pin is a promise: it outlives the day on which its version expires for everybody else.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT, related_name="pins")
    version = models.ForeignKey(
        RateCardVersion, on_delete=models.PROTECT, related_name="pins", null=True, blank=True
    )
    policy_change = models.ForeignKey(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "rate_pin"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy_change", "customer", "rate_card"], name="rate_pin_once"
            )
        ]

    def __str__(self) -> str:
        number = f"v{self.version.number}" if self.version else "as the card"
        return f"{self.rate_card.code} {number} for {self.customer}"
