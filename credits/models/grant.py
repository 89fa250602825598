"""Credits given, and the append-only ledger that says where each went."""

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing_project.kernel.models import PolicyChange
from credits.models.position import position_field
from credits.models.rate import PricingUnit
from credits.models.rated import RatedUsage
from credits.models.terms import GrantTerms, RecurringGrant


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
    """Credits given to a customer; only `remaining` moves, and the ledger explains each move.

    A linked grant holds credits that left another one, its `origin`: rolled over, or returned after
    its end. `root` is the first of such a chain. Price and `basis_amount` are inherited, so that a
    credit keeps its cost basis exactly: price_minor / (basis_amount or amount).
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    pricing_unit = models.ForeignKey(PricingUnit, on_delete=models.PROTECT, related_name="+")
    category = models.CharField(max_length=12, choices=GrantCategory.choices)
    name = models.CharField(max_length=100, blank=True, default="", db_default="")
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    remaining = models.DecimalField(max_digits=38, decimal_places=12)
    price_minor = models.BigIntegerField(default=0)  # What was paid for it, ex tax: its cost basis.
    currency = models.CharField(max_length=3)
    # Credits that the price was paid for, where they are not the grant's own amount.
    basis_amount = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    origin = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="linked", null=True, blank=True
    )
    root = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    terms = models.ForeignKey(
        GrantTerms, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    rule = models.ForeignKey(  # The constraint on rule and period begins with it.
        RecurringGrant,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        db_index=False,
    )
    rule_period_at = models.DateTimeField(null=True, blank=True)  # Which period of the rule.
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
            models.CheckConstraint(
                condition=Q(origin__isnull=True, root__isnull=True, basis_amount__isnull=True)
                | Q(origin__isnull=False, root__isnull=False, basis_amount__gte=F("amount")),
                name="credit_grant_linked_has_basis",
            ),
            models.CheckConstraint(
                condition=Q(rule__isnull=True, rule_period_at__isnull=True)
                | Q(rule__isnull=False, rule_period_at__isnull=False, origin__isnull=True),
                name="credit_grant_rule_has_period",
            ),
            models.UniqueConstraint(
                fields=["rule", "rule_period_at"], name="credit_grant_rule_once"
            ),
        ]
        indexes = [models.Index(fields=["customer", "effective_at"], name="credit_grant_customer")]

    def __str__(self) -> str:
        return f"{self.category} grant {self.pk}"

    @property
    def priced_amount(self) -> Decimal:
        """Credits that the whole price was paid for."""
        return self.basis_amount or self.amount


class LedgerKind(models.TextChoices):
    GRANTED = "granted"
    DRAWN = "drawn"
    RETURNED = "returned"
    EXPIRED = "expired"
    VOIDED = "voided"
    REINSTATED = "reinstated"  # A void or an expiry undone.
    ROLLED_OVER = "rolled_over"  # Left for a linked grant.


class LedgerTransaction(models.Model):
    """One append-only entry of a customer's credit ledger; positive adds to the balance."""

    customer = models.ForeignKey(  # Indexes below begin with it.
        "metering.Customer", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="transactions")
    kind = models.CharField(max_length=12, choices=LedgerKind.choices)
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
    position = position_field()

    class Meta:
        db_table = "ledger_transaction"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=["granted", "returned", "reinstated"],
                    credits__gt=0,
                    credits__lt=10**24,
                )
                | Q(
                    kind__in=["drawn", "expired", "voided", "rolled_over"],
                    credits__lt=0,
                    credits__gt=-(10**24),
                )
                | Q(kind="voided", reason_code="disputed", credits=0)  # Nothing was unused.
                | Q(kind="reinstated", reason_code="dispute_closed", credits=0),
                name="ledger_transaction_sign",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["drawn", "returned"],
                    rated_usage__isnull=False,
                    credit_policy__isnull=False,
                )
                | Q(
                    kind__in=["granted", "expired", "voided", "reinstated", "rolled_over"],
                    rated_usage__isnull=True,
                ),
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
            models.Index(
                fields=["customer"],
                condition=Q(kind="reinstated") & ~Q(reason_code="late_usage"),
                name="ledger_transaction_given_again",
            ),
            models.Index(fields=["grant", "id"], name="ledger_transaction_grant"),
        ]

    def __str__(self) -> str:
        return self.source_key
