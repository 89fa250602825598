"""Who tried to sign in, from where and how it ended; and where people are signed in."""

from django.db import models

from billing_project.kernel.models.access import User


class SignInStep(models.TextChoices):
    PASSWORD = "password"  # noqa: S105 - names the step.
    CODE = "code", "Code"
    AGAIN = "again", "Again, before a dangerous action"


class SignInOutcome(models.TextChoices):
    BEGUN = "begun"  # Counts as a failure until it is known: many at once are as many tries.
    FAILED = "failed"
    CODE_WANTED = "code_wanted", "Code wanted"  # The password was right, the code is another try.
    SIGNED_IN = "signed_in", "Signed in"
    LET_IN = "let_in", "Let in again"  # No try: failures of before count no more.


class SignInAttempt(models.Model):
    """One try to sign in; the name that was typed is kept as a digest, for it may be a password."""

    at = models.DateTimeField()
    step = models.CharField(max_length=10, choices=SignInStep.choices)
    account = models.CharField(max_length=64)  # HMAC of the name as typed, known or not.
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    address = models.CharField(max_length=45, blank=True)
    network = models.CharField(max_length=50, blank=True)  # The address; of IPv6 its /64.
    agent = models.CharField(max_length=300, blank=True)
    outcome = models.CharField(max_length=12, choices=SignInOutcome.choices)

    class Meta:
        db_table = "sign_in_attempt"
        verbose_name, verbose_name_plural = "try to sign in", "tries to sign in"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "id"], name="sign_in_attempt_account"),
            models.Index(fields=["network", "at"], name="sign_in_attempt_network"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(outcome__in=["code_wanted", "signed_in", "let_in"])
                | models.Q(user__isnull=False),
                name="sign_in_attempt_success_is_somebodys",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} {self.at:%Y-%m-%d %H:%M}"


class SignedInDevice(models.Model):
    """A browser in which somebody is signed in; once ended, its session opens nothing."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    attempt = models.OneToOneField(SignInAttempt, on_delete=models.PROTECT, related_name="+")
    signed_in_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        db_table = "signed_in_device"
        verbose_name, verbose_name_plural = "device", "devices signed in"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, ended_by__isnull=True)
                | models.Q(ended_at__isnull=False, ended_by__isnull=False),
                name="signed_in_device_ended_by_somebody",
            )
        ]

    def __str__(self) -> str:
        return f"Signed in {self.signed_in_at:%Y-%m-%d %H:%M}"
