"""How other ledgers know our accounts, and which stretches of the journal they were given."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from invoicing.models import MAIN_ENTITY, LegalEntity
from revrec.journal_forms import Detail, Form, Layout
from revrec.models.journal import LedgerAccount


class AccountMap(models.Model):
    """One version of the customer's own account codes; governs days from its date on."""

    number = models.PositiveIntegerField(unique=True)
    effective_on = models.DateField()
    tax_rate = models.CharField(max_length=60)  # What Xero calls a line without tax.
    reason = models.TextField()
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "account_map"
        ordering = ["-number"]
        permissions = [
            ("map_accounts", "Can say how other ledgers know the accounts"),
            ("export_journal", "Can export the journal to other ledgers"),
        ]

    def __str__(self) -> str:
        return f"account map {self.number}"


class AccountCode(models.Model):
    """One of our accounts as another ledger knows it."""

    account_map = models.ForeignKey(AccountMap, on_delete=models.PROTECT, related_name="codes")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="+")
    code = models.CharField(max_length=40)
    name = models.CharField(max_length=200)

    class Meta:
        db_table = "account_code"
        constraints = [
            models.UniqueConstraint(fields=["account_map", "account"], name="account_code_once")
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.code}"


class JournalExport(models.Model):
    """A stretch of the journal that was handed to another ledger, for good.

    Its file is made of what never changes, and its sha256 is kept: made again, it is the same to
    the last byte. Each begins where the one before it, of its entity, form, detail and currency,
    ended.
    """

    entity: models.ForeignKey[LegalEntity | int, LegalEntity] = models.ForeignKey(
        LegalEntity, on_delete=models.PROTECT, related_name="+", db_default=MAIN_ENTITY
    )
    form = models.CharField(max_length=12, choices=[(f.value, f.value) for f in Form])
    detail = models.CharField(max_length=6, choices=[(d.value, d.value) for d in Detail])
    currency = models.CharField(max_length=3)
    first_position = models.BigIntegerField()  # Of its entity's chain, both included.
    last_position = models.BigIntegerField()
    account_map = models.ForeignKey(
        AccountMap, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )  # The newest version when it was made.
    line_count = models.BigIntegerField()
    debit_minor = models.BigIntegerField()
    credit_minor = models.BigIntegerField()
    # What the lines are worth in the currency of the books; nothing in files of before.
    layout = models.PositiveSmallIntegerField(
        choices=[(one.value, one.name.lower()) for one in Layout], db_default=Layout.AMOUNTS.value
    )
    books_currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    books_debit_minor = models.BigIntegerField(default=0, db_default=0)
    books_credit_minor = models.BigIntegerField(default=0, db_default=0)
    sha256 = models.CharField(max_length=64)
    source_key = models.CharField(max_length=160, unique=True)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "journal_export"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entity", "form", "detail", "currency", "first_position"],
                name="journal_export_once",
            ),
            models.CheckConstraint(
                condition=Q(first_position__gte=1, last_position__gte=F("first_position")),
                name="journal_export_forward",
            ),
            models.CheckConstraint(
                condition=Q(debit_minor=F("credit_minor"), debit_minor__gte=0),
                name="journal_export_balanced",
            ),
            models.CheckConstraint(
                condition=Q(books_debit_minor=F("books_credit_minor"), books_debit_minor__gte=0)
                & (Q(books_currency__gt="") | Q(books_debit_minor=0)),
                name="journal_export_balanced_in_books",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.form} {self.currency} {self.first_position} to {self.last_position}"
