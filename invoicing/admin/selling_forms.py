"""The form that sells a plan to a customer: tried and shown before it is confirmed."""

from datetime import date
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import (
    moment_html,
    moment_text,
    money_text,
    number_text,
)
from billing_project.kernel.backoffice.forms import PreviewedForm
from billing_project.kernel.backoffice.numbers import TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from billing_project.kernel.period import midnight
from billing_project.kernel.users import worker_user
from credits.models import BillingPeriod
from invoicing.admin.subscription_forms import PlanField, offered_to, period_text
from invoicing.models import InvoiceLine, Subscription
from invoicing.selectors import billing_periods_of
from invoicing.selectors.advance import coming_lines
from invoicing.selectors.changes import granted_with
from invoicing.services.openings import lock_subscription, open_begun
from invoicing.services.subscriptions import subscribe
from metering.models import Customer

Row = tuple[str, str, str, str]


class SellPlanForm(PreviewedForm):
    """A plan for a customer, from a day on; with a trial, seats and a coupon where wanted."""

    subject: Customer
    before_template = "backoffice/change_effect.html"
    plan = PlanField()
    start_day = forms.DateField(
        label="Starts",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="Midnight of the customer's time zone, today or before; empty: at once.",
    )
    trial_until = forms.DateField(
        label="First day that is paid",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="Until then it is a trial without a fee; empty: no trial.",
    )
    seats = TypedIntegerField(
        required=False,
        min_value=0,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Where the plan sells seats.",
    )
    coupon = forms.CharField(max_length=40, required=False, widget=UnfoldAdminTextInputWidget)
    effect: Subscription | None = None
    rows: tuple[Row, ...] = ()
    words: tuple[tuple[str, str], ...] = ()

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        plan = self.fields["plan"]
        assert isinstance(plan, forms.ModelChoiceField)
        plan.queryset = offered_to(subject, now())
        if not plan.queryset:
            plan.help_text = f"No plan is sold in {subject.currency}: propose one first."

    def facts(self) -> list[tuple[str, Any]]:
        """List what holds now."""
        last = Subscription.objects.filter(customer=self.subject).first()
        has = "none" if last is None else f"{last.plan_version}, {_end_of(last)}"
        return [
            ("Customer", self.subject.name),
            ("Currency", self.subject.currency),
            ("Time zone", self.subject.time_zone),
            ("Plan", has),
        ]

    def clean_start_day(self) -> date | None:
        """Refuse a day that is still to come."""
        day: date | None = self.cleaned_data["start_day"]
        if day is not None and midnight(day, self.subject.time_zone) > now():
            raise forms.ValidationError("A plan is sold from today on, or from a day before.")
        return day

    def attempt(self) -> None:
        """Sell it for show, open what began since, and keep what that claims and grants."""
        at, by = now(), worker_user()
        sold = lock_subscription(self.sell(by))
        open_begun(sold, by=by, at=at)
        self.effect = sold
        periods = list(billing_periods_of(sold))
        claims = [(period, _claimed(period)) for period in periods]
        later = coming_lines(periods[-1], sold)
        currency = sold.plan_version.currency
        self.rows = (
            *(("Charged", period_text(period, sold.customer), line.description,
               money_text(line.amount_minor, currency))
              for period, lines in claims for line in lines),
            *(("Will be charged", "next period", line.description,
               money_text(line.amount_minor, currency)) for line in later),
        )  # fmt: skip
        owed = sum(line.amount_minor for _, lines in claims for line in lines)
        self.words = (
            ("Starts", moment_html(sold.start_at)),
            ("Periods", f"{len(periods)}, the last one to {moment_text(periods[-1].end_at)}"),
            ("Customer owes", f"{money_text(owed, currency)}, before tax" if owed else "nothing"),
            ("Credits", f"{number_text(granted_with(periods))} granted"),
        )

    def sell(self, by: User) -> Subscription:
        """Call the service with what the form says."""
        said, zone, at = self.cleaned_data, self.subject.time_zone, now()
        start_day, trial_until = said["start_day"], said["trial_until"]
        return subscribe(
            customer=self.subject,
            plan_version=said["plan"],
            start_at=midnight(start_day, zone) if start_day else at,
            by=by,
            at=at,
            seats=said["seats"] or 0,
            trial_until=midnight(trial_until, zone) if trial_until else None,
            coupon=said["coupon"],
        )

    def effect_words(self) -> list[tuple[str, str]]:
        """Say from when it runs, and what it claims and grants so far."""
        return list(self.words)

    def effect_rows(self) -> list[Row]:
        """List what would be claimed, line by line."""
        return list(self.rows)


def _end_of(subscription: Subscription) -> str:
    if subscription.ends_at is None:
        return "goes on"
    return f"until {moment_text(subscription.ends_at)}"


def _claimed(period: BillingPeriod) -> list[InvoiceLine]:
    lines = InvoiceLine.objects.filter(billing_period=period)
    return list(lines.order_by("invoice_id", "position"))
