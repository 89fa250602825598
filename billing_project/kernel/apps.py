"""The ground's app."""

from django.apps import AppConfig


class KernelConfig(AppConfig):
    name = "billing_project.kernel"
    label = "kernel"
    verbose_name = "Ground: access, approvals, audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the ground's checks of the books."""
        from billing_project.kernel import checks  # noqa: F401
