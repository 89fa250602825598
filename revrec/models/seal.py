"""Seals: what the journal had come to at each close, signed."""

from django.conf import settings
from django.db import models

from revrec.models.journal import AccountingPeriod


class LedgerSeal(models.Model):
    """The head of the hash chain when a month was closed, in a signed manifest; append-only.

    The database takes it only where it names the chain's last entry as it stands.
    """

    period = models.OneToOneField(AccountingPeriod, on_delete=models.PROTECT, related_name="seal")
    entity = models.CharField(max_length=200)
    head_position = models.BigIntegerField()
    head_sha256 = models.CharField(max_length=64)
    manifest = models.TextField()  # Canonical JSON: the very text that is signed.
    signature = models.CharField(max_length=88)  # Base64, as the key.
    public_key = models.CharField(max_length=44)
    sealed_at = models.DateTimeField()
    sealed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "ledger_seal"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"seal of {self.period}"
