"""The app that owns one unit of the chain; see docs/architecture.md."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    name = "credits"
    verbose_name = "Credits: rates and balances"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register this app's checks of the books, and what its versions consist of and do."""
        from credits import checks, facts_checks, grants_checks, spend_checks  # noqa: F401
        from credits.selectors import (  # noqa: F401
            archive,
            burn_effects,
            contents,
            control_contents,
            control_effects,
            effects,
        )
        from credits.services import controls_from_drafts, from_drafts  # noqa: F401
