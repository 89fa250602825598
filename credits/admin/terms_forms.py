"""Forms of the rules of grants: terms, burn order, and credits of every period."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.forms import ChosenField
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import PolicyChange, User
from credits.burn_order import KEYS, PRESETS, preset_of
from credits.models import CreditPolicy, GrantCategory, GrantTerms, RefundRule, Rollover
from credits.selectors import governing_credit_policy
from credits.services.grants import MAX_PRIORITY
from credits.services.policies import propose_credit_policy
from credits.services.terms import TermsInput, propose_grant_terms
from metering.models import Meter

OWN = "own"
_DAYS = "Whole days in the customer's time zone; empty: "


class TermsForm(ProposalForm):
    """A version of grant terms; of known terms it begins with what the newest version says."""

    subject: GrantTerms | None
    effect_note = "Grants that were given keep the version that they name."
    code = forms.CharField(
        max_length=64, widget=UnfoldAdminTextInputWidget,
        help_text="Of the terms, as monthly_included; a known code gets its next version.",
    )  # fmt: skip
    category = ChosenField(choices=GrantCategory.choices)
    priority = TypedIntegerField(
        min_value=0, max_value=MAX_PRIORITY, initial=50, widget=UnfoldAdminIntegerFieldWidget,
        help_text="0 burns first, 100 last.",
    )  # fmt: skip
    life_days = TypedIntegerField(
        label="Life in days", required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget,
        help_text=f"{_DAYS}never expires.",
    )  # fmt: skip
    is_pooled = forms.BooleanField(
        label="For the whole account", required=False, initial=True, widget=UnfoldBooleanWidget,
        help_text="Not ticked: each grant is for one workspace, which it names.",
    )  # fmt: skip
    meter_codes = forms.MultipleChoiceField(
        label="Only for meters", required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: every meter.",
    )  # fmt: skip
    rollover = forms.ChoiceField(
        label="What is left at the end rolls over", choices=Rollover.choices,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    rollover_value = TypedDecimalField(
        label="Fraction or cap", required=False, max_digits=36, decimal_places=12,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text="A fraction up to 1, as 0.5; or the most credits that roll over.",
    )  # fmt: skip
    return_days = TypedIntegerField(
        label="Life of returned credits in days", required=False, min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Of credits that come back after their grant ended; empty: as long as it lived.",
    )  # fmt: skip
    refund_rule = forms.ChoiceField(
        label="A refund takes back", choices=RefundRule.choices, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, subject: GrantTerms | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        codes = Meter.objects.order_by("code").values_list("code", flat=True)
        self.fields["meter_codes"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]
        self.fields["engineering_note"].initial = "Terms only; no code change"
        if subject is not None:
            for name in (*_TERMS, "code"):
                self.fields[name].initial = getattr(subject, name)

    def clean_code(self) -> str:
        """Keep the code of known terms."""
        code: str = self.cleaned_data["code"].strip()
        if self.subject is not None and code != self.subject.code:
            raise forms.ValidationError(f"This is the next version of {self.subject.code}.")
        return code

    def facts(self) -> list[tuple[str, Any]]:
        """List the version that it would follow."""
        if self.subject is None:
            return []
        change = self.subject.policy_change
        return [
            ("Terms", self.subject.code),
            ("Looked at", f"v{self.subject.number}, {change.status}"),
            ("Governs from", moment_html(change.effective_at)),
        ]

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the version."""
        said = self.cleaned_data
        return propose_grant_terms(
            code=said["code"], terms=TermsInput(**{name: said[name] for name in _TERMS}),
            proposal=self.proposal(), by=by, at=at,
        ).policy_change  # fmt: skip


_TERMS = (
    "category", "priority", "life_days", "is_pooled", "meter_codes", "rollover", "rollover_value",
    "return_days", "refund_rule",
)  # fmt: skip


@dataclass(frozen=True)
class PresetLine:
    """One published order, in words."""

    title: str
    keys: str
    note: str
    is_in_force: bool


class BurnOrderForm(ProposalForm):
    """The next version of the burn order: one that another product publishes, or an own one."""

    before_template = "backoffice/burn_order_effect.html"
    preset = forms.ChoiceField(
        label="Order", choices=[(name, it.title) for name, it in PRESETS.items()] + [(OWN, "Own")],
        widget=UnfoldAdminRadioSelectWidget, initial="stripe",
    )  # fmt: skip
    own_order = forms.CharField(
        label="Own order", required=False, widget=UnfoldAdminTextInputWidget,
        help_text=f"Of {', '.join(KEYS)}; the most important first, with commas between.",
    )  # fmt: skip

    def __init__(self, *args: Any, subject: CreditPolicy | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["engineering_note"].initial = "The order only; no code change"
        self.order_fields(["nonce", "preset", "own_order"])

    def order(self) -> list[str]:
        """Return the keys that are wanted."""
        preset: str = self.cleaned_data["preset"]
        if preset != OWN:
            return list(PRESETS[preset].order)
        return [key for part in self.cleaned_data["own_order"].split(",") if (key := part.strip())]

    def presets(self) -> list[PresetLine]:
        """List the published orders, and which of them is in force."""
        policy = governing_credit_policy(now())
        chosen = preset_of(policy.burn_order) if policy else None
        return [
            PresetLine(
                it.title, ", then ".join(KEYS[key].meaning for key in it.order), it.note,
                name == chosen,
            )
            for name, it in PRESETS.items()
        ]  # fmt: skip

    def facts(self) -> list[tuple[str, Any]]:
        """List what is in force."""
        policy = governing_credit_policy(now())
        if policy is None:
            return [("Burn order in force", "none: usage waits")]
        name = preset_of(policy.burn_order)
        return [
            ("Burn order in force", str(policy)),
            ("Order", PRESETS[name].title if name else "own"),
            ("Since", moment_html(policy.policy_change.effective_at)),
        ]

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the order."""
        return propose_credit_policy(
            burn_order=self.order(), proposal=self.proposal(), by=by, at=at
        ).policy_change

    def place(self, error: BillingError) -> tuple[str | None, str]:
        """Say that a wrong order is the own one."""
        if error.field == "burn_order":
            return "own_order", error.message
        return super().place(error)
