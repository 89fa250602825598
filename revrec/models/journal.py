"""The general ledger: balanced, append-only, closed by period."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from invoicing.models import MAIN_ENTITY, LegalEntity
from revrec.models.obligation import PerformanceObligation


class LedgerAccount(models.Model):
    """One account of the chart."""

    code = models.CharField(max_length=10, primary_key=True)
    name = models.CharField(max_length=120)
    is_debit_normal = models.BooleanField()
    is_monetary = models.BooleanField()

    class Meta:
        db_table = "ledger_account"
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class PeriodStatus(models.TextChoices):
    OPEN = "open"
    SOFT = "soft", "soft close"  # Its close is proposed; what comes in is still dated inside.
    CLOSED = "closed"


class AccountingPeriod(models.Model):
    """A calendar month of the books; once closed, nothing is dated inside it.

    The database closes it only after a soft close by somebody else, and never opens it again.
    """

    start_on = models.DateField(unique=True)
    end_on = models.DateField()  # Exclusive.
    status = models.CharField(max_length=6, choices=PeriodStatus.choices, default=PeriodStatus.OPEN)
    soft_closed_at = models.DateTimeField(null=True, blank=True)
    soft_closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
    )
    trial_balance = models.JSONField(default=list, blank=True)  # As signed at close.
    trial_balance_sha256 = models.CharField(max_length=64, blank=True)
    checklist = models.JSONField(default=list, db_default=[], blank=True)  # As met at close.

    class Meta:
        db_table = "accounting_period"
        ordering = ["start_on"]
        permissions = [
            ("propose_close", "Can propose the close of an accounting period"),
            ("close_accountingperiod", "Can close an accounting period"),
            ("sign_closeexception", "Can sign an exception to the checklist of a close"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(end_on__gt=F("start_on")), name="accounting_period_half_open"
            ),
            models.CheckConstraint(
                condition=Q(status="closed", closed_at__isnull=False, closed_by__isnull=False)
                | Q(status__in=["open", "soft"], closed_at__isnull=True, closed_by__isnull=True),
                name="accounting_period_closed_by_someone",
            ),
            models.CheckConstraint(  # Months that one person closed, before two were asked for.
                condition=Q(status="open", soft_closed_at__isnull=True, soft_closed_by__isnull=True)
                | Q(status="soft", soft_closed_at__isnull=False, soft_closed_by__isnull=False)
                | Q(status="closed"),
                name="accounting_period_proposed_by_someone",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.start_on:%Y-%m}"


class JournalEntry(models.Model):
    """A dated, balanced set of postings with one source; append-only.

    The database refuses it at commit unless its postings number `posting_count` and sum to zero in
    each currency, and unless its date lies in an open period. `created_xid` is the transaction
    that wrote it (set by trigger): postings may join in that transaction only. Entries of a legal
    entity form its hash chain; the database holds that a customer's are in their entity's.
    """

    entity: models.ForeignKey[LegalEntity | int, LegalEntity] = (
        models.ForeignKey(  # The unique constraint's index begins with it.
            LegalEntity,
            on_delete=models.PROTECT,
            related_name="+",
            db_default=MAIN_ENTITY,
            db_index=False,
        )
    )

    period = models.ForeignKey(  # journal_entry_by_kind begins with it.
        AccountingPeriod, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    effective_on = models.DateField()
    kind = models.CharField(max_length=40)  # "drawdown", "invoice_finalized"
    description = models.CharField(max_length=300)
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    posting_count = models.PositiveIntegerField()
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    source_key = models.CharField(max_length=160, unique=True)  # "invoice:42:finalized"
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    chain_position = models.BigIntegerField()  # In the chain of its entity.
    previous_sha256 = models.CharField(max_length=64, unique=True)
    entry_sha256 = models.CharField(max_length=64, unique=True)
    created_xid = models.BigIntegerField(editable=False, default=0)

    class Meta:
        db_table = "journal_entry"
        ordering = ["-id"]
        verbose_name_plural = "journal entries"
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "chain_position"], name="journal_entry_chain_position"
            )
        ]
        indexes = [
            models.Index(fields=["customer", "effective_on"], name="journal_entry_customer"),
            models.Index(fields=["period", "kind", "id"], name="journal_entry_by_kind"),
        ]

    def __str__(self) -> str:
        return f"JE-{self.pk}"


class Posting(models.Model):
    """One signed amount on one account: debit positive; append-only.

    What it is worth in the currency of its entity's books stands beside it where that is another;
    without, its amount is in the books' own. A difference of exchange moves only what it is worth.
    """

    entry = models.ForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="postings")
    position = models.PositiveSmallIntegerField()
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    customer = models.ForeignKey(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    obligation = models.ForeignKey(
        PerformanceObligation, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    invoice_line = models.ForeignKey(
        "invoicing.InvoiceLine", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    service_start_on = models.DateField(null=True, blank=True)
    service_end_on = models.DateField(null=True, blank=True)  # Exclusive.
    functional_minor = models.BigIntegerField(null=True, blank=True)
    functional_currency = models.CharField(max_length=3, null=True, blank=True)
    model = models.CharField(max_length=1000, null=True, blank=True)  # Whose use was earned.

    class Meta:
        db_table = "posting"
        constraints = [
            models.UniqueConstraint(fields=["entry", "position"], name="posting_position"),
            models.CheckConstraint(
                condition=~Q(amount_minor=0)
                | (Q(functional_minor__isnull=False) & ~Q(functional_minor=0)),
                name="posting_not_zero",
            ),
            models.CheckConstraint(
                condition=Q(functional_minor__isnull=True, functional_currency__isnull=True)
                | (
                    Q(functional_minor__isnull=False, functional_currency__isnull=False)
                    & ~Q(functional_currency=F("currency"))
                ),
                name="posting_functional_is_another",
            ),
            models.CheckConstraint(condition=~Q(model=""), name="posting_model_named"),
        ]
        indexes = [
            models.Index(
                fields=["customer", "currency"],
                condition=Q(functional_currency__isnull=False),
                name="posting_translated",
            )
        ]

    def __str__(self) -> str:
        return f"{self.entry_id}/{self.position}"

    @property
    def worth_minor(self) -> int:
        """What it is worth in the currency of its entity's books."""
        return self.amount_minor if self.functional_minor is None else self.functional_minor

    @property
    def worth_currency(self) -> str:
        """The currency of its entity's books, as far as they have one."""
        return self.functional_currency or self.currency


class EntrySource(models.Model):
    """Which fact a journal entry accounts for; a fact is accounted for once in each role.

    A fact that moves no money (a promotional drawdown, a share that rounds to nothing) has a source
    row without an entry: it was looked at, and there was nothing to post.
    """

    entry = models.ForeignKey(
        JournalEntry, on_delete=models.PROTECT, related_name="sources", null=True, blank=True
    )
    source_type = models.CharField(max_length=30)  # "ledger_transaction"
    source_id = models.BigIntegerField()
    role = models.CharField(max_length=20)  # "recognised"

    class Meta:
        db_table = "entry_source"
        constraints = [
            models.UniqueConstraint(
                fields=["source_type", "source_id", "role"], name="entry_source_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source_type}:{self.source_id}"
