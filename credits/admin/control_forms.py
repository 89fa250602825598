"""Forms that propose limits, rules of the request path and exceptions: the difference first."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import moment_html
from billing_project.kernel.backoffice.numbers import TypedDecimalField, TypedIntegerField
from billing_project.kernel.backoffice.proposing import ProposalForm
from billing_project.kernel.models import ApiKey, PolicyChange, User
from billing_project.kernel.quantity import plain
from credits.admin.rate_fields import CustomerField
from credits.models import (
    ControlPolicy,
    LimitMode,
    LimitWindow,
    ModelException,
    OverdraftMode,
    PricingUnit,
    SpendLimit,
)
from credits.selectors.control_contents import workspace_or_none
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)
from metering.models import Customer

_WINDOWS = (
    (LimitWindow.HOUR.value, "hour, UTC"),
    (LimitWindow.DAY.value, "day, in the customer's time zone"),
    (LimitWindow.MONTH.value, "month, in the customer's time zone"),
    (LimitWindow.JOB.value, "job: its whole life"),
)
_MODES = (
    (LimitMode.SOFT.value, "soft: warns at 50, 80, 90 and 100 %"),
    (LimitMode.HARD.value, "hard: refuses work beyond it"),
)
_OVERDRAFT = (
    (OverdraftMode.OFF.value, "off: work is refused when credits run out"),
    (
        OverdraftMode.CAPPED.value,
        "capped: overage is billed, up to so many credits a period",
    ),
    (OverdraftMode.ALLOWED.value, "allowed: work goes on, overage is billed"),
)


class NamesField(forms.CharField):
    """Names, one a line; cleans to a list without repeats."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
        super().__init__(required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        """Return the names in the order in which they stand."""
        lines = (line.strip() for line in super().clean(value).splitlines())
        return list(dict.fromkeys(line for line in lines if line))


class PairsField(NamesField):
    """Pairs of names, one a line with "=" between; cleans to a mapping."""

    def clean(self, value: Any) -> Any:
        """Return what stands on the right by what stands on the left."""
        pairs: dict[str, str] = {}
        for line in super().clean(value):
            name, is_pair, other = (part.strip() for part in line.partition("="))
            if not (name and is_pair and other):
                raise ValidationError(f"“{line}” is no pair: write one model = another.")
            if name in pairs:
                raise ValidationError(f"{name} stands here twice.")
            pairs[name] = other
        return pairs


def _credits(label: str, *, required: bool = False, help_text: str = "") -> TypedDecimalField:
    return TypedDecimalField(
        label=label, required=required, min_value=0, max_digits=36, decimal_places=12,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}), help_text=help_text,
    )  # fmt: skip


def _ends(*, required: bool, help_text: str) -> forms.SplitDateTimeField:
    return forms.SplitDateTimeField(
        label="Ends (UTC)", required=required, widget=UnfoldAdminSplitDateTimeWidget,
        help_text=help_text,
    )  # fmt: skip


def _name(label: str, help_text: str, *, required: bool = False) -> forms.CharField:
    return forms.CharField(
        label=label, required=required, max_length=128, widget=UnfoldAdminTextInputWidget,
        help_text=help_text,
    )  # fmt: skip


