"""The app that owns one unit of the chain; see docs/architecture.md."""

from django.apps import AppConfig


class InvoicingConfig(AppConfig):
    name = "invoicing"
    verbose_name = "Invoicing: money"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register this app's checks of the books, and what its versions consist of."""
        from invoicing import checks, item_checks, recharge_checks, sold_checks  # noqa: F401
        from invoicing.selectors import (  # noqa: F401
            backfill_effect,
            coupon_effects,
            market_effects,
            note_effects,
            plan_effects,
            proposals,
        )
        from invoicing.services import (  # noqa: F401
            coupons,
            entities,
            holds,
            markets,
            plan_drafts,
            plans,
        )
        from invoicing.stripe_sync import checks as stripe_checks  # noqa: F401
