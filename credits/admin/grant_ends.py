"""Forms that end a grant or undo its end: why, and what is left and used before their eyes."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminTextInputWidget

from billing_project.kernel.backoffice.display import moment_html, number_text, unrounded_text
from billing_project.kernel.backoffice.forms import ActionForm, ChosenField, PreviewedForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.quantity import plain
from billing_project.kernel.users import worker_user
from credits.admin.shifts import Shift, available, shift
from credits.models import (
    ClawBack,
    ClawBackReason,
    CreditGrant,
    GrantCategory,
    LedgerKind,
    LedgerTransaction,
    RefundRule,
)
from credits.selectors.used import used_of
from credits.services.clawing import claw_back
from credits.services.entries import cost_of_credits
from credits.services.grants import expire_grant, void_grant
from credits.services.reinstating import reinstatable, reinstate_grant
from credits.services.stored_value import KIND, VERBS

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


class GrantDialog(PreviewedForm):
    """The base: why, and what stays and what goes before anything is done."""

    subject: CreditGrant
    before_template = "backoffice/grant_end_effect.html"
    left_label = "Left of this grant"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shifts: list[Shift] = []
        self.said_of: list[tuple[str, str]] = []
        self.tried = ""  # The credits that move.

    def act(self, grant: CreditGrant, *, by: User, at: datetime) -> Any:
        """Call the one service of this form; return the row that says what it did."""
        raise NotImplementedError

    def figures(self, at: datetime) -> list[tuple[str, Decimal]]:
        """Return what is used and left, and what the customer can use."""
        grant = CreditGrant.objects.get(pk=self.subject.pk)
        return [
            ("Used, stays used", _used(grant)),
            (self.left_label, grant.remaining),
            ("Customer can use now", available(grant.customer, at, self.subject.pricing_unit)),
        ]

    def words(self, done: Any) -> list[tuple[str, str]]:
        """Say what is entered, and what was paid for the credits that move."""
        grant = self.subject
        entered = f"{done.kind}, {done.reason_code.replace('_', ' ')}"
        return [("Entered in the ledger", entered), *_paid_for(grant, abs(done.credits))]

    def attempt(self) -> None:
        """End the grant, or undo its end, for show; keep the figures before and after."""
        at, unit = now(), self.subject.pricing_unit
        before = self.figures(at)
        done = self.act(CreditGrant.objects.get(pk=self.subject.pk), by=worker_user(), at=at)
        self.shifts = [
            shift(label, old, new, unit)
            for (label, old), (_, new) in zip(before, self.figures(at), strict=True)
        ]
        self.said_of = self.words(done)
        self.tried = plain(done.credits)

    def sealed(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Confirm the credits that were shown as well: usage may have drawn some meanwhile."""
        return {**super().sealed(cleaned), "credits": self.tried}

    def facts(self) -> list[tuple[str, Any]]:
        """List the grant's figures."""
        grant = self.subject
        return [
            ("Customer", grant.customer.name),
            ("Grant", grant.name or str(grant)),
            ("Given", self._credits(grant.amount)),
            ("Used, stays used", self._credits(_used(grant))),
            ("Left", self._credits(grant.remaining)),
            ("Expires", moment_html(grant.expires_at) if grant.expires_at else "never"),
        ]

    def _credits(self, amount: Decimal) -> str:
        return f"{number_text(amount)} {self.subject.pricing_unit.code}"


class VoidForm(GrantDialog):
    """Why a grant should not have been given."""

    reason_code = ChosenField(label="Reason", choices=_END_REASONS)

    def act(self, grant: CreditGrant, *, by: User, at: datetime) -> LedgerTransaction:
        """Take back what is left."""
        reason_code = self.cleaned_data["reason_code"]
        return void_grant(grant=grant, reason_code=reason_code, by=by, at=at)


class ExpireForm(GrantDialog):
    """Why a grant ends early."""

    reason_code = ChosenField(label="Reason", choices=_END_REASONS)

    def act(self, grant: CreditGrant, *, by: User, at: datetime) -> LedgerTransaction:
        """Let what is left expire."""
        reason_code = self.cleaned_data["reason_code"]
        return expire_grant(grant=grant, reason_code=reason_code, by=by, at=at)


