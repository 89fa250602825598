"""A person's second factor: an authenticator app, and codes for when the phone is lost."""

from django.db import models

from billing_project.kernel.models.access import User


class SecondFactor(models.Model):
    """An authenticator app of a person; its secret is stored nowhere, only what it is made of."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    nonce = models.CharField(max_length=64, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    enrolled_at = models.DateTimeField()
    last_step = models.BigIntegerField()  # Half minute of the last code taken; none is taken twice.
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        db_table = "second_factor"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user"],
                condition=models.Q(ended_at__isnull=True),
                name="second_factor_one_each",
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, ended_by__isnull=True)
                | models.Q(ended_at__isnull=False, ended_by__isnull=False),
                name="second_factor_ended_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"Second factor of {self.enrolled_at:%Y-%m-%d %H:%M}"


class RecoveryCode(models.Model):
    """One code that stands for the phone, once; only its sha256 is stored."""

    factor = models.ForeignKey(SecondFactor, on_delete=models.PROTECT, related_name="codes")
    sha256 = models.CharField(max_length=64, unique=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "recovery_code"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"Recovery code {self.pk}"
