"""Payments that fall short by next to nothing: what is tolerated, and what was accepted."""

from typing import Any, ClassVar

from django.contrib import admin

from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    badge_html,
    link,
    moment,
    moment_html,
    money,
)
from billing_project.kernel.backoffice.policies import POLICY_TONES
from invoicing.models import PaymentTolerance, ShortPayment


@admin.register(PaymentTolerance)
class PaymentToleranceAdmin(ReadOnlyAdmin):
    """How much a payment may fall short and still pay its invoice; drafted as a policy change."""

    list_display = (
        "__str__",
        "currency",
        money("most_minor", "at most"),
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("currency", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("currency", "policy_change__subject")
    search_help_text = "Currency or the policy change's subject"
    ordering = ("-id",)
    fields: ClassVar[tuple[Any, ...] | None] = (
        ("currency", "number"),
        money("most_minor", "at most"),
        ("status", "governs_from", link("policy_change")),
    )

    @admin.display(description="Status")
    def status(self, version: PaymentTolerance) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])

    @admin.display(description="In force from")
    def governs_from(self, version: PaymentTolerance) -> str:
        """Show since when the version counts."""
        return moment_html(version.policy_change.effective_at)


@admin.register(ShortPayment)
class ShortPaymentAdmin(ReadOnlyAdmin):
    """What payments fell short by and nobody is asked for."""

    list_display = (
        "__str__",
        link("invoice"),
        link("invoice.customer", "customer"),
        money("amount_minor", "fell short by"),
        link("payment"),
        link("tolerance"),
        moment("accepted_at"),
    )
    list_filter = ("currency",)
    list_select_related = ("invoice__customer", "payment", "tolerance")
    search_fields = ("invoice__number", "invoice__customer__external_id")
    search_help_text = "Invoice number or customer"
    fields = (
        link("invoice"),
        money("amount_minor", "fell short by"),
        link("payment"),
        link("tolerance"),
        "accepted_at",
    )
