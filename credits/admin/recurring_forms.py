"""Forms of the rules that give a customer credits every period."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
)

from billing_project.kernel.backoffice.display import moment_html, moment_text, number_text
from billing_project.kernel.backoffice.forms import PreviewedForm, ReasonForm
from billing_project.kernel.backoffice.numbers import TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.quantity import how_many
from billing_project.kernel.users import worker_user
from credits.admin.grant_forms import REASONS, CreditForm, terms_in_force
from credits.models import CreditGrant, GrantCategory, GrantTerms, RecurringGrant, RecurringUnit
from credits.recurrence import days_after, nth_start
from credits.services.recurring import create_recurring_grant
from metering.models import Customer, Workspace

_SHOWN = 6  # Periods on a preview.


@dataclass(frozen=True)
class Turn:
    """One period of a rule, and the life of its grant."""

    begins: str
    expires: str
    is_due: bool  # Has begun: given with the worker's next run.


class RecurringForm(CreditForm, PreviewedForm):
    """The same credits every period, under terms that somebody approved."""

    before_template = "backoffice/recurring_effect.html"
    terms = forms.ModelChoiceField(
        GrantTerms.objects.none(), label="Under terms", empty_label=None,
        widget=UnfoldAdminSelectWidget,
        help_text="They say category, life, priority and meters; without any, propose terms first.",
    )  # fmt: skip
    workspace = forms.ModelChoiceField(
        Workspace.objects.none(), label="Only for workspace", required=False,
        empty_label="every workspace", widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    interval_count = TypedIntegerField(
        label="Every", min_value=1, max_value=366, initial=1, widget=UnfoldAdminIntegerFieldWidget
    )
    interval_unit = forms.ChoiceField(
        label="Days, weeks or months", choices=RecurringUnit.choices, initial="month",
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    start_at = forms.SplitDateTimeField(
        label="First period begins (UTC)", widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Periods that have begun are given at once.",
    )  # fmt: skip
    until_at = forms.SplitDateTimeField(
        label="No period begins from (UTC)", required=False,
        widget=UnfoldAdminSplitDateTimeWidget, help_text="Empty: until somebody ends it.",
    )  # fmt: skip
    reason_code = forms.ChoiceField(
        label="Reason", choices=REASONS, widget=UnfoldAdminSelectWidget, initial="plan"
    )

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["start_at"].initial = hour_of(now()) + HOUR
        terms = terms_in_force(now()).exclude(category=GrantCategory.PAID)
        self.fields["terms"].queryset = terms  # type: ignore[attr-defined]
        workspaces = Workspace.objects.filter(customer=subject).order_by("external_id")
        self.fields["workspace"].queryset = workspaces  # type: ignore[attr-defined]
        self.turns: list[Turn] = []

    def create(self, *, by: User, at: datetime) -> RecurringGrant:
        """Make the rule; again with the same nonce makes no other."""
        said = self.cleaned_data
        return create_recurring_grant(
            customer=self.subject, terms=said["terms"], pricing_unit=said["pricing_unit"],
            amount=said["amount"], interval_unit=said["interval_unit"],
            interval_count=said["interval_count"], start_at=said["start_at"],
            until_at=said["until_at"], workspace=said["workspace"],
            reason_code=said["reason_code"], source_key=self.key, by=by, at=at,
        )  # fmt: skip

    def attempt(self) -> None:
        """Make the rule for show, and keep its first periods."""
        at = now()
        rule = self.create(by=worker_user(), at=at)
        self.turns = [_turn(rule, begins, at) for begins in islice(_starts(rule), _SHOWN)]

    def place(self, error: BillingError) -> tuple[str | None, str]:
        """Say beside which field a refusal stands."""
        field = "workspace" if error.field == "scope.workspace" else error.field
        return (field if field in self.fields else None), error.message


class RuleForm(ReasonForm):
    """The base of what is done to a rule: what it gave so far."""

    subject: RecurringGrant
    field_order: tuple[str, ...] = ("from_at", "resume_at", "until_at", "reason")

    def facts(self) -> list[tuple[str, Any]]:
        """List what the rule gives and gave."""
        rule = self.subject
        unit = rule.pricing_unit.code
        given = CreditGrant.objects.filter(rule=rule).count()
        return [
            ("Customer", rule.customer.name),
            ("Gives", f"{number_text(rule.amount)} {unit}"),
            ("Every", f"{rule.interval_count} {rule.interval_unit}"),
            ("Given so far", how_many(given, "time")),
            ("Next period begins", _next(rule)),
            ("Ends", moment_html(rule.until_at) if rule.until_at else "never"),
        ]


class EndRuleForm(RuleForm):
    """From when on no period begins."""

    until_at = forms.SplitDateTimeField(
        label="No period begins from (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until_at"].initial = now().replace(microsecond=0)


class PauseRuleForm(RuleForm):
    """From when until when no period begins."""

    from_at = forms.SplitDateTimeField(
        label="No period begins from (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    resume_at = forms.SplitDateTimeField(
        label="Until (UTC)", widget=UnfoldAdminSplitDateTimeWidget,
        help_text="It goes on with the first period of its rhythm at or after this.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["from_at"].initial = now().replace(microsecond=0)


class ResumeRuleForm(RuleForm):
    """From when on a rule that ended goes on."""

    from_at = forms.SplitDateTimeField(
        label="Goes on from (UTC)", widget=UnfoldAdminSplitDateTimeWidget,
        help_text="With the first period of its rhythm at or after this.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ended = self.subject.until_at
        at = now().replace(microsecond=0)
        self.fields["from_at"].initial = max(at, ended) if ended else at


def is_running(rule: RecurringGrant) -> bool:
    """Tell whether periods of a rule are still to come."""
    return rule.until_at is None or rule.until_at > now()


def _starts(rule: RecurringGrant) -> Iterator[datetime]:
    """Yield when a rule's periods begin, the first of all first."""
    for index in count():
        start = nth_start(
            rule.start_at, rule.interval_unit, rule.interval_count, index, rule.time_zone
        )
        if rule.until_at is not None and start >= rule.until_at:
            return
        yield start


def _next(rule: RecurringGrant) -> str:
    at = now()
    return next((moment_text(start) for start in _starts(rule) if start > at), "none")


def _turn(rule: RecurringGrant, begins: datetime, at: datetime) -> Turn:
    life = rule.terms.life_days
    expires = moment_text(days_after(begins, life, rule.time_zone)) if life else "never"
    return Turn(moment_text(begins), expires, begins <= at)
