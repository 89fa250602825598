"""Claims on customers: drafts that may still change, and issued ones that may not."""

from django.db import models
from django.db.models import F, Q

from invoicing.models.entity import MAIN_ENTITY, LegalEntity
from invoicing.models.plan import Subscription


class NumberSeries(models.Model):
    """The gapless counter of one kind of document of one entity; taken last, when it is issued."""

    entity = models.ForeignKey(
        LegalEntity, on_delete=models.PROTECT, related_name="series", db_default=MAIN_ENTITY
    )
    code = models.CharField(max_length=20)  # "INV", "CN"
    last_number = models.BigIntegerField(default=0)

    class Meta:
        db_table = "number_series"
        verbose_name_plural = "number series"
        constraints = [
            models.UniqueConstraint(fields=["entity", "code"], name="number_series_once"),
            models.CheckConstraint(
                condition=Q(last_number__gte=0), name="number_series_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entity} {self.code}"


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft"
    FINALIZED = "finalized"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class TaxTreatment(models.TextChoices):
    OUTSIDE = "outside", "no tax: no registration is required"
    STANDARD = "standard"
    REVERSE_CHARGE = "reverse_charge", "reverse charge: the customer accounts for the tax"


class Invoice(models.Model):
    """One claim; a draft has no number, finalizing gives it one and freezes it.

    After that only what settles or ends it moves: the database moves it when a payment, an
    application of the customer's balance, a credit note, a void or a write-off is inserted, and
    refuses what would leave 0 <= open <= total, or give back more money than was paid.
    """

    customer = models.ForeignKey("metering.Customer", on_delete=models.PROTECT, related_name="+")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    entity = models.ForeignKey(  # Who bills the customer.
        LegalEntity, on_delete=models.PROTECT, related_name="+", db_default=MAIN_ENTITY
    )
    workspace = models.ForeignKey(  # Whose usage alone it is over; None: the account's.
        "metering.Workspace", on_delete=models.PROTECT, related_name="+", null=True, blank=True,
        db_index=False,
    )  # fmt: skip
    number = models.CharField(max_length=32, unique=True, null=True, blank=True)
    sequence = models.BigIntegerField(null=True, blank=True)
    status = models.CharField(
        max_length=13, choices=InvoiceStatus.choices, default=InvoiceStatus.DRAFT
    )
    currency = models.CharField(max_length=3)
    service_start_at = models.DateTimeField()
    service_end_at = models.DateTimeField()
    total_minor = models.BigIntegerField(default=0)  # Lines with their tax.
    tax_minor = models.BigIntegerField(default=0, db_default=0)
    tax_treatment = models.CharField(max_length=14, choices=TaxTreatment.choices, blank=True)
    tax_name = models.CharField(max_length=20, blank=True)  # "VAT"
    customer_tax_id = models.CharField(max_length=30, blank=True)  # As it was when issued,
    customer_name = models.CharField(max_length=200, blank=True, db_default="")  # as all of these.
    customer_address = models.TextField(blank=True, db_default="")  # In lines.
    locale = models.CharField(max_length=35, blank=True, db_default="")  # "de-DE"
    seller_name = models.CharField(max_length=200, blank=True, db_default="")
    seller_address = models.TextField(blank=True, db_default="")
    seller_tax_number = models.CharField(max_length=40, blank=True, db_default="")
    paid_minor = models.BigIntegerField(default=0)  # As money.
    applied_minor = models.BigIntegerField(default=0, db_default=0)  # By the customer's balance.
    credited_minor = models.BigIntegerField(default=0)
    returned_minor = models.BigIntegerField(default=0, db_default=0)  # Notes give back as money.
    open_minor = models.BigIntegerField(default=0)  # Still owed.
    written_off_minor = models.BigIntegerField(default=0, db_default=0)  # Not expected any more.
    replaces = models.OneToOneField(
        "self", on_delete=models.PROTECT, related_name="replacement", null=True, blank=True
    )  # The void invoice that this one claims again.
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField()  # End of grace: when a draft may be finalized.
    finalized_at = models.DateTimeField(null=True, blank=True)
    due_on = models.DateField(null=True, blank=True)
    source_key = models.CharField(max_length=120, unique=True)  # "billing_period:4:overage"

    class Meta:
        db_table = "invoice"
        ordering = ["-id"]
        permissions = [
            ("finalize_invoice", "Can finalize a draft invoice"),
            ("record_payment", "Can record a payment"),
            ("void_invoice", "Can void an issued invoice"),
            ("write_off_invoice", "Can write off an invoice as uncollectible"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["entity", "sequence"], name="invoice_sequence_once"),
            models.CheckConstraint(
                condition=Q(
                    status="draft", number__isnull=True, sequence__isnull=True,
                    finalized_at__isnull=True, paid_minor=0, applied_minor=0, credited_minor=0,
                    returned_minor=0, open_minor=0, written_off_minor=0,
                )
                | Q(
                    status="finalized", number__isnull=False, sequence__isnull=False,
                    finalized_at__isnull=False, open_minor__gt=0, written_off_minor=0,
                )
                | Q(
                    status="paid", number__isnull=False, sequence__isnull=False,
                    finalized_at__isnull=False, open_minor=0, written_off_minor=0,
                )
                | Q(
                    status="void", number__isnull=False, sequence__isnull=False,
                    finalized_at__isnull=False, paid_minor=0, applied_minor=0, credited_minor=0,
                    returned_minor=0, open_minor=0, written_off_minor=0,
                )
                | Q(
                    status="uncollectible", number__isnull=False, sequence__isnull=False,
                    finalized_at__isnull=False, open_minor=0, written_off_minor__gt=0,
                ),
                name="invoice_number_iff_finalized",
            ),
            models.CheckConstraint(
                condition=Q(
                    written_off_minor__gte=0,
                    written_off_minor__lte=F("total_minor") - F("credited_minor"),
                ),
                name="invoice_written_off_within_total",
            ),
            models.CheckConstraint(
                condition=Q(paid_minor__gte=0, paid_minor__lte=F("total_minor")),
                name="invoice_paid_within_total",
            ),
            models.CheckConstraint(
                condition=Q(credited_minor__gte=0, credited_minor__lte=F("total_minor")),
                name="invoice_credited_within_total",
            ),
            models.CheckConstraint(
                condition=Q(open_minor__gte=0, open_minor__lte=F("total_minor")),
                name="invoice_open_within_total",
            ),
            models.CheckConstraint(
                condition=Q(applied_minor__gte=0, applied_minor__lte=F("total_minor")),
                name="invoice_applied_within_total",
            ),
            models.CheckConstraint(
                condition=Q(returned_minor__gte=0, returned_minor__lte=F("paid_minor")),
                name="invoice_returned_within_paid",
            ),
            models.CheckConstraint(  # So that no note gives back what was never paid.
                condition=Q(open_minor__lte=F("total_minor") - F("credited_minor")),
                name="invoice_open_not_credited",
            ),
        ]  # fmt: skip
        indexes = [models.Index(fields=["customer", "-id"], name="invoice_customer")]

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"


class LineKind(models.TextChoices):
    RECURRING = "recurring"
    OVERAGE = "overage"
    CREDITS_USED = "credits_used"  # A statement with amount zero.
    CREDIT_PACK = "credit_pack"
    SEAT = "seat"
    OUTCOME = "outcome"
    ONE_OFF = "one_off"
    COMMIT_SHORTFALL = "commit_shortfall"
    COMMITMENT = "commitment"  # Credits for a term, paid ahead; what is left ends with it.


PREPAID = (LineKind.CREDIT_PACK, LineKind.COMMITMENT)  # Lines whose payment brings credits.


class InvoiceLine(models.Model):
    """Description, quantity, unit price, amount and service period of one claim."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=LineKind.choices)
    description = models.CharField(max_length=300)
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    unit = models.CharField(max_length=32, blank=True)
    unit_price_unrounded = models.DecimalField(max_digits=38, decimal_places=12)
    amount_minor = models.BigIntegerField()  # Net of tax.
    discount_minor = models.BigIntegerField(default=0, db_default=0)  # Taken off before the amount.
    tax_minor = models.BigIntegerField(default=0, db_default=0)
    tax_rate = models.DecimalField(max_digits=9, decimal_places=6, default=0, db_default=0)
    is_tax_inclusive = models.BooleanField(default=False, db_default=False)  # The price had it in.
    credited_minor = models.BigIntegerField(default=0)  # Net.
    tax_credited_minor = models.BigIntegerField(default=0, db_default=0)
    service_start_at = models.DateTimeField()
    service_end_at = models.DateTimeField()
    billing_period = models.ForeignKey(
        "credits.BillingPeriod", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    source_key = models.CharField(max_length=120, unique=True)  # "billing_period:4:fee"

    class Meta:
        db_table = "invoice_line"
        ordering = ["invoice", "position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position"),
            models.CheckConstraint(
                condition=Q(amount_minor__gte=0), name="invoice_line_amount_positive"
            ),
            models.CheckConstraint(
                condition=Q(discount_minor__gte=0), name="invoice_line_discount_positive"
            ),
            models.CheckConstraint(
                condition=Q(credited_minor__gte=0, credited_minor__lte=F("amount_minor")),
                name="invoice_line_credited_within_amount",
            ),
            models.CheckConstraint(
                condition=Q(service_end_at__gt=F("service_start_at")),
                name="invoice_line_half_open",
            ),
            models.CheckConstraint(
                condition=Q(tax_minor__gte=0, tax_rate__gte=0, tax_rate__lt=1),
                name="invoice_line_tax_bounds",
            ),
            models.CheckConstraint(
                condition=Q(tax_credited_minor__gte=0, tax_credited_minor__lte=F("tax_minor")),
                name="invoice_line_tax_credited_within_tax",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.invoice} line {self.position}"


class LineUsage(models.Model):
    """Which rated usage stands behind a line; frozen with the invoice."""

    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="usage")
    rated_usage = models.ForeignKey(
        "credits.RatedUsage", on_delete=models.PROTECT, related_name="+"
    )
    kind = models.CharField(max_length=16, choices=LineKind.choices)
    is_void = models.BooleanField(default=False, db_default=False)  # Its invoice is: bill it again.

    class Meta:
        db_table = "line_usage"
        constraints = [
            models.UniqueConstraint(
                fields=["rated_usage", "kind"],
                condition=Q(is_void=False),
                name="line_usage_billed_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.rated_usage_id}"
