"""The native REST API, v1."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "billing_project.api"
    label = "api"
    verbose_name = "API"

    def ready(self) -> None:
        """Tell OpenAPI how keys are sent."""
        from billing_project.api import schema  # noqa: F401
