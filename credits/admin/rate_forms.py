"""Forms that change rates: each shows its effect on customers' last periods, then proposes it."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.display import moment_text
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.backoffice.policies import preview_html
from billing_project.kernel.clock import now
from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.users import worker_user
from credits.models import RateCard, RateCardVersion
from credits.rate_sheet import BadSheet, SheetRate, read_sheet, write_sheet
from credits.selectors import governing_rate_card_version
from credits.selectors.contents import content_of_rate
from credits.services.overrides import propose_rate_migration, propose_rate_override
from credits.services.rates import (
    RateInput,
    propose_rate_card_version,
    rates_of_content,
    rollback_rate_card,
)
from metering.models import Customer

_RATE = re.compile(r"rates\[(\d+)\]\.?(.*)")
_SHEET_HELP = (
    "One rate a line: meter, dimensions (model=gpt-5.4; job=batch), pricing model (per_unit,"
    " package, graduated, volume, flat_fee, percentage), price (10 per 1000 for a package), tiers"
    " (1000: 0.5; *: 0.2 + 3, where the last one is open and + is a fee), included, minimum,"
    " maximum, pools (workspace or account), matrix."
)


class RatesField(forms.CharField):
    """A sheet of rates; cleans to its lines."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"rows": 14, "wrap": "off", "spellcheck": "false", "class": "bo-sheet"}
        super().__init__(
            label="Rates", help_text=_SHEET_HELP,
            widget=UnfoldAdminTextareaWidget(attrs=attrs), **kwargs,
        )  # fmt: skip

    def clean(self, value: Any) -> Any:
        """Read the lines."""
        try:
            return read_sheet(super().clean(value))
        except BadSheet as error:
            raise ValidationError(str(error)) from error


class CustomersField(forms.CharField):
    """External ids, one a line or with commas between; cleans to customers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **kwargs)

    def clean(self, value: Any) -> Any:
        """Find the customers; name whom nobody knows."""
        names = [name for name in re.split(r"[\s,;]+", super().clean(value)) if name]
        found = {one.external_id: one for one in Customer.objects.filter(external_id__in=names)}
        if unknown := [name for name in names if name not in found]:
            raise ValidationError(f"No customer has the external id {', '.join(unknown[:5])}.")
        return [found[name] for name in dict.fromkeys(names)]


class RateChangeForm(ActionForm):
    """The base: the words of a proposal, and a preview that is confirmed."""

    subject: RateCard
    before_template = "backoffice/rate_effect.html"
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    product_requirement = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What shall be better, for whom.",
    )
    engineering_note = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), initial="Rates only; no code change"
    )
    reason_code = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    effective_at = forms.SplitDateTimeField(
        label="Takes effect (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    confirmed = forms.BooleanField(
        label="This is what I propose",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Send the form once to see its effect on each customer, then confirm it.",
    )
    effect: Effect | None = None

    def __init__(self, *args: Any, subject: RateCard, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["effective_at"].initial = hour_of(now()) + HOUR + timedelta(days=1)
        self.order_fields([*(n for n in self.fields if n != "confirmed"), "confirmed"])

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Call the one service of this form."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Try the proposal, keep its effect and take it back; then ask for confirmation."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            with transaction.atomic():
                self.effect = simulate(self.propose(by=worker_user(), at=now()))
                transaction.set_rollback(True)
        except BillingError as error:
            self.add_error(*self._place(error))
            return cleaned
        return cleaned

    def is_valid(self) -> bool:
        """Be valid only once confirmed; before that the effect is shown, and nothing is wrong."""
        return super().is_valid() and bool(self.cleaned_data["confirmed"])

    @property
    def preview(self) -> str:
        """Say what to do with the effect that is shown, or return ""."""
        if self.errors or self.effect is None:
            return ""
        return (
            "This is a preview: nothing is proposed yet. Change what you like and send again, or"
            " tick “This is what I propose” at the end to send it to finance."
        )

    def facts(self) -> list[tuple[str, Any]]:
        """List what is in force."""
        governing = governing_rate_card_version(self.subject, now())
        since = governing.policy_change.effective_at if governing else None
        return [
            ("Rate card", self.subject.name),
            ("Version in force", governing.number if governing else "none"),
            ("Since", moment_text(since)),
            ("Pricing unit", self.subject.pricing_unit.code),
        ]

    def effect_html(self) -> str:
        """Write what the change would have made of each customer's last period."""
        return preview_html(self.effect) if self.effect else ""

    def proposal(self, expires_at: datetime | None = None) -> Proposal:
        """Return the words of the proposal."""
        said = self.cleaned_data
        return Proposal(
            said["title"], said["product_requirement"], said["engineering_note"],
            said["reason_code"], said["effective_at"], expires_at,
        )  # fmt: skip

    def _place(self, error: BillingError) -> tuple[str | None, str]:
        """Say at which field, and on which line of a sheet, a service found fault."""
        if (at_fault := _RATE.match(error.field)) and "rates" in self.fields:
            sheet: Sequence[SheetRate] = self.cleaned_data["rates"]
            line = sheet[int(at_fault[1])].line
            return "rates", f"line {line}, {at_fault[2] or 'rate'}: {error.message}"
        return (error.field if error.field in self.fields else None), error.message

    def rate_inputs(self) -> list[RateInput]:
        """Return the sheet's rates as services take them."""
        return rates_of_content({"rates": [one.content for one in self.cleaned_data["rates"]]})


class ProposeVersionForm(RateChangeForm):
    """The card's next version, starting from the one in force; some customers may stay."""

    rates = RatesField()
    stays = CustomersField(
        label="Who stays at the version that they have",
        required=False,
        help_text="External ids, one a line. They keep their rates until they are moved.",
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


class OverrideForm(RateChangeForm):
    """One customer's own rates for a time."""

    customer = CustomersField(label="Customer's external id")
    expires_at = forms.SplitDateTimeField(
        label="Ends (UTC)",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: until another version of the override begins.",
    )
    rates = RatesField(required=False)

    def clean_customer(self) -> Customer:
        """Take one customer."""
        found: list[Customer] = self.cleaned_data["customer"]
        if len(found) != 1:
            raise ValidationError("An override is for one customer.")
        return found[0]

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
