"""Forms that change rates: each shows its effect on customers' last periods, then proposes it."""

from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
)

from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from credits.admin.rate_fields import CustomerField, CustomersField, RatesField, RatesForm
from credits.models import RateCard, RateCardVersion
from credits.rate_sheet import write_sheet
from credits.selectors import governing_rate_card_version
from credits.selectors.contents import content_of_rate
from credits.services.overrides import propose_rate_migration, propose_rate_override
from credits.services.rates import (
    propose_rate_card_version,
    rollback_rate_card,
)


class RateChangeForm(ProposalForm):
    """The base of changes of a card's rates."""

    subject: RateCard
    effect_note = "A version that begins in mid-period begins new tiers and allowances."

    def __init__(self, *args: Any, subject: RateCard, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["engineering_note"].initial = "Rates only; no code change"

    def facts(self) -> list[tuple[str, Any]]:
        """List what is in force."""
        governing = governing_rate_card_version(self.subject, now())
        since = governing.policy_change.effective_at if governing else None
        return [
            ("Rate card", self.subject.name),
            ("Version in force", governing.number if governing else "none"),
            ("Since", moment_html(since)),
            ("Pricing unit", self.subject.pricing_unit.code),
        ]


class ProposeVersionForm(RatesForm, RateChangeForm):
    """The card's next version, starting from the one in force; some customers may stay."""

    stays = CustomersField(
        label="Who stays at the version that they have",
        required=False,
        help_text="External ids, one a line. They keep their rates until they are moved, or this"
        " version expires.",
    )

    def __init__(self, *args: Any, subject: RateCard, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        governing = governing_rate_card_version(subject, now())
        rates = governing.rates.order_by("meter_code", "pk") if governing else []
        self.fields["rates"].initial = write_sheet(content_of_rate(rate) for rate in rates)

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the version."""
        return propose_rate_card_version(
            rate_card=self.subject, rates=self.rate_inputs(), proposal=self.proposal(), by=by,
            at=at, stays=self.cleaned_data["stays"],
        ).policy_change  # fmt: skip


class RollbackForm(RateChangeForm):
    """An old version's rates again, as a new version."""

    to_number = forms.TypedChoiceField(
        label="Version to return to", coerce=int, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, subject: RateCard, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        choices = [(one.number, _name(one)) for one in _approved(subject)]
        self.fields["to_number"].choices = choices  # type: ignore[attr-defined]

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the old rates."""
        return rollback_rate_card(
            rate_card=self.subject, to_number=self.cleaned_data["to_number"],
            proposal=self.proposal(), by=by, at=at,
        ).policy_change  # fmt: skip


class OverrideForm(RatesForm, RateChangeForm):
    """One customer's own rates for a time."""

    customer = CustomerField(label="Customer's external id")
    expires_at = forms.SplitDateTimeField(
        label="Ends (UTC)",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: until another version of the override begins.",
    )
    rates = RatesField(required=False)

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the customer's rates; what they do not name, the card prices."""
        said = self.cleaned_data
        return propose_rate_override(
            customer=said["customer"], base=self.subject, rates=self.rate_inputs(),
            proposal=self.proposal(said["expires_at"]), by=by, at=at,
        ).policy_change  # fmt: skip


class MoveForm(RateChangeForm):
    """Many customers to one version, or back to following the card."""

    version = forms.TypedChoiceField(
        label="They get",
        coerce=lambda text: int(text) if text else None,
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    customers = CustomersField(help_text="External ids, one a line.")

    def __init__(self, *args: Any, subject: RateCard, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        versions = [(one.number, _name(one)) for one in _approved(subject)]
        self.fields["version"].choices = [("", "whatever the card has"), *versions]  # type: ignore[attr-defined]

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the move."""
        number = self.cleaned_data["version"]
        version = self.subject.versions.get(number=number) if number else None
        return propose_rate_migration(
            rate_card=self.subject, customers=self.cleaned_data["customers"], version=version,
            proposal=self.proposal(), by=by, at=at,
        )  # fmt: skip


def _approved(card: RateCard) -> list[RateCardVersion]:
    versions = card.versions.filter(policy_change__status=PolicyStatus.APPROVED)
    return list(versions.select_related("policy_change"))


def _name(version: RateCardVersion) -> str:
    return f"v{version.number}, from {version.policy_change.effective_at:%Y-%m-%d}"
