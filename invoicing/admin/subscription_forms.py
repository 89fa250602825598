"""Forms of changes to a subscription: each shows its effect before it is confirmed."""

from datetime import date, datetime
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSingleDateWidget, UnfoldBooleanWidget

from billing_project.kernel.backoffice.display import (
    days_text,
    moment_html,
    money_text,
    number_text,
)
from billing_project.kernel.backoffice.forms import PreviewedForm, ReasonField
from billing_project.kernel.clock import now
from billing_project.kernel.money import Money
from billing_project.kernel.period import midnight
from billing_project.kernel.quantity import how_many
from billing_project.kernel.users import worker_user
from credits.models import BillingPeriod
from invoicing.models import ChangeKind, Plan, PlanVersion, Subscription
from invoicing.phases import Moment
from invoicing.selectors import governing_plan_version, items_of, plan_version_at
from invoicing.selectors.changes import last_period, phase_of, standing_changes
from invoicing.services.change_previews import ChangePreview, Effect, preview_change
from invoicing.services.changes import Asked
from metering.models import Customer

_DAY = "day"
_MOMENTS = (("now", "at once"), ("period_end", "at the end of the running period"))
_MOMENTS_AND_DAYS = (*_MOMENTS, (_DAY, "when a day begins"))


class PlanField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A version of a plan, with what it costs."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminSelectWidget)
        kwargs.setdefault("empty_label", "Choose")
        super().__init__(queryset=PlanVersion.objects.none(), **kwargs)

    def label_from_instance(self, version: Any) -> str:
        """Say a version's fee, its interval, its minimum, and whose own terms it is."""
        count, unit = version.interval_count, version.interval_unit
        words = [
            f"{money_text(version.fee_minor, version.currency)} every"
            f" {unit if count == 1 else how_many(count, unit)}",
            f"{number_text(version.included_credits)} credits included",
            *(f"{item.name} {money_text(item.amount_minor, version.currency)}"
              for item in items_of(version, "commit", "recurring", "seat")),
        ]  # fmt: skip
        if version.customer_id:
            words.append("this customer's own terms")
        return f"{version}: {', '.join(words)}"


class ChangeForm(PreviewedForm):
    """The base: when and why, with what would come of it before just that is confirmed."""

    subject: Subscription
    kind: ClassVar[ChangeKind]
    before_template = "backoffice/change_effect.html"
    when = forms.ChoiceField(label="Takes effect", choices=_MOMENTS, widget=UnfoldAdminSelectWidget)
    reason = ReasonField()
    effect: ChangePreview | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        last = ["reason", "confirmed"]
        self.order_fields([*(name for name in self.fields if name not in last), *last])

    def asked(self) -> Asked:
        """Return the change that the form asks for."""
        said = self.cleaned_data
        return Asked(
            self.kind,
            self.when_asked(),
            said["reason"],
            self.key,
            said.get("plan"),
            said.get("credits_unused", True),
        )

    def when_asked(self) -> Moment | datetime:
        """Return from when it shall hold."""
        return Moment(self.cleaned_data["when"])

    def attempt(self) -> None:
        """Try the change and keep its effect."""
        self.effect = preview_change(
            subscription=self.subject, asked=self.asked(), by=worker_user(), at=now()
        )

    def facts(self) -> list[tuple[str, Any]]:
        """List what holds now."""
        at, sold = now(), self.subject
        period = last_period(sold)
        return [
            ("Customer", sold.customer.name),
            ("Plan", str(plan_version_at(sold, at))),
            ("Standing", phase_of(sold, at).standing.value),
            ("Period", period_text(period, sold.customer)),
            ("Ends", moment_html(sold.ends_at)),
        ]

    def effect_rows(self) -> list[tuple[str, str, str, str]]:
        """List each amount: what it is, its days, how it comes about, and the amount."""
        if self.effect is None:
            return []
        zone = self.subject.customer.time_zone
        return [
            *(_row("Given back", effect, -1, zone) for effect in self.effect.unused),
            *(_row("Charged", effect, 1, zone) for effect in self.effect.charges),
        ]

    def effect_words(self) -> list[tuple[str, str]]:
        """Say what comes of it for the invoice, the credits and revenue."""
        seen = self.effect
        if seen is None:
            return []
        return [
            ("Takes effect", moment_html(seen.effective_at)),
            ("Plan then", seen.plan if seen.begins_at else "none: the subscription ends"),
            ("Customer owes", _signed(seen.net_minor, seen.currency)),
            ("Credits", f"{number_text(seen.credits)} granted; what was granted before stays"),
            ("Revenue", _revenue(seen)),
        ]


