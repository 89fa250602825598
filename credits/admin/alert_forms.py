"""Forms that propose rules of alerts, and that put a name to an alert."""

from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.numbers import TypedDecimalField
from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.quantity import plain
from credits.admin.rate_fields import CustomerField
from credits.models import AlertRule, PricingUnit, RuleWindow, Watched
from credits.services.alert_rules import RuleTerms, propose_alert_rule
from metering.models import Meter

_WATCHED = (
    (Watched.BALANCE.value, "balance: below so many credits"),
    (Watched.SPEND.value, "spend: so many credits or more in a window"),
    (Watched.USAGE.value, "usage: so much of a meter or more in a window"),
    (Watched.FORECAST.value, "forecast: credits run out within so many days (7 at most)"),
    (Watched.CHANGE.value, "change: so many per cent more than in the seven windows before"),
    (Watched.UNRATED.value, "unrated: so many usage windows (of a meter: so much) wait for a rate"),
    (Watched.QUARANTINED.value, "quarantined: so many events wait in quarantine"),
    (Watched.LAG.value, "lag: usage is counted so many seconds late"),
)
_WINDOWS = (
    (RuleWindow.NONE.value, "none"),
    (RuleWindow.HOUR.value, "hour, UTC"),
    (RuleWindow.DAY.value, "day, in the customer's time zone"),
    (RuleWindow.MONTH.value, "month, in the customer's time zone"),
)


def people() -> Any:
    """List who may look after something."""
    return User.objects.filter(is_active=True, is_service=False).order_by("username")


def _number(label: str, help_text: str, *, required: bool) -> TypedDecimalField:
    return TypedDecimalField(
        label=label, required=required, min_value=0, max_digits=36, decimal_places=12,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}), help_text=help_text,
    )  # fmt: skip


class AlertRuleForm(ProposalForm):
    """A version of a rule of alerts; of a known one it begins with what that says."""

    subject: AlertRule | None
    shows_difference = True
    code = forms.CharField(
        max_length=64, widget=UnfoldAdminTextInputWidget,
        help_text="Of the rule, as acme:low-balance; a known code gets its next version.",
    )  # fmt: skip
    watched = forms.ChoiceField(label="Watches", choices=_WATCHED, widget=UnfoldAdminSelectWidget)
    threshold = _number("Threshold", "In what is watched: credits, days, per cent.", required=True)
    customer = CustomerField(
        label="Customer's external id", required=False,
        help_text="Empty: each customer; of unrated, quarantined and lag all usage together.",
    )  # fmt: skip
    by_customer = forms.BooleanField(
        label="Each customer by itself", required=False, widget=UnfoldBooleanWidget,
        help_text="Of unrated, quarantined and lag, where no customer is named.",
    )  # fmt: skip
    pricing_unit = forms.ModelChoiceField(
        PricingUnit.objects.order_by("code"), label="Kind of credits", required=False,
        empty_label="none", widget=UnfoldAdminSelectWidget,
        help_text="Of balance, spend, forecast and change.",
    )  # fmt: skip
    meter = forms.ModelChoiceField(
        Meter.objects.order_by("code"), required=False, empty_label="none",
        widget=UnfoldAdminSelectWidget,
        help_text="Of usage, and of unrated where wanted; one that adds up.",
    )  # fmt: skip
    window = forms.ChoiceField(
        label="In each", choices=_WINDOWS, required=False, widget=UnfoldAdminSelectWidget,
        help_text="Of spend, usage and change.",
    )  # fmt: skip
    floor = _number("Only from credits", "Of change: less spent says nothing.", required=False)
    owner = forms.ModelChoiceField(
        people(), label="Looks after it", widget=UnfoldAdminSelectWidget,
        help_text="Is told of each alert by mail.",
    )  # fmt: skip
    expires_at = forms.SplitDateTimeField(
        label="Ends (UTC)", required=False, widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: until another version begins.",
    )  # fmt: skip

    def __init__(self, *args: Any, subject: AlertRule | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        if subject is None:
            return
        for name in ("code", "watched", "pricing_unit", "meter", "window", "owner"):
            self.fields[name].initial = getattr(subject, name)
        self.fields["threshold"].initial = plain(subject.threshold)
        self.fields["by_customer"].initial = subject.is_by_customer
        if subject.floor is not None:
            self.fields["floor"].initial = plain(subject.floor)
        if subject.customer:
            self.fields["customer"].initial = subject.customer.external_id

    def facts(self) -> list[tuple[str, Any]]:
        """List the version that it would follow."""
        if self.subject is None:
            return []
        change = self.subject.policy_change
        return [
            ("Looked at", f"{self.subject}, {change.status}"),
            ("Governs from", moment_html(change.effective_at)),
        ]

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the rule."""
        said = self.cleaned_data
        terms = RuleTerms(
            watched=Watched(said["watched"]), threshold=said["threshold"], owner=said["owner"],
            customer=said["customer"], unit=said["pricing_unit"], meter=said["meter"],
            window=RuleWindow(said["window"]), floor=said["floor"],
            is_by_customer=said["by_customer"],
        )  # fmt: skip
        return propose_alert_rule(
            code=said["code"].strip(), terms=terms, proposal=self.proposal(said["expires_at"]),
            by=by, at=at,
        ).policy_change  # fmt: skip


class AcknowledgeForm(ReasonForm):
    """What comes of an alert, and who looks after it."""

    owner = forms.ModelChoiceField(
        people(), label="Looks after it", required=False, empty_label="I do",
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
