"""People, services and their keys."""

from django.contrib.auth.models import AbstractUser
from django.db import models

# "credits:large" opens no door of its own: what "credits:write" opens is not bounded by limits.
SCOPES = (
    "events:write", "usage:read", "credits:write", "credits:large", "authorize", "invoices:read",
    "admin",
)  # fmt: skip


class User(AbstractUser):
    """A person, or a service (a key's owner, the worker) that cannot log in."""

    is_service = models.BooleanField(default=False)
    time_zone = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        db_table = "kernel_user"
        permissions = [("manage_signin", "Can let people in again and sign them out")]


class ApiKey(models.Model):
    """A bearer key of an app; only its sha256 is stored."""

    name = models.CharField(max_length=100)
    public_id = models.CharField(max_length=8, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "api_key"
        ordering = ["-id"]
        permissions = [("manage_apikey", "Can make and revoke API keys")]

    def __str__(self) -> str:
        return f"{self.name} (abk_{self.public_id}…)"