class LimitForm(ProposalForm):
    """A version of a spend limit; of a known one it begins with what that says."""

    subject: SpendLimit | None
    shows_difference = True
    from_address = ("customer",)
    code = forms.CharField(
        max_length=64, widget=UnfoldAdminTextInputWidget,
        help_text="Of the limit, as acme:daily; a known code gets its next version.",
    )  # fmt: skip
    customer = CustomerField(label="Customer's external id")
    window = forms.ChoiceField(label="In each", choices=_WINDOWS, widget=UnfoldAdminSelectWidget)
    mode = forms.ChoiceField(choices=_MODES, widget=UnfoldAdminSelectWidget)
    pricing_unit = forms.ModelChoiceField(
        PricingUnit.objects.order_by("code"), label="Kind of credits", empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    credits = _credits("Ceiling", required=True, help_text="0 lets nothing through.")
    workspace = _name("Only workspace", "Its external id; empty: every workspace.")
    model = _name("Only model", "As apps name it; empty: every model.")
    job = _name("Only job", "Empty: all jobs together; by job, each on its own.")
    api_key = forms.ModelChoiceField(
        ApiKey.objects.none(), label="Only API key", required=False, empty_label="every key",
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    expires_at = _ends(required=False, help_text="Empty: until another version begins.")

    def __init__(self, *args: Any, subject: SpendLimit | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        keys = ApiKey.objects.filter(revoked_at=None).order_by("name", "pk")
        self.fields["api_key"].queryset = keys  # type: ignore[attr-defined]
        if subject is None:
            return
        for name in ("code", "window", "mode", "pricing_unit", "model", "job", "api_key"):
            self.fields[name].initial = getattr(subject, name)
        self.fields["customer"].initial = subject.customer.external_id
        self.fields["credits"].initial = plain(subject.credits)
        if subject.workspace:
            self.fields["workspace"].initial = subject.workspace.external_id

    def clean_code(self) -> str:
        """Keep the code of a known limit."""
        code: str = self.cleaned_data["code"].strip()
        if self.subject is not None and code != self.subject.code:
            raise ValidationError(f"This is the next version of {self.subject.code}.")
        return code

    def facts(self) -> list[tuple[str, Any]]:
        """List the version that it would follow."""
        return _looked_at(self.subject)

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the limit."""
        said = self.cleaned_data
        terms = LimitTerms(
            customer=said["customer"], window=LimitWindow(said["window"]),
            mode=LimitMode(said["mode"]), unit=said["pricing_unit"], credits=said["credits"],
            workspace=workspace_or_none(said["customer"], said["workspace"]),
            model=said["model"], job=said["job"], api_key=said["api_key"],
        )  # fmt: skip
        return propose_spend_limit(
            code=said["code"], terms=terms, proposal=self.proposal(said["expires_at"]), by=by, at=at
        ).policy_change


class ControlsForm(ProposalForm):
    """A version of the rules of the request path, of one customer or of all who have none."""

    subject: ControlPolicy | None
    shows_difference = True
    customer = CustomerField(
        label="Customer's external id", required=False,
        help_text="Empty: of every customer who has no rules of their own.",
    )  # fmt: skip
    overdraft = forms.ChoiceField(choices=_OVERDRAFT, widget=UnfoldAdminSelectWidget)
    overdraft_credits = _credits("Overdraft up to", help_text="Credits a period; only if capped.")
    retry_max = TypedIntegerField(
        label="Most attempts of one request", required=False, min_value=1,
        widget=UnfoldAdminIntegerFieldWidget, help_text="Empty: as many as it likes.",
    )  # fmt: skip
    retry_seconds = TypedIntegerField(
        label="Within seconds", required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget
    )
    premium_models = NamesField(
        label="Premium models", help_text="One a line; only who is named below may use them."
    )
    instead = PairsField(
        label="Cheaper model instead", help_text="One a line, as gpt-5.4 = gpt-5.4-mini."
    )
    premium_workspaces = NamesField(
        label="Workspaces that may", help_text="External ids, one a line."
    )
    premium_jobs = NamesField(label="Jobs that may", help_text="One a line.")
    premium_ceiling = _credits(
        "Anyone may for up to", help_text="Credits of one piece of work; empty: nobody else may."
    )
    expires_at = _ends(required=False, help_text="Empty: until another version begins.")

    def __init__(self, *args: Any, subject: ControlPolicy | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        if subject is None:
            return
        for name in ("overdraft", "retry_max", "retry_seconds"):
            self.fields[name].initial = getattr(subject, name)
        for name in ("overdraft_credits", "premium_ceiling"):
            value = getattr(subject, name)
            self.fields[name].initial = None if value is None else plain(value)
        for name in _LISTS:
            self.fields[name].initial = "\n".join(getattr(subject, name))
        self.fields["instead"].initial = "\n".join(
            f"{name} = {other}" for name, other in subject.instead.items()
        )
        if subject.customer:
            self.fields["customer"].initial = subject.customer.external_id

    def clean_customer(self) -> Customer | None:
        """Keep whose rules they are."""
        customer: Customer | None = self.cleaned_data["customer"]
        if self.subject is not None and customer != self.subject.customer:
            raise ValidationError(f"This is the next version of {self.subject.code}.")
        return customer

    def facts(self) -> list[tuple[str, Any]]:
        """List the version that it would follow."""
        return _looked_at(self.subject)

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the rules."""
        said = self.cleaned_data
        terms = ControlTerms(
            customer=said["customer"], overdraft=OverdraftMode(said["overdraft"]),
            **{name: said[name] for name in (*_NUMBERS, *_LISTS, "instead")},
        )  # fmt: skip
        return propose_controls(
            terms=terms, proposal=self.proposal(said["expires_at"]), by=by, at=at
        ).policy_change


_NUMBERS = ("overdraft_credits", "retry_max", "retry_seconds", "premium_ceiling")
_LISTS = ("premium_models", "premium_workspaces", "premium_jobs")


class ExceptionForm(ProposalForm):
    """Leave to use a premium model until a date."""

    subject: ModelException | None
    shows_difference = True
    customer = CustomerField(label="Customer's external id")
    model = _name("Model", "As apps name it.", required=True)
    workspace = _name("Only workspace", "Its external id; empty: every workspace.")
    job = _name("Only job", "Empty: every job.")
    expires_at = _ends(required=True, help_text="Every exception ends.")

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Ask for the exception."""
        said = self.cleaned_data
        return request_exception(
            customer=said["customer"], model=said["model"], job=said["job"],
            workspace=workspace_or_none(said["customer"], said["workspace"]),
            proposal=self.proposal(said["expires_at"]), by=by, at=at,
        ).policy_change  # fmt: skip


def _looked_at(version: SpendLimit | ControlPolicy | None) -> list[tuple[str, Any]]:
    if version is None:
        return []
    change = version.policy_change
    return [
        ("Looked at", f"{version}, {change.status}"),
        ("Governs from", moment_html(change.effective_at)),
    ]