class ReinstateForm(GrantDialog):
    """Why what a void or an early end took comes back."""

    reason_code = ChosenField(label="Reason", choices=_BACK_REASONS)

    def act(self, grant: CreditGrant, *, by: User, at: datetime) -> LedgerTransaction:
        """Give back what was taken."""
        reason_code = self.cleaned_data["reason_code"]
        return reinstate_grant(grant=grant, reason_code=reason_code, by=by, at=at)

    def facts(self) -> list[tuple[str, Any]]:
        """Add what comes back."""
        back = max(reinstatable(self.subject), Decimal(0))
        return [*super().facts(), ("Comes back", self._credits(back))]


class ClawBackForm(GrantDialog):
    """Which refund or dispute took the money of a purchase back."""

    left_label = "Left of the purchase"
    reason = ChosenField(label="The money went back by", choices=ClawBackReason.choices)
    reference = forms.CharField(
        max_length=120, widget=UnfoldAdminTextInputWidget,
        help_text="The refund's or dispute's own name, as re_123. The same again takes nothing"
        " more.",
    )  # fmt: skip

    def act(self, grant: CreditGrant, *, by: User, at: datetime) -> ClawBack:
        """Take back what is unused of the purchase."""
        said = self.cleaned_data
        return claw_back(
            grant=grant, reason=said["reason"], reference=said["reference"], by=by, at=at
        )

    def figures(self, at: datetime) -> list[tuple[str, Decimal]]:
        """Return the figures of the purchase with all the grants that its credits went to."""
        sold = self.subject.root or self.subject
        return [
            ("Used, stays used", used_of(sold)),
            (self.left_label, _left_of_chain(sold)),
            ("Customer can use now", available(sold.customer, at, sold.pricing_unit)),
        ]

    def words(self, done: ClawBack) -> list[tuple[str, str]]:
        """Say what it takes, or that another reason has taken it already."""
        if done.follows is not None:
            known = f"{done.follows.reason} {done.follows.reference}"
            return [("Takes nothing more", f"{known} took what was left; this is kept beside it")]
        sold = self.subject.root or self.subject
        return [("Taken back", self._credits(done.credits)), *_paid_for(sold, done.credits)]

    def facts(self) -> list[tuple[str, Any]]:
        """List the purchase with all the grants that its credits went to."""
        sold = self.subject.root or self.subject
        known = ClawBack.objects.filter(purchase_key=sold.source_key).order_by("pk")
        facts = [
            ("Customer", sold.customer.name),
            ("Purchase", sold.source_key),
            ("Sold", self._credits(sold.amount)),
            ("Used, stays used", self._credits(used_of(sold))),
            ("Left", self._credits(_left_of_chain(sold))),
        ]
        if known:
            names = "; ".join(f"{one.reason} {one.reference}" for one in known)
            facts.append(("Known already", f"{names}: this reason takes nothing more"))
        return facts


class MoveForm(ActionForm):
    """What somebody wants to do with credits that credits never do."""

    subject: CreditGrant
    verb = ChosenField(
        label="Somebody asks to",
        choices=[
            ("transfer", "transfer them to another customer"),
            ("withdraw", "withdraw them as money"),
            ("gift", "give them to somebody"),
            ("cash-out", "cash them out"),
        ],
    )

    def facts(self) -> list[tuple[str, Any]]:
        """Say whose credits they are, and who could decide that they move."""
        verbs = json.dumps({"verbs": list(VERBS)})
        query = urlencode({"kind": KIND, "content": verbs})
        url = f"{reverse('admin:kernel_policychange_new_draft')}?{query}"
        return [
            ("Customer", self.subject.customer.name),
            ("Grant", self.subject.name or str(self.subject)),
            ("Decided by", "finance and legal, both"),
            ("The way", format_html('<a class="text-link" href="{}">Draft the change</a>', url)),
        ]


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


def _paid_for(grant: CreditGrant, moved: Decimal) -> list[tuple[str, str]]:
    """Say what the credits that move were sold for; nothing of credits that nobody paid."""
    if not grant.price_minor:
        return []
    return [("Paid for them", unrounded_text(cost_of_credits(grant, moved), grant.currency))]
