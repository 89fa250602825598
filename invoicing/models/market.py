"""Where we may sell, and what is taxed there: approved versions; and customers' tax ids."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing_project.kernel.models import PolicyChange
from invoicing.models.entity import MAIN_ENTITY, LegalEntity


class TaxRegistration(models.TextChoices):
    REGISTERED = "registered", "registered for tax there"
    NOT_REQUIRED = "not_required", "no registration is required"


class MarketGateQuerySet(models.QuerySet["MarketGate"]):
    """Gates by whom they are opened to."""

    def of_entity(self, entity_id: int) -> "MarketGateQuerySet":
        """Keep an entity's own."""
        unnamed = Q(entity=None) if entity_id == MAIN_ENTITY else Q(pk__in=[])
        return self.filter(Q(entity=entity_id) | unnamed)


class MarketGate(models.Model):
    """One version of the checklist that opens a market: a country, and a currency to sell in.

    Each legal entity has its own: its registration, its bank, its payouts. Without an approved
    version in force an entity sells nothing there and issues nothing.
    """

    entity = models.ForeignKey(  # Who sells there; None: the main one, signed before it was named.
        LegalEntity, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    country = models.CharField(max_length=2, blank=True)  # "": customers without a country.
    currency = models.CharField(max_length=3)
    number = models.PositiveIntegerField()
    tax_registration = models.CharField(max_length=12, choices=TaxRegistration.choices)
    tax_number = models.CharField(max_length=40, blank=True)  # Ours, in that country.
    registered_on = models.DateField(null=True, blank=True)
    threshold_minor = models.BigIntegerField()  # Of sales there, from which on tax is due.
    settlement_currency = models.CharField(max_length=3)
    bank_country = models.CharField(max_length=2)
    payout_days = models.PositiveSmallIntegerField()  # From a payment to our bank.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    objects = MarketGateQuerySet.as_manager()

    class Meta:
        db_table = "market_gate"
        ordering = ["country", "currency", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "country", "currency", "number"], nulls_distinct=False,
                name="market_gate_once",
            ),
            models.CheckConstraint(
                condition=Q(
                    tax_registration="registered", registered_on__isnull=False, tax_number__gt="",
                )
                | Q(
                    tax_registration="not_required", registered_on__isnull=True, tax_number="",
                ),
                name="market_gate_registered_with_number_and_date",
            ),
            models.CheckConstraint(
                condition=Q(threshold_minor__gte=0), name="market_gate_threshold_not_negative"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        of = f" by {self.entity}" if (self.entity_id or MAIN_ENTITY) != MAIN_ENTITY else ""
        return f"{self.country or 'no country'} {self.currency}{of} v{self.number}"


class TaxRate(models.Model):
    """One version of what is charged on sales to a country where we are registered.

    Inclusive: fees, seats and packs are priced with the tax in them; usage never is.
    """

    country = models.CharField(max_length=2)
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=20)  # "VAT", "GST"
    rate = models.DecimalField(max_digits=9, decimal_places=6)  # 0.19
    is_inclusive = models.BooleanField()
    has_reverse_charge = models.BooleanField()  # Businesses abroad account for it themselves.
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "tax_rate"
        ordering = ["country", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["country", "number"], name="tax_rate_once"),
            models.CheckConstraint(condition=Q(rate__gte=0, rate__lt=1), name="tax_rate_bounds"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.country} v{self.number}"


class TaxIdKind(models.TextChoices):
    EU_VAT = "eu_vat", "EU VAT number"
    GB_VAT = "gb_vat", "UK VAT number"
    CH_VAT = "ch_vat", "Swiss VAT number"
    NO_VAT = "no_vat", "Norwegian VAT number"
    US_EIN = "us_ein", "US EIN"
    CA_BN = "ca_bn", "Canadian business number"
    AU_ABN = "au_abn", "Australian ABN"
    NZ_GST = "nz_gst", "New Zealand GST number"
    IN_GSTIN = "in_gstin", "Indian GSTIN"
    JP_CN = "jp_cn", "Japanese corporate number"


class CustomerTaxId(models.Model):
    """A customer's tax id since an instant; the newest counts, and an empty one ends it."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=TaxIdKind.choices)
    value = models.CharField(max_length=30, blank=True)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "customer_tax_id"
        ordering = ["-id"]
        permissions = [("record_customertaxid", "Can record a customer's tax id")]

    def __str__(self) -> str:
        return self.value or "none any more"
