"""How far a customer's books have come, so that the next step reads only what is new."""

from django.db import models

from revrec.models.obligation import PerformanceObligation


class BooksMark(models.Model):
    """Through which facts a customer's books are complete.

    Ledger transactions and rated usage are written under the customer's lock, so that a customer's
    ids commit in their order; the mark moves under the same lock.
    """

    customer = models.OneToOneField(
        "metering.Customer", on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    through_transaction = models.BigIntegerField(default=0)
    through_usage = models.BigIntegerField(default=0)

    class Meta:
        db_table = "books_mark"

    def __str__(self) -> str:
        return f"customer:{self.customer_id}"


class UsedCredits(models.Model):
    """Credits of a promise's grant that the books know as used, net of returned ones."""

    obligation = models.OneToOneField(
        PerformanceObligation, on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    credits = models.DecimalField(max_digits=38, decimal_places=12)

    class Meta:
        db_table = "used_credits"
        verbose_name_plural = "used credits"

    def __str__(self) -> str:
        return f"obligation:{self.obligation_id}"