class ScheduledForm(ChangeForm):
    """The base of what may also be scheduled for a day: several of them make phases."""

    when = forms.ChoiceField(
        label="Takes effect", choices=_MOMENTS_AND_DAYS, widget=UnfoldAdminSelectWidget
    )
    day = forms.DateField(
        label="Day",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="Only where it takes effect when a day begins: at midnight of the customer's"
        " time zone.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = [name for name in self.fields if name not in {"when", "day", "reason", "confirmed"}]
        self.order_fields([*first, "when", "day", "reason", "confirmed"])

    def clean_day(self) -> date | None:
        """Ask for the day where it counts, and refuse one that would be ignored."""
        day: date | None = self.cleaned_data["day"]
        counts = self.cleaned_data.get("when") == _DAY
        if counts and day is None:
            raise forms.ValidationError("Say which day.")
        if day is not None and not counts:
            raise forms.ValidationError("Choose “when a day begins”, or leave the day empty.")
        return day

    def when_asked(self) -> Moment | datetime:
        """Return from when it shall hold."""
        day: date | None = self.cleaned_data["day"]
        if day is None:
            return super().when_asked()
        return midnight(day, self.subject.customer.time_zone)


class PlanForm(ScheduledForm):
    """Another plan."""

    kind = ChangeKind.PLAN
    plan = PlanField()

    def __init__(self, *args: Any, subject: Subscription, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        field = self.fields["plan"]
        assert isinstance(field, forms.ModelChoiceField)
        at = now()
        offered = offered_to(subject.customer, at)
        later = standing_changes(subject).filter(kind=ChangeKind.PLAN, effective_at__gt=at)
        has = plan_version_at(subject, at)  # Offered only where a phase may lead back to it.
        field.queryset = offered if later.exists() else offered.exclude(pk=has.pk)


class PauseForm(ScheduledForm):
    """A pause."""

    kind = ChangeKind.PAUSE


class ResumeForm(ScheduledForm):
    """The end of a pause."""

    kind = ChangeKind.RESUME


class CancelForm(ChangeForm):
    """An end."""

    kind = ChangeKind.CANCEL
    credits_unused = forms.BooleanField(
        label="Give unused days back",
        required=False,
        initial=True,
        widget=UnfoldBooleanWidget,
        help_text="By a credit note; what was paid becomes the customer's balance.",
    )


def offered_to(customer: Customer, at: datetime) -> QuerySet[PlanVersion]:
    """List the version of each plan that governs for a customer, in their currency."""
    found = (governing_plan_version(plan, at, customer) for plan in Plan.objects.all())
    keys = [version.pk for version in found if version is not None]
    versions = PlanVersion.objects.filter(pk__in=keys, currency=customer.currency)
    return versions.select_related("plan").order_by("plan__code")


def period_text(period: BillingPeriod | None, customer: Customer) -> str:
    """Write a billing period by the days of its customer's calendar."""
    if period is None:
        return "none"
    return days_text(period.start_at, period.end_at, customer.time_zone)


def _row(word: str, effect: Effect, sign: int, zone: str) -> tuple[str, str, str, str]:
    span = days_text(effect.start_at, effect.end_at, zone)
    amount = money_text(sign * effect.amount.amount_minor, effect.amount.currency)
    return word, span, effect.description, amount


def _signed(minor: int, currency: str) -> str:
    if not minor:
        return "nothing more"
    return f"{money_text(abs(minor), currency)} {'more' if minor > 0 else 'less'}"


def _revenue(seen: ChangePreview) -> str:
    """Say what is earned no more, and what will be; nothing that was earned changes."""
    words = []
    if seen.unused_minor:
        words.append(f"{Money(seen.unused_minor, seen.currency)} deferred is not earned any more")
    if seen.charged_minor and seen.begins_at and seen.ends_at:
        days = (seen.ends_at.date() - seen.begins_at.date()).days
        charged = Money(seen.charged_minor, seen.currency)
        words.append(f"{charged} is earned over the {days} days to {seen.ends_at:%Y-%m-%d}")
    return "; ".join(words) or "nothing changes before the next period"
