"""Rates of exchange: sheets that finance approves, each with rates of many days and currencies."""

from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange


class ExchangeSheet(models.Model):
    """One approved list of rates; a later one goes before it where both name a day."""

    number = models.PositiveIntegerField(unique=True)
    source = models.CharField(max_length=200)  # "ECB reference rates, November 2026"
    end_on = models.DateField()  # Its last rates hold until here, exclusive.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "exchange_sheet"
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"rates of exchange v{self.number}"


class ExchangeRate(models.Model):
    """What one unit of a currency is worth in the books' own, from a day to its sheet's next."""

    sheet = models.ForeignKey(ExchangeSheet, on_delete=models.PROTECT, related_name="rates")
    currency = models.CharField(max_length=3)
    functional_currency = models.CharField(max_length=3)
    from_on = models.DateField()
    value = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        db_table = "exchange_rate"
        ordering = ["-sheet", "currency", "-from_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["sheet", "currency", "functional_currency", "from_on"],
                name="exchange_rate_once",
            ),
            models.CheckConstraint(  # NaN is not below a bound.
                condition=Q(value__gt=0, value__lt=10**11), name="exchange_rate_positive"
            ),
            models.CheckConstraint(
                condition=~Q(currency=F("functional_currency")), name="exchange_rate_of_another"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency}/{self.functional_currency} from {self.from_on}"
