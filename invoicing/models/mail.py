"""How customers see their invoices without a login: mails to send, and links to a page."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from invoicing.models.invoice import Invoice

_ENDS = ("next_try_at", "sent_at", "given_up_at")


def _only(end: str) -> Q:
    return Q(**{f"{name}__isnull": name != end for name in _ENDS})


class InvoiceMail(models.Model):
    """A mail with an issued invoice: written with its cause, tried until it is out or given up."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="mails")
    source_key = models.CharField(max_length=200, unique=True)  # "invoice:12:issued"
    address = models.EmailField()
    queued_at = models.DateTimeField()
    queued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    given_up_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=300, blank=True)  # Why the last try failed.

    class Meta:
        db_table = "invoice_mail"
        ordering = ["-id"]
        permissions = [("send_invoicemail", "Can send an invoice to its customer")]
        constraints = [
            models.CheckConstraint(
                condition=_only("next_try_at") | _only("sent_at") | _only("given_up_at"),
                name="invoice_mail_one_state",
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(attempts__gt=0), name="invoice_mail_sent_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="invoice_mail_due",
            )
        ]

    def __str__(self) -> str:
        return f"mail of {self.invoice} to {self.address}"

    @property
    def state(self) -> str:
        """Say how far it is: "waits", "sent" or "given up"."""
        if self.sent_at is not None:
            return "sent"
        return "waits" if self.given_up_at is None else "given up"


class HostedLink(models.Model):
    """A link to an issued invoice's page. Whoever has it reads: it expires, and can be revoked.

    The address carries the row's id under a signature; nothing here is secret.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="hosted_links")
    made_at = models.DateTimeField()
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    revoke_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "hosted_link"
        ordering = ["-id"]
        permissions = [("revoke_hostedlink", "Can revoke a link to an invoice's page")]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at")), name="hosted_link_lasts"
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True, revoked_by__isnull=True, revoke_reason="")
                | Q(revoked_at__isnull=False, revoked_by__isnull=False, revoke_reason__gt=""),
                name="hosted_link_revoked_by_someone",
            ),
        ]

    def __str__(self) -> str:
        return f"link to {self.invoice}"
