"""Forms that end a grant or undo its end: why, and what is left and used before their eyes."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Q, Sum
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing_project.kernel.backoffice.display import moment_text, number_text, unrounded_text
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.clock import now
from credits.models import (
    ClawBack,
    ClawBackReason,
    CreditGrant,
    GrantCategory,
    LedgerKind,
    RefundRule,
)
from credits.selectors.balances import balance_now
from credits.selectors.used import used_of
from credits.services.entries import cost_of_credits
from credits.services.reinstating import reinstatable

_END_REASONS = (
    ("entered_by_mistake", "entered by mistake"),
    ("duplicate", "given twice"),
    ("agreed_with_customer", "agreed with the customer"),
    ("contract_ended", "contract ended"),
    ("misuse", "misuse"),
)
_BACK_REASONS = (
    ("ended_by_mistake", "its end was a mistake"),
    ("agreed_with_customer", "agreed with the customer"),
    ("dispute_won", "a dispute was decided for us"),
)
_USES = (LedgerKind.DRAWN, LedgerKind.RETURNED)


class GrantDialog(ActionForm):
    """The base: what a grant gave, what of it is used and left, and what the customer has."""

    subject: CreditGrant

    def facts(self) -> list[tuple[str, Any]]:
        """List the grant's figures."""
        grant = self.subject
        return [
            ("Customer", grant.customer.name),
            ("Grant", grant.name or str(grant)),
            ("Given", self._credits(grant.amount)),
            ("Used, stays used", self._credits(_used(grant))),
            ("Left", self._credits(grant.remaining)),
            ("Expires", moment_text(grant.expires_at) if grant.expires_at else "never"),
        ]

    def available(self, change: Decimal) -> list[tuple[str, Any]]:
        """Say what the customer can use now, and once the credits have come or gone."""
        unit = self.subject.pricing_unit.code
        held = balance_now(self.subject.customer, now())
        has = next((one.available for one in held if one.pricing_unit == unit), Decimal(0))
        return [
            ("Customer has now", self._credits(has)),
            ("Customer has then", self._credits(has + change)),
        ]

    def _credits(self, amount: Decimal) -> str:
        return f"{number_text(amount)} {self.subject.pricing_unit.code}"


class EndGrantForm(GrantDialog):
    """Why what is left of a grant ends."""

    reason_code = forms.ChoiceField(
        label="Reason", choices=_END_REASONS, widget=UnfoldAdminSelectWidget
    )

    def facts(self) -> list[tuple[str, Any]]:
        """Add what ends, what was paid for it, and what the customer has then."""
        grant, left = self.subject, self.subject.remaining
        is_usable = grant.effective_at <= now()
        facts = [*super().facts(), *self.available(-left if is_usable else Decimal(0))]
        if grant.price_minor:
            cost = unrounded_text(cost_of_credits(grant, left), grant.currency)
            facts.append(("Paid for what is left", cost))
        return facts


class ReinstateForm(GrantDialog):
    """Why what a void or an early end took comes back."""

    reason_code = forms.ChoiceField(
        label="Reason", choices=_BACK_REASONS, widget=UnfoldAdminSelectWidget
    )

    def facts(self) -> list[tuple[str, Any]]:
        """Add what comes back."""
        back = max(reinstatable(self.subject), Decimal(0))
        return [*super().facts(), ("Comes back", self._credits(back)), *self.available(back)]


class ClawBackForm(GrantDialog):
    """Which refund or dispute took the money of a purchase back."""

    reason = forms.ChoiceField(
        label="The money went back by", choices=ClawBackReason.choices,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    reference = forms.CharField(
        max_length=120, widget=UnfoldAdminTextInputWidget,
        help_text="The refund's or dispute's own name, as re_123. The same again takes nothing"
        " more.",
    )  # fmt: skip

    def facts(self) -> list[tuple[str, Any]]:
        """List the purchase with all the grants that its credits went to."""
        sold = self.subject.root or self.subject
        left = _left_of_chain(sold)
        known = ClawBack.objects.filter(purchase_key=sold.source_key).order_by("pk")
        taken = Decimal(0) if known else left
        facts = [
            ("Customer", sold.customer.name),
            ("Purchase", sold.source_key),
            ("Sold", self._credits(sold.amount)),
            ("Used, stays used", self._credits(used_of(sold))),
            ("Left, is taken back", self._credits(taken)),
            ("Paid for what is left", unrounded_text(cost_of_credits(sold, taken), sold.currency)),
        ]
        if known:
            names = "; ".join(f"{one.reason} {one.reference}" for one in known)
            facts.append(("Known already", f"{names}: this reason takes nothing more"))
        return facts


def was_sold(grant: CreditGrant) -> bool:
    """Tell whether a grant's credits were paid for, and its terms let them be clawed back."""
    sold = grant.root or grant
    is_never = sold.terms is not None and sold.terms.refund_rule == RefundRule.NEVER
    return sold.category == GrantCategory.PAID and not is_never


def can_be_reinstated(grant: CreditGrant) -> bool:
    """Tell whether somebody ended a grant early, and its time is not over yet."""
    if grant.remaining or (grant.expires_at is not None and grant.expires_at <= now()):
        return False
    sold = grant.root or grant
    is_clawed = ClawBack.objects.filter(purchase_key=sold.source_key).exists()
    return not is_clawed and reinstatable(grant) > 0


def _used(grant: CreditGrant) -> Decimal:
    """Sum what usage drew of one grant, net of what came back."""
    uses = grant.transactions.filter(kind__in=_USES).aggregate(total=Sum("credits"))
    return -(uses["total"] or Decimal(0))


def _left_of_chain(sold: CreditGrant) -> Decimal:
    chain = CreditGrant.objects.filter(Q(pk=sold.pk) | Q(root=sold))
    total: Decimal | None = chain.aggregate(total=Sum("remaining"))["total"]
    return total or Decimal(0)
