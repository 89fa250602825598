"""What we asked Stripe for, and what it told us: names and states, never cards or secrets."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from invoicing.models.invoice import Invoice


class StripeCustomer(models.Model):
    """A customer's name at Stripe, and the payment method that may be charged off-session."""

    customer = models.OneToOneField("metering.Customer", on_delete=models.PROTECT, related_name="+")
    stripe_id = models.CharField(max_length=100, unique=True)
    payment_method = models.CharField(max_length=100, blank=True)
    payment_method_at = models.DateTimeField(null=True, blank=True)  # When it was set or lost.
    created_at = models.DateTimeField()

    class Meta:
        db_table = "stripe_customer"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.stripe_id


class CallKind(models.TextChoices):
    CUSTOMER = "customer"
    SETUP = "setup"  # A hosted page where the customer types their card.
    PAYMENT = "payment"
    REFUND = "refund"
    METER = "meter"  # The rest is the mirror, which moves no money.
    USAGE = "usage"
    GRANT = "grant"
    COPY = "copy"  # Of an invoice: a draft that Stripe never collects.
    COPY_LINES = "copy_lines"
    NOTE = "note"  # On a copy that has ended.
    END = "end"  # Of a grant, of a copy or of a note on it.


MIRRORED = (
    CallKind.METER, CallKind.USAGE, CallKind.GRANT, CallKind.COPY, CallKind.COPY_LINES,
    CallKind.NOTE, CallKind.END,
)  # fmt: skip


class CallState(models.TextChoices):
    PENDING = "pending"  # Written down, not sent.
    UNKNOWN = "unknown"  # Sent, or being sent; whether it was done is not known.
    DONE = "done"
    FAILED = "failed"  # It was not done and will not be: another generation may ask again.


class StripeCall(models.Model):
    """One thing that we ask Stripe to do, once; committed before it is sent.

    Subject and generation make the idempotency key, so that no crash makes a second one. The
    parameters are kept: the same key always comes with the same words.
    """

    kind = models.CharField(max_length=10, choices=CallKind.choices)
    subject = models.CharField(max_length=60)  # "invoice:42"
    generation = models.PositiveIntegerField()
    customer = models.ForeignKey(  # None: about nobody, such as a meter.
        "metering.Customer", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    idempotency_key = models.CharField(max_length=200, unique=True)
    params = models.JSONField()
    state = models.CharField(max_length=7, choices=CallState.choices, default=CallState.PENDING)
    attempt_count = models.PositiveIntegerField(default=0)
    first_sent_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField()  # When it may be sent again; nobody else sends until then.
    stripe_id = models.CharField(max_length=100, blank=True)  # What came of it.
    error_code = models.CharField(max_length=60, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "stripe_call"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject", "generation"], name="stripe_call_once"
            ),
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(state__in=["pending", "unknown"]),
                name="stripe_call_one_open",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "unknown"], finished_at__isnull=True)
                | Q(state__in=["done", "failed"], finished_at__isnull=False),
                name="stripe_call_finished",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", first_sent_at__isnull=True)
                | Q(state__in=["unknown", "done", "failed"], first_sent_at__isnull=False),
                name="stripe_call_sent",
            ),
            models.CheckConstraint(
                condition=Q(customer__isnull=False) | Q(kind="meter"),
                name="stripe_call_has_customer",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"],
                condition=Q(state__in=["pending", "unknown"]),
                name="stripe_call_open",
            ),
            models.Index(fields=["stripe_id"], name="stripe_call_stripe_id"),
        ]

    def __str__(self) -> str:
        return self.idempotency_key


class AttemptState(models.TextChoices):
    OPEN = "open"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"  # The bank said no: the dunning schedule decides when to ask again.
    NOT_MADE = "not_made"  # Stripe never carried it out: asked again soon.


class PaymentAttempt(models.Model):
    """One try to collect an invoice from the customer's payment method; one at a time."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    call = models.OneToOneField(StripeCall, on_delete=models.PROTECT, related_name="attempt")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=9, choices=AttemptState.choices, default=AttemptState.OPEN)
    failure_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)  # None when closed: nobody tries again.
    told_at = models.DateTimeField(null=True, blank=True)  # The customer, of a decline.

    class Meta:
        db_table = "payment_attempt"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "number"], name="payment_attempt_once"),
            models.UniqueConstraint(
                fields=["invoice"], condition=Q(state="open"), name="payment_attempt_one_open"
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0), name="payment_attempt_amount_positive"
            ),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True, retry_at__isnull=True)
                | Q(state="succeeded", closed_at__isnull=False, retry_at__isnull=True)
                | Q(state__in=["declined", "not_made"], closed_at__isnull=False),
                name="payment_attempt_closed",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} on invoice {self.invoice_id}"


class StripeEvent(models.Model):
    """An event that took effect, in the transaction of its effect; once, however often it comes."""

    stripe_id = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    effect = models.CharField(max_length=100)  # What came of it, in a few words.
    made_at = models.DateTimeField()  # By Stripe's clock.
    received_at = models.DateTimeField()

    class Meta:
        db_table = "stripe_event"
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_id"], name="stripe_event_object")]

    def __str__(self) -> str:
        return self.stripe_id


class ParkReason(models.TextChoices):
    UNKNOWN_OBJECT = "unknown_object"  # Stripe does not know what it is about.
    ELSEWHERE = "elsewhere"  # Of another account, or of the other mode of ours.
    DOES_NOT_FIT = "does_not_fit"  # What is recorded here refuses it, in these words.


class ParkedEvent(models.Model):
    """A genuine event that took no effect: it changes nothing here, and its owner looks at it.

    Until it is parked Stripe is asked to bring it again. Delivered again later, from Stripe's
    dashboard, it may take effect after all: then there is a StripeEvent of its name.
    """

    stripe_id = models.CharField(max_length=100, unique=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    reason = models.CharField(max_length=20, choices=ParkReason.choices)
    detail = models.CharField(max_length=300)
    owner = models.CharField(max_length=20)  # The function that answers for it: "finance".
    delivery_count = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    parked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "parked_event"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.stripe_id


class DifferenceKind(models.TextChoices):
    ONLY_THERE = "only_there"
    ONLY_HERE = "only_here"
    AMOUNT = "amount"
    FEE = "fee"
    STATE = "state"
    BALANCE = "balance"


class StripeDifference(models.Model):
    """What Stripe has and we lack, or the reverse; found by the daily reconciliation.

    It is open until a run finds it gone, or until a person says why it is right as it is. Whoever
    owns it makes the missing fact, at Stripe or here: no run mends anything.
    """

    kind = models.CharField(max_length=10, choices=DifferenceKind.choices)
    subject = models.CharField(max_length=120)  # "charge ch_1", "balance USD"
    here = models.CharField(max_length=200, blank=True)
    there = models.CharField(max_length=200, blank=True)
    owner = models.CharField(max_length=20)  # The function that answers for it: "finance".
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    explanation = models.CharField(
        max_length=500, blank=True
    )  # Why it may stay, in finance's words.
    explained_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )

    class Meta:
        db_table = "stripe_difference"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(resolved_at__isnull=True),
                name="stripe_difference_open_once",
            ),
            models.CheckConstraint(
                condition=Q(explanation="", explained_by__isnull=True)
                | (~Q(explanation="") & Q(explained_by__isnull=False, resolved_at__isnull=False)),
                name="stripe_difference_explained",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
