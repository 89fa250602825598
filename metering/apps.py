"""The app that owns one unit of the chain; see docs/architecture.md."""

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"
    verbose_name = "Metering: usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register this app's checks of the books, and what its versions consist of."""
        from metering import checks  # noqa: F401
        from metering.selectors import backfills, late  # noqa: F401
