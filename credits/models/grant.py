"""Credits given, and the append-only ledger that says where each went."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from credits.models.rate import PricingUnit
from credits.models.rated import RatedUsage


class CreditPolicy(models.Model):
    """One version of the rule for which grant is used first."""

    code = models.CharField(max_length=64)  # "burn_order"
    number = models.PositiveIntegerField()
    burn_order = models.JSONField()  # ["priority", "expiry", "promotional_first", ...]
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "credit_policy"
        verbose_name_plural = "credit policies"
        constraints = [
            models.UniqueConstraint(fields=["code", "number"], name="credit_policy_once")
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.number}"


class GrantCategory(models.TextChoices):
    PAID = "paid"
    PROMOTIONAL = "promotional"
    INCLUDED = "included"
    GOODWILL = "goodwill"


class CreditGrant(models.Model):
    """Credits given to a customer; only `remaining` moves, and the ledger explains each move."""

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    category = models.CharField(max_length=12, choices=GrantCategory.choices)
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    remaining = models.DecimalField(max_digits=38, decimal_places=12)
    price_minor = models.BigIntegerField(default=0)  # What was paid for it, ex tax: its cost basis.
    currency = models.CharField(max_length=3)
    priority = models.PositiveSmallIntegerField(default=50)
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    workspace = models.ForeignKey(
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    meter_codes = models.JSONField(default=list, blank=True)  # Empty: every meter.
    reason_code = models.CharField(max_length=40)
    source_key = models.CharField(max_length=120, unique=True)  # "invoice_line:9:pack"
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_grant"
        ordering = ["-id"]
        permissions = [
            ("grant_credits", "Can give promotional or goodwill credits"),
            ("void_creditgrant", "Can void or expire a credit grant"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(remaining__gte=0, remaining__lte=F("amount")),
                name="credit_grant_remaining_bounds",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0, amount__lt=10**24), name="credit_grant_amount_bounds"
            ),
            models.CheckConstraint(
                condition=Q(priority__lte=100), name="credit_grant_priority_bounds"
            ),
            models.CheckConstraint(
                condition=Q(price_minor=0) | Q(category="paid", price_minor__gt=0),
                name="credit_grant_only_paid_has_price",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("effective_at")),
                name="credit_grant_expires_after_effective",
            ),
        ]
        indexes = [models.Index(fields=["customer", "effective_at"], name="credit_grant_customer")]

    def __str__(self) -> str:
        return f"{self.category} grant {self.pk}"


class LedgerKind(models.TextChoices):
    GRANTED = "granted"
    DRAWN = "drawn"
    RETURNED = "returned"
    EXPIRED = "expired"
    VOIDED = "voided"


class LedgerTransaction(models.Model):
    """One append-only entry of a customer's credit ledger; positive adds to the balance."""

    customer = models.ForeignKey(  # Indexes below begin with it.
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="transactions")
    kind = models.CharField(max_length=10, choices=LedgerKind.choices)
    credits = models.DecimalField(max_digits=38, decimal_places=12)
    cost_unrounded = models.DecimalField(max_digits=38, decimal_places=12)  # Grant's price share.
    rated_usage = models.ForeignKey(
        RatedUsage, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    credit_policy = models.ForeignKey(
        CreditPolicy, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    reason_code = models.CharField(max_length=40, blank=True)
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    source_key = models.CharField(max_length=120, unique=True)

    class Meta:
        db_table = "ledger_transaction"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["granted", "returned"], credits__gt=0, credits__lt=10**24)
                | Q(
                    kind__in=["drawn", "expired", "voided"],
                    credits__lt=0,
                    credits__gt=-(10**24),
                ),
                name="ledger_transaction_sign",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["drawn", "returned"],
                    rated_usage__isnull=False,
                    credit_policy__isnull=False,
                )
                | Q(kind__in=["granted", "expired", "voided"], rated_usage__isnull=True),
                name="ledger_transaction_burn_has_usage",
            ),
            models.UniqueConstraint(
                fields=["grant"],
                condition=Q(kind="granted"),
                name="ledger_transaction_granted_once",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "effective_at"], name="ledger_transaction_customer"),
            models.Index(fields=["customer", "id"], name="ledger_transaction_order"),
        ]

    def __str__(self) -> str:
        return self.source_key
