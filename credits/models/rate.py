"""Versioned, approved prices of usage in a pricing unit."""

from django.db import models

from billing_project.kernel.models import PolicyChange


class PricingUnit(models.Model):
    """What rates are quoted in: a kind of credit."""

    code = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=100)

    class Meta:
        db_table = "pricing_unit"

    def __str__(self) -> str:
        return self.code


class RateCard(models.Model):
    """A named set of rates; its versions carry the prices."""

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "rate_card"

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


class Rate(models.Model):
    """Price of one unit of a meter's quantity, for usage whose dimensions match."""

    version = models.ForeignKey(RateCardVersion, on_delete=models.PROTECT, related_name="rates")
    meter_code = models.CharField(max_length=64)
    dimensions = models.JSONField(default=dict)  # {"model": "gpt-5.4"}; {} matches everything.
    dimensions_key = models.CharField(max_length=64)
    unit_price = models.DecimalField(max_digits=38, decimal_places=18)  # Credits per unit.

    class Meta:
        db_table = "rate"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "meter_code", "dimensions_key"], name="rate_once"
            ),
            models.CheckConstraint(
                condition=models.Q(unit_price__gte=0, unit_price__lt=10**15),
                name="rate_unit_price_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.meter_code} {self.dimensions}"
