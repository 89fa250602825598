"""What usage costs in credits: versions of rates, and of the rule which grant burns first."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge_html,
    link,
    moment_html,
    number,
    pairs,
)
from billing_project.kernel.backoffice.policies import POLICY_TONES
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.rate_forms import (
    MoveForm,
    OverrideForm,
    ProposeVersionForm,
    RateChangeForm,
    RollbackForm,
)
from credits.admin.terms_forms import BurnOrderForm
from credits.burn_order import PRESETS, preset_of
from credits.models import (
    ControlPolicy,
    CreditPolicy,
    GrantTerms,
    ModelException,
    PricingUnit,
    Rate,
    RateCard,
    RateCardVersion,
    RatePin,
    SpendLimit,
)
from credits.rate_sheet import in_words
from credits.selectors.contents import content_of_rate

PROPOSE = "kernel.propose_policychange"
SEEN_FIRST = (
    "Send the form to see what it would have made of each customer's last period; confirm it, and"
    " it goes to finance for approval. Nothing changes before its day."
)


Version = RateCardVersion | CreditPolicy | GrantTerms | SpendLimit | ControlPolicy | ModelException


class VersionAdmin(ReadOnlyAdmin):
    """A version of a rule; its policy change says whether it governs, and why."""

    fields: ClassVar[tuple[Any, ...] | None] = None
    fieldsets: ClassVar[tuple[Any, ...] | None] = None

    @admin.display(description="Status")
    def status(self, version: Version) -> str:
        """Show the decision on the version."""
        change = version.policy_change
        return badge_html(change.status, POLICY_TONES[change.status])

    @admin.display(description="Governs from")
    def governs_from(self, version: Version) -> str:
        """Show when an approved version starts to govern."""
        return moment_html(version.policy_change.effective_at)


class VersionInline(ReadOnlyInline):
    """A rate card's versions."""

    model = RateCardVersion
    fields = (link("policy_change", "version", text="policy_change.subject"), "status", "from_when")
    list_select_related = ("policy_change",)
    ordering = ("-number",)

    def status(self, version: RateCardVersion) -> str:
        """Show the decision on the version."""
        return badge_html(version.policy_change.status, POLICY_TONES[version.policy_change.status])

    @admin.display(description="Governs from")
    def from_when(self, version: RateCardVersion) -> str:
        """Show when the version starts to govern."""
        return moment_html(version.policy_change.effective_at)


class RateInline(ReadOnlyInline):
    """A version's rates."""

    model = Rate
    fields = ("meter_code", pairs("dimensions"), "charges")
    ordering = ("meter_code", "id")
    per_page = 100
    tab = False

    def charges(self, rate: Rate) -> str:
        """Say what the rate charges."""
        return in_words(content_of_rate(rate), "unit")


@admin.register(PricingUnit)
class PricingUnitAdmin(ReadOnlyAdmin):
    """Kinds of credits."""

    list_display = ("code", "name")
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name")


def _is_base(card: RateCard) -> bool:
    """Tell a card from a customer's override of one."""
    return card.base_id is None


@admin.register(RateCard)
class RateCardAdmin(ReadOnlyAdmin):
    """Named sets of rates."""

    list_display = ("code", "name", link("pricing_unit"))
    list_select_related = ("pricing_unit",)
    search_fields = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name", link("pricing_unit"))
    inlines = (VersionInline,)
    actions_detail = ("propose_rates", "roll_back", "override_rates", "move_customers")

    @form_action(
        "Propose version",
        permission=PROPOSE,
        form=ProposeVersionForm,
        icon="price_change",
        offered=_is_base,
        explanation=SEEN_FIRST,
    )
    def propose_rates(self, by: User, card: RateCard, form: ProposeVersionForm) -> str:
        """Propose the next version of the card."""
        return _proposed(form, by)

    @form_action(
        "Roll back",
        permission=PROPOSE,
        form=RollbackForm,
        icon="undo",
        offered=_is_base,
        explanation=f"A new version with the rates of an old one. {SEEN_FIRST}",
    )
    def roll_back(self, by: User, card: RateCard, form: RollbackForm) -> str:
        """Propose an old version's rates again."""
        return _proposed(form, by)

    @form_action(
        "Override for a customer",
        permission=PROPOSE,
        form=OverrideForm,
        icon="person_edit",
        offered=_is_base,
        explanation="The customer's own rates come first; what they do not name, the card prices."
        f" Without any rate the override ends. {SEEN_FIRST}",
    )
    def override_rates(self, by: User, card: RateCard, form: OverrideForm) -> str:
        """Propose one customer's own rates."""
        return _proposed(form, by)

    @form_action(
        "Move customers",
        permission=PROPOSE,
        form=MoveForm,
        icon="move_group",
        offered=_is_base,
        explanation=f"Customers get one version, or follow the card again. {SEEN_FIRST}",
    )
    def move_customers(self, by: User, card: RateCard, form: MoveForm) -> str:
        """Propose that customers move to a version."""
        return _proposed(form, by)


