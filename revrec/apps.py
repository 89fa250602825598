"""The app that owns one unit of the chain; see docs/architecture.md."""

from django.apps import AppConfig


class RevrecConfig(AppConfig):
    name = "revrec"
    verbose_name = "Revenue: ledger and periods"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register this app's checks of the books, and what is drafted of it."""
        from revrec import checks  # noqa: F401
        from revrec.selectors import estimate_effects  # noqa: F401
        from revrec.services import (  # noqa: F401
            bases,
            disclosures,
            estimate_drafts,
            exchange,
            losses,
            recognition,
            zone,
        )
