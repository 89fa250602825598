"""Under what terms credits are given, and the rules that give them every period."""

from django.contrib import admin
from django.db.models import Model
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action, list_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    link,
    moment,
    moment_text,
    number,
    object_link,
    pairs,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.rates import PROPOSE, SEEN_FIRST, VersionAdmin
from credits.admin.recurring_forms import EndRuleForm, PauseRuleForm, ResumeRuleForm, is_running
from credits.admin.terms_forms import TermsForm
from credits.models import ClawBack, CreditGrant, GrantTerms, RecurringGrant
from credits.services.pausing import (
    continuation_of,
    pause_recurring_grant,
    resume_recurring_grant,
)
from credits.services.recurring import end_recurring_grant
from metering.models import Customer

_GIVE = "credits.grant_credits"
CATEGORIES = {"paid": "good", "promotional": "info", "included": "", "goodwill": "wait"}


@admin.register(GrantTerms)
class GrantTermsAdmin(VersionAdmin):
    """Versions of the terms of a kind of grant."""

    list_display = (
        "__str__",
        badge("category", CATEGORIES),
        number("life_days", "life in days"),
        "priority",
        "rollover",
        "status",
        "governs_from",
        link("policy_change"),
    )
    list_filter = ("category", "policy_change__status")
    list_select_related = ("policy_change",)
    search_fields = ("code", "policy_change__subject")
    search_help_text = "Code of the terms"
    ordering = ("code", "-number")
    actions_list = ("new_terms",)
    actions_detail = ("next_terms",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("code", "number"),
                    (badge("category", CATEGORIES), "priority"),
                    ("status", "governs_from"),
                    link("policy_change"),
                )
            },
        ),
        ("Scope", {"fields": (("is_pooled", pairs("meter_codes", "meters")),)}),
        (
            "End",
            {
                "fields": (
                    (
                        number("life_days", "life in days"),
                        number("return_days", "life of returned credits in days"),
                    ),
                    ("rollover", number("rollover_value", "rolled over, fraction or most")),
                    "refund_rule",
                )
            },
        ),
    )

    @list_action(
        "Propose terms",
        permission=PROPOSE,
        form=TermsForm,
        explanation=f"What credits of one kind are: category, life, scope, rollover. {SEEN_FIRST}",
    )
    def new_terms(self, by: User, form: TermsForm) -> tuple[Model, str]:
        """Propose a version of new terms, or the next one of known ones."""
        return form.proposed(GrantTerms, by=by, at=now())

    @form_action(
        "Propose next version",
        permission=PROPOSE,
        form=TermsForm,
        icon="edit_note",
        explanation=f"Grants that were given keep their version. {SEEN_FIRST}",
    )
    def next_terms(self, by: User, terms: GrantTerms, form: TermsForm) -> str:
        """Propose the version that follows."""
        return form.told(form.finish(by=by, at=now()))


@admin.register(RecurringGrant)
class RecurringGrantAdmin(ReadOnlyAdmin):
    """Rules that give a customer the same credits every period."""

    list_display = (
        "__str__",
        link("customer"),
        number("amount", unit="pricing_unit.code"),
        "interval_count",
        "interval_unit",
        link("terms"),
        moment("start_at", "from"),
        moment("until_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "interval_unit")
    list_select_related = ("customer", "pricing_unit", "terms")
    search_fields = ("=id", "customer__external_id", "source_key", "reason_code")
    search_help_text = "Id, customer's external id, source key or reason code"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("customer"), link("workspace")),
                    (number("amount", unit="pricing_unit.code"), link("terms")),
                    ("interval_count", "interval_unit"),
                    ("start_at", "until_at"),
                    "goes_on",
                )
            },
        ),
        (
            "Origin",
            {"fields": (("reason_code", "source_key"), (link("created_by"), "created_at"))},
        ),
    )
    actions_detail = ("end_rule", "pause_rule", "resume_rule")

    @admin.display(description="Goes on as")
    def goes_on(self, rule: RecurringGrant) -> str:
        """Link the rule that took its place after a pause."""
        later = continuation_of(rule)
        return object_link(later) if later else EMPTY

    @form_action(
        "End",
        permission=_GIVE,
        form=EndRuleForm,
        icon="event_busy",
        offered=is_running,
        takes_away=True,
        explanation="No period begins from then on. What was given stays.",
    )
    def end_rule(self, by: User, rule: RecurringGrant, form: EndRuleForm) -> str:
        """Let no more periods begin."""
        said = form.cleaned_data
        ended = end_recurring_grant(
            rule=rule, until_at=said["until_at"], reason=said["reason"], by=by, at=now()
        )
        return f"{rule} ends at {moment_text(ended.until_at)}."

    @form_action(
        "Pause",
        permission=_GIVE,
        form=PauseRuleForm,
        icon="pause",
        offered=is_running,
        explanation="The rule ends, and one that goes on begins after the pause. What was given"
        " stays; no period of the pause is given.",
    )
    def pause_rule(self, by: User, rule: RecurringGrant, form: PauseRuleForm) -> str:
        """Leave some periods out."""
        said = form.cleaned_data
        later = pause_recurring_grant(
            rule=rule, from_at=said["from_at"], resume_at=said["resume_at"],
            reason=said["reason"], by=by, at=now(),
        )  # fmt: skip
        return _goes_on(later)

    @form_action(
        "Resume",
        permission=_GIVE,
        form=ResumeRuleForm,
        icon="play_arrow",
        offered=lambda rule: rule.until_at is not None and continuation_of(rule) is None,
        explanation="A rule of the same content goes on in the same rhythm, once. No period of"
        " meanwhile is given.",
    )
    def resume_rule(self, by: User, rule: RecurringGrant, form: ResumeRuleForm) -> str:
        """Go on with what ended."""
        said = form.cleaned_data
        later = resume_recurring_grant(
            rule=rule, from_at=said["from_at"], reason=said["reason"], by=by, at=now()
        )
        return _goes_on(later)


def _goes_on(rule: RecurringGrant) -> str:
    return format_html("{} goes on at {}.", object_link(rule), moment_text(rule.start_at))


@admin.register(ClawBack)
class ClawBackAdmin(ReadOnlyAdmin):
    """Reasons to take back what a purchase gave; the first of a purchase takes."""

    list_display = (
        "__str__",
        link("customer"),
        "purchase_key",
        number("credits", "taken back"),
        number("used", "used before"),
        link("follows"),
        moment("recorded_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "reason")
    list_select_related = ("customer", "follows")
    search_fields = ("=reference", "=purchase_key", "customer__external_id")
    search_help_text = "Reference, purchase or customer's external id"
    fields = (
        ("reason", "reference"),
        (link("customer"), "purchase_key"),
        (number("credits", "taken back"), number("used", "used before, stays used")),
        link("follows"),
        (link("recorded_by"), "recorded_at"),
    )


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, RecurringGrant, _of_customer, icon="event_repeat")
offer_list(GrantTerms, CreditGrant, lambda terms: {"terms__id__exact": terms.pk})
offer_list(GrantTerms, RecurringGrant, lambda terms: {"terms__id__exact": terms.pk})
offer_list(RecurringGrant, CreditGrant, lambda rule: {"rule__id__exact": rule.pk})
offer_list(
    CreditGrant,
    ClawBack,
    lambda grant: {"purchase_key__exact": (grant.root or grant).source_key},
    icon="undo",
)