def _proposed(form: RateChangeForm, by: User) -> str:
    return form.told(form.finish(by=by, at=now()))


@admin.register(RateCardVersion)
class RateCardVersionAdmin(VersionAdmin):
    """Immutable rates, in force once somebody else approved them."""

    list_display = (
        "__str__",
        link("rate_card"),
        "number",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("policy_change__status",)
    list_select_related = ("rate_card", "policy_change")
    search_fields = ("rate_card__code", "policy_change__subject")
    search_help_text = "Rate card's code"
    fields = (link("rate_card"), "number", "status", "governs_from", link("policy_change"))
    inlines = (RateInline,)


@admin.register(Rate)
class RateAdmin(ReadOnlyAdmin):
    """Prices of one unit of a meter's quantity."""

    list_display = (
        "meter_code",
        pairs("dimensions"),
        number("unit_price", "credits per unit"),
        link("version"),
    )
    list_filter = ("meter_code",)
    list_select_related = ("version__rate_card",)
    search_fields = ("meter_code", "version__rate_card__code")
    search_help_text = "Meter's or rate card's code"
    ordering = ("-version_id", "meter_code", "id")
    fields = (
        link("version"),
        "meter_code",
        pairs("dimensions"),
        number("unit_price", "credits per unit"),
    )


@admin.register(RatePin)
class RatePinAdmin(ReadOnlyAdmin):
    """Customers who stay at a version of a rate card, or follow it again."""

    list_display = (
        "__str__",
        link("customer"),
        link("rate_card"),
        link("version"),
        link("policy_change"),
    )
    list_select_related = ("customer", "rate_card", "version__rate_card", "policy_change")
    search_fields = ("customer__external_id", "rate_card__code")
    search_help_text = "Customer's id or rate card's code"
    ordering = ("-id",)
    fields = (link("customer"), link("rate_card"), link("version"), link("policy_change"))


@admin.register(CreditPolicy)
class CreditPolicyAdmin(VersionAdmin):
    """Which grant is used first."""

    list_display = (
        "__str__",
        pairs("burn_order"),
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("policy_change__status",)
    list_select_related = ("policy_change",)
    search_fields = ("code", "policy_change__subject")
    ordering = ("code", "-number")
    fields = (
        "code",
        "number",
        pairs("burn_order"),
        "preset",
        "status",
        "governs_from",
        link("policy_change"),
    )
    actions_list = ("new_burn_order",)

    @admin.display(description="Known as")
    def preset(self, policy: CreditPolicy) -> str:
        """Name the product that publishes this order."""
        name = preset_of(policy.burn_order)
        return PRESETS[name].title if name else "own"

    @list_action(
        "Propose burn order",
        permission=PROPOSE,
        form=BurnOrderForm,
        icon="low_priority",
        explanation=f"Which grant usage burns first, for every customer. {SEEN_FIRST}",
    )
    def new_burn_order(self, by: User, form: BurnOrderForm) -> tuple[Model, str]:
        """Propose the next version of the burn order, or keep a draft of it."""
        return form.proposed(CreditPolicy, by=by, at=now())


offer_list(RateCard, RateCardVersion, lambda card: {"rate_card__id__exact": card.pk})
