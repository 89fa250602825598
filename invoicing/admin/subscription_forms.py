"""Forms of changes to a subscription: each shows its effect before it is confirmed."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanWidget

from billing_project.kernel.backoffice.display import moment_text, money_text, number_text
from billing_project.kernel.backoffice.forms import ActionForm, ReasonField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError
from billing_project.kernel.money import Money
from billing_project.kernel.users import worker_user
from invoicing.models import ChangeKind, Plan, PlanVersion, Subscription
from invoicing.phases import Moment
from invoicing.selectors import governing_plan_version, plan_version_at
from invoicing.selectors.changes import last_period, phase_of
from invoicing.services.change_previews import ChangePreview, Effect, preview_change
from invoicing.services.changes import Asked

_MOMENTS = (("now", "at once"), ("period_end", "at the end of the running period"))


class ChangeForm(ActionForm):
    """The base: when and why, with what would come of it before it is confirmed."""

    subject: Subscription
    kind: ClassVar[ChangeKind]
    before_template = "backoffice/change_effect.html"
    when = forms.ChoiceField(label="Takes effect", choices=_MOMENTS, widget=UnfoldAdminSelectWidget)
    reason = ReasonField()
    confirmed = forms.BooleanField(
        label="This is what shall happen",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Send the form once to see its effect, then confirm it.",
    )
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
            Moment(said["when"]),
            said["reason"],
            self.key,
            said.get("plan"),
            said.get("credits_unused", True),
        )

    def clean(self) -> dict[str, Any]:
        """Try the change, keep its effect and take it back; then ask for confirmation."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            self.effect = preview_change(
                subscription=self.subject, asked=self.asked(), by=worker_user(), at=now()
            )
        except BillingError as error:
            self.add_error(error.field if error.field in self.fields else None, error.message)
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
            "This is a preview: nothing was changed yet. Change what you like and send again, or"
            " tick “This is what shall happen” at the end."
        )

    def facts(self) -> list[tuple[str, Any]]:
        """List what holds now."""
        at, sold = now(), self.subject
        period = last_period(sold)
        return [
            ("Customer", sold.customer.name),
            ("Plan", str(plan_version_at(sold, at))),
            ("Standing", phase_of(sold, at).standing.value),
            ("Period", str(period) if period else "none"),
            ("Ends", moment_text(sold.ends_at)),
        ]

    def effect_rows(self) -> list[tuple[str, str, str, str]]:
        """List each amount: what it is, its days, how it comes about, and the amount."""
        if self.effect is None:
            return []
        return [
            *(_row("Given back", effect, -1) for effect in self.effect.unused),
            *(_row("Charged", effect, 1) for effect in self.effect.charges),
        ]

    def effect_words(self) -> list[tuple[str, str]]:
        """Say what comes of it for the invoice, the credits and revenue."""
        seen = self.effect
        if seen is None:
            return []
        return [
            ("Takes effect", moment_text(seen.effective_at)),
            ("Plan then", seen.plan if seen.begins_at else "none: the subscription ends"),
            ("Customer owes", _signed(seen.net_minor, seen.currency)),
            ("Credits", f"{number_text(seen.credits)} granted; what was granted before stays"),
            ("Revenue", _revenue(seen)),
        ]


class PlanForm(ChangeForm):
    """Another plan."""

    kind = ChangeKind.PLAN
    plan = forms.ModelChoiceField(
        queryset=PlanVersion.objects.none(), widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, subject: Subscription, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        field = self.fields["plan"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = _offered(subject, now())


class PauseForm(ChangeForm):
    """A pause."""

    kind = ChangeKind.PAUSE


class ResumeForm(ChangeForm):
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


def _offered(subscription: Subscription, at: datetime) -> Any:
    """List the governing version of each plan in the customer's currency, but the one they have."""
    customer = subscription.customer
    found = (governing_plan_version(plan, at, customer) for plan in Plan.objects.all())
    has = plan_version_at(subscription, at)
    keys = [version.pk for version in found if version is not None and version != has]
    versions = PlanVersion.objects.filter(pk__in=keys, currency=customer.currency)
    return versions.select_related("plan").order_by("plan__code")


def _row(word: str, effect: Effect, sign: int) -> tuple[str, str, str, str]:
    span = f"{effect.start_at:%Y-%m-%d} to {effect.end_at:%Y-%m-%d}"
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
