"""Forms that give a customer credits: what the balance and the burn order would be, seen first."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDateWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.backoffice.display import (
    moment_html,
    moment_text,
    number_text,
    unrounded_text,
)
from billing_project.kernel.backoffice.forms import (
    ActionForm,
    AmountField,
    ChosenField,
    CreditsField,
    PreviewedForm,
)
from billing_project.kernel.backoffice.numbers import TypedIntegerField
from billing_project.kernel.clock import now
from billing_project.kernel.errors import BillingError, Invalid
from billing_project.kernel.models import User, in_force
from billing_project.kernel.users import worker_user
from credits.admin.shifts import Shift, available, shift
from credits.burn_order import STRIPE_ORDER, in_burn_order
from credits.models import CreditGrant, GrantCategory, GrantTerms, PricingUnit
from credits.selectors import balance, governing_credit_policy
from credits.selectors.states import state_of_grant
from credits.services.entries import cost_of_credits
from credits.services.grants import LONGEST_NAME, MAX_PRIORITY, issue_grant
from credits.services.terms import issue_under_terms
from metering.models import Customer, Meter, Workspace

REASONS = (
    ("sales_promotion", "sales promotion"),
    ("trial", "trial"),
    ("service_failure", "service failure"),
    ("goodwill", "goodwill"),
    ("plan", "part of what the customer's plan includes"),
    ("purchase", "bought and paid for"),
    ("migration", "migration from another system"),
    ("correction", "correction of an error"),
)
_CATEGORIES = (
    ("", "as the terms say"),
    (GrantCategory.PROMOTIONAL.value, "promotional: to win or keep a customer"),
    (GrantCategory.GOODWILL.value, "goodwill: for something that went wrong"),
    (GrantCategory.INCLUDED.value, "included: part of what the customer has bought"),
)
_MOST_SHOWN = 10  # Grants of the burn order on a preview.
# Where a service's field stands on the form.
_FIELDS = {
    "scope.workspace": "workspace",
    "scope.meters": "meters",
    "price.currency": "price",
    "expires_at": "expires_on",
}


@dataclass(frozen=True)
class Turn:
    """One grant at its place in the burn order."""

    place: int
    grant: CreditGrant
    left: str
    expires: str
    is_new: bool


class CreditForm(ActionForm):
    """The base of forms that give a customer credits of one kind."""

    subject: Customer
    pricing_unit = forms.ModelChoiceField(
        PricingUnit.objects.order_by("code"),
        label="Kind of credits",
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
    )
    amount = CreditsField(label="Credits")

    def facts(self) -> list[tuple[str, Any]]:
        """List what the customer has."""
        held = balance(self.subject, now())
        return [
            ("Customer", self.subject.name),
            *((f"Has, in {b.pricing_unit}", number_text(b.available)) for b in held),
        ]


class GrantForm(CreditForm, PreviewedForm):
    """Credits that nobody pays for, under approved terms or as said here."""

    before_template = "backoffice/grant_effect.html"
    terms = forms.ModelChoiceField(
        GrantTerms.objects.none(), label="Under terms", required=False,
        empty_label="none: as said below", widget=UnfoldAdminSelectWidget,
        help_text="An approved version says category, life, priority and meters; leave those empty"
        " then.",
    )  # fmt: skip
    category = forms.ChoiceField(
        choices=_CATEGORIES, required=False, widget=UnfoldAdminSelectWidget
    )
    reason_code = ChosenField(label="Reason", choices=REASONS)
    name = forms.CharField(
        required=False, max_length=LONGEST_NAME, widget=UnfoldAdminTextInputWidget,
        help_text="What the customer reads, if anything.",
    )  # fmt: skip
    effective_at = forms.SplitDateTimeField(
        label="Can be used from (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    expires_on = forms.DateField(
        label="Expires on", required=False, widget=UnfoldAdminDateWidget,
        help_text="Credits lapse at 00:00 UTC of this day; leave empty for never.",
    )  # fmt: skip
    workspace = forms.ModelChoiceField(
        Workspace.objects.none(), label="Only for workspace", required=False,
        empty_label="every workspace", widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    meters = forms.MultipleChoiceField(
        label="Only for meters", required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: every meter.",
    )  # fmt: skip
    priority = TypedIntegerField(
        required=False, min_value=0, max_value=MAX_PRIORITY, widget=UnfoldAdminIntegerFieldWidget,
        help_text="0 burns first, 100 last; empty: 50, or as the terms say.",
    )  # fmt: skip

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        # The instant of the page, not of the click: a double click says the same thing twice.
        self.fields["effective_at"].initial = now().replace(microsecond=0)
        workspaces = Workspace.objects.filter(customer=subject).order_by("external_id")
        self.fields["workspace"].queryset = workspaces  # type: ignore[attr-defined]
        codes = Meter.objects.order_by("code").values_list("code", flat=True)
        self.fields["meters"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]
        self.fields["terms"].queryset = self.terms_offered()  # type: ignore[attr-defined]
        self.shifts: list[Shift] = []
        self.turns: list[Turn] = []
        self.said_of: list[tuple[str, str]] = []

    def terms_offered(self) -> QuerySet[GrantTerms]:
        """List the terms that such grants may be given under."""
        return terms_in_force(now()).exclude(category=GrantCategory.PAID)

    def category_said(self) -> str:
        """Return the category of a grant without terms."""
        said: str = self.cleaned_data["category"]
        if not said:
            raise Invalid("choose a category, or terms that say it", field="category")
        return said

    def price_minor(self) -> int:
        """Return what was paid."""
        return 0

    def issue(self, *, by: User, at: datetime) -> CreditGrant:
        """Give the credits; again with the same nonce gives nothing more."""
        said = self.cleaned_data
        if said["terms"]:
            self._refuse_other_words(said["terms"])
            return issue_under_terms(
                terms=said["terms"], customer=self.subject, amount=said["amount"],
                pricing_unit=said["pricing_unit"], reason_code=said["reason_code"],
                source_key=self.key, by=by, at=at, effective_at=said["effective_at"],
                price_minor=self.price_minor(), workspace=said["workspace"], name=said["name"],
            )  # fmt: skip
        return issue_grant(
            customer=self.subject, category=self.category_said(), amount=said["amount"],
            pricing_unit=said["pricing_unit"], reason_code=said["reason_code"],
            source_key=self.key, by=by, at=at, effective_at=said["effective_at"],
            expires_at=self.expires_at(), price_minor=self.price_minor(),
            priority=50 if said["priority"] is None else said["priority"],
            workspace=said["workspace"], meter_codes=said["meters"], name=said["name"],
        )  # fmt: skip

    def expires_at(self) -> datetime | None:
        """Return the first instant of the day of expiry, in UTC."""
        day = self.cleaned_data["expires_on"]
        return datetime.combine(day, time.min, UTC) if day else None

    def attempt(self) -> None:
        """Give the credits for show; keep the balance before and after, and the burn order."""
        at, begins = now(), self.cleaned_data["effective_at"]
        instants = [("Available now", at)]
        if begins > at:
            instants.append((f"Available at {moment_text(begins)}", begins))
        unit = self.cleaned_data["pricing_unit"]
        before = [available(self.subject, when, unit) for _, when in instants]
        grant = self.issue(by=worker_user(), at=at)
        after = [available(self.subject, when, unit) for _, when in instants]
        self.shifts = [
            shift(label, old, new, unit)
            for (label, _), old, new in zip(instants, before, after, strict=True)
        ]
        self.turns = turns_of(self.subject, grant, max(at, begins))
        self.said_of = _words_of(grant)

    def place(self, error: BillingError) -> tuple[str | None, str]:
        """Say beside which field a refusal stands."""
        field = _FIELDS.get(error.field, error.field)
        return (field if field in self.fields else None), error.message

    def _refuse_other_words(self, terms: GrantTerms) -> None:
        """Refuse words that the terms have already said, unless they are the same."""
        said = self.cleaned_data
        for field, wanted, has in (
            ("category", said["category"], terms.category),
            ("priority", said["priority"], terms.priority),
            ("meters", sorted(said["meters"]), terms.meter_codes),
            ("expires_on", said["expires_on"], None),
        ):
            if wanted not in ("", None, []) and wanted != has:
                raise Invalid(f"{terms} says this: leave it empty", field=field)


class PaidGrantForm(GrantForm):
    """Credits that were paid for outside of this system: a sale that no invoice of ours is of."""

    price = AmountField()

    def __init__(self, *args: Any, subject: Customer, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        currency = subject.currency
        self.fields["price"] = AmountField(
            currency=currency, label=f"Price paid in {currency}, ex tax"
        )
        del self.fields["category"]
        self.fields["reason_code"].initial = "purchase"
        self.order_fields(["nonce", "pricing_unit", "amount", "price"])

    def terms_offered(self) -> QuerySet[GrantTerms]:
        """List the terms of paid credits."""
        return terms_in_force(now()).filter(category=GrantCategory.PAID)

    def category_said(self) -> str:
        """Return that it is paid."""
        return GrantCategory.PAID.value

    def price_minor(self) -> int:
        """Return what was paid.

        Raises:
            Invalid: nothing; then it is no paid grant.
        """
        said: int = self.cleaned_data["price"]
        if said <= 0:
            raise Invalid("paid credits have a price above 0", field="price")
        return said


def terms_in_force(at: datetime) -> QuerySet[GrantTerms]:
    """List the version of each code of grant terms that governs at an instant."""
    governing = (
        GrantTerms.objects.filter(in_force(at, "policy_change__"))
        .order_by("code", "-policy_change__effective_at", "-number")
        .distinct("code")
    )
    return GrantTerms.objects.filter(pk__in=governing.values("pk")).order_by("code")


def turns_of(customer: Customer, new: CreditGrant, at: datetime) -> list[Turn]:
    """List the customer's grants that have credits, in the order that governs at an instant."""
    policy = governing_credit_policy(at)
    rows = CreditGrant.objects.filter(
        customer=customer, pricing_unit_id=new.pricing_unit_id, remaining__gt=0
    ).select_related("origin")
    grants = {row.pk: row for row in rows if row.expires_at is None or row.expires_at > at}
    states = (state_of_grant(row, row.remaining) for row in grants.values())
    order = in_burn_order(states, policy.burn_order if policy else STRIPE_ORDER)
    turns = [
        Turn(
            place, grants[state.id], number_text(state.remaining), moment_text(state.expires_at),
            state.id == new.pk,
        )
        for place, state in enumerate(order, start=1)
    ]  # fmt: skip
    return [turn for turn in turns if turn.place <= _MOST_SHOWN or turn.is_new]


def _words_of(grant: CreditGrant) -> list[tuple[str, str]]:
    """Say what the grant would be, where the form left it to the terms."""
    words = [
        ("Category", grant.category),
        ("Priority", str(grant.priority)),
        ("Can be used from", moment_html(grant.effective_at)),
        ("Expires", moment_html(grant.expires_at) if grant.expires_at else "never"),
    ]
    if grant.price_minor:
        cost = cost_of_credits(grant, Decimal(1))
        words.append(("One credit cost", unrounded_text(cost, grant.currency)))
    return words
