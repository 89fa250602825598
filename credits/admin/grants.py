"""Credits given, taken back and used: grants and the ledger that explains them."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import (
    Fresh,
    LargeTableAdmin,
    ReadOnlyAdmin,
)
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    badge_html,
    link,
    moment,
    money,
    number,
    number_text,
    object_link,
    pairs,
    unrounded,
)
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from credits.admin.grant_ends import (
    ClawBackForm,
    ExpireForm,
    MoveForm,
    ReinstateForm,
    VoidForm,
    can_be_reinstated,
    was_sold,
)
from credits.admin.grant_page import context_of
from credits.admin.rates import PROPOSE
from credits.admin.usage import KIND_TONES
from credits.models import CreditGrant, LedgerKind, LedgerTransaction, RatedUsage
from credits.selectors import rating_state
from credits.selectors.why import why_this_grant
from credits.services.stored_value import refuse_stored_value
from metering.models import Customer

_VOID = "credits.void_creditgrant"
_CATEGORIES = {"paid": "good", "promotional": "info", "included": "", "goodwill": "wait"}
_STATES = {
    "waiting": "wait",
    "in force": "good",
    "used up": "",
    "expired": "",
    "voided": "bad",
}


def state_of(grant: CreditGrant, last_kind: str, at: datetime) -> str:
    """Name where a grant is in its life.

    Args:
        last_kind: Kind of its newest ledger transaction, which took what was left, if nothing is.
    """
    if not grant.remaining:
        ends: dict[str, str] = {LedgerKind.VOIDED: "voided", LedgerKind.EXPIRED: "expired"}
        return ends.get(last_kind, "used up")
    if grant.expires_at is not None and grant.expires_at <= at:
        return "expired"
    return "in force" if grant.effective_at <= at else "waiting"


def _state(grant: Any) -> str:
    last_kind = "" if grant.remaining else grant.last_kind  # Annotated by the page.
    return state_of(grant, last_kind, now())


def _can_be_voided(grant: CreditGrant) -> bool:
    return grant.remaining > 0 and _state(grant) in {"waiting", "in force"}


def _can_expire(grant: CreditGrant) -> bool:
    return grant.remaining > 0 and _state(grant) == "in force"


@admin.register(CreditGrant)
class CreditGrantAdmin(ReadOnlyAdmin):
    """Credits given to customers; what remains is what the ledger says."""

    list_display = (
        "__str__",  # Says the category too.
        link("customer"),
        "state",
        number("amount", unit="pricing_unit.code"),
        number("remaining", unit="pricing_unit.code"),
        money("price_minor", "price"),
        moment("expires_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "category")
    list_select_related = ("customer", "pricing_unit", "root", "terms__policy_change")
    search_fields = ("=id", "customer__external_id", "source_key", "reason_code")
    search_help_text = "Id, customer's external id, source key or reason code"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (link("customer"), badge("category", _CATEGORIES), "state"),
                    (
                        number("amount", unit="pricing_unit.code"),
                        number("remaining", unit="pricing_unit.code"),
                    ),
                    money("price_minor", "price"),
                )
            },
        ),
        ("Life", {"fields": (("effective_at", "expires_at"),)}),
        (
            "Scope",
            {
                "fields": (
                    (link("workspace"), pairs("meter_codes", "meters")),
                    "priority",
                )
            },
        ),
        (
            "Origin",
            {
                "fields": (
                    (link("terms"), link("terms.policy_change", "approved by")),
                    (link("rule"), link("origin", "came from")),
                    ("reason_code", "source_key"),
                    (link("created_by"), "created_at"),
                )
            },
        ),
    )
    change_form_after_template = "backoffice/grant_life.html"
    actions_detail = ("void", "expire", "reinstate", "claw_back", "move")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditGrant]:
        """Add the kind of each grant's newest ledger transaction, which tells how it ended."""
        newest = LedgerTransaction.objects.filter(grant=OuterRef("pk")).order_by("-pk")
        grants: QuerySet[CreditGrant] = super().get_queryset(request)
        return grants.annotate(last_kind=Subquery(newest.values("kind")[:1]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the grant's ledger with its running balance, and the picture of it."""
        if (grant := context.get("original")) is not None:
            context |= context_of(request, grant)
        return super().render_change_form(request, context, *args, **kwargs)

    def state(self, grant: CreditGrant) -> str:
        """Show where the grant is in its life."""
        return badge_html(_state(grant), _STATES[_state(grant)])

    @form_action(
        "Void",
        permission=_VOID,
        form=VoidForm,
        icon="cancel",
        offered=_can_be_voided,
        is_final=True,
        takes_away=True,
        explanation="For a grant that should not have been given: all that is left of it is taken"
        " back. What was used stays used.",
    )
    def void(self, by: User, grant: CreditGrant, form: VoidForm) -> str:
        """Take back what is left."""
        taken = form.act(grant, by=by, at=now())
        return f"Voided {number_text(-taken.credits)} {grant.pricing_unit.code} of {grant}."

    @form_action(
        "Expire",
        permission=_VOID,
        form=ExpireForm,
        icon="timer_off",
        offered=_can_expire,
        is_final=True,
        takes_away=True,
        explanation="For a grant that ends early: all that is left of it expires now. If it was"
        " paid for, what is left becomes revenue.",
    )
    def expire(self, by: User, grant: CreditGrant, form: ExpireForm) -> str:
        """Let what is left expire now."""
        taken = form.act(grant, by=by, at=now())
        return f"Expired {number_text(-taken.credits)} {grant.pricing_unit.code} of {grant}."

    @form_action(
        "Reinstate",
        permission=_VOID,
        form=ReinstateForm,
        icon="settings_backup_restore",
        offered=can_be_reinstated,
        explanation="For a void or an early end that was a mistake: all that it took comes back"
        " now, and burns usage that is rated from now on.",
    )
    def reinstate(self, by: User, grant: CreditGrant, form: ReinstateForm) -> str:
        """Give back what was taken by mistake."""
        back = form.act(grant, by=by, at=now())
        return f"Reinstated {number_text(back.credits)} {grant.pricing_unit.code} of {grant}."

    @form_action(
        "Claw back",
        permission=_VOID,
        form=ClawBackForm,
        icon="undo",
        offered=was_sold,
        is_final=True,
        takes_away=True,
        explanation="For a purchase whose money went back: all that is unused of it is taken, of"
        " the grants that it rolled over to as well, once. What was used stays used.",
    )
    def claw_back(self, by: User, grant: CreditGrant, form: ClawBackForm) -> str:
        """Take back what is unused of a purchase."""
        taken = form.act(grant, by=by, at=now())
        credits_ = f"{number_text(taken.credits)} {grant.pricing_unit.code}"
        return format_html("Clawed back {}: {}.", credits_, object_link(taken))

    @form_action(
        "Transfer or cash out",
        permission=(_VOID, PROPOSE),
        form=MoveForm,
        icon="block",
        explanation="Credits are no stored value: they are not transferred, withdrawn, given on or"
        " cashed out. The request is noted and refused; a policy change that finance and legal both"
        " approve would have to allow it first.",
    )
    def move(self, by: User, grant: CreditGrant, form: MoveForm) -> str:
        """Note who asked for what, and refuse it."""
        raise refuse_stored_value(grant=grant, verb=form.cleaned_data["verb"], by=by, at=now())

    def freshness(self) -> Fresh:
        """Say until when usage is in the balances."""
        return rating_state(now())


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(LargeTableAdmin):
    """Every movement of every grant; append-only."""

    list_display = (
        "__str__",
        link("customer"),
        badge("kind", KIND_TONES),
        number("credits", unit="grant.pricing_unit.code"),
        unrounded("cost_unrounded", "cost", currency="grant.currency"),
        link("grant"),
        link("rated_usage"),
        moment("effective_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "kind")
    list_select_related = ("customer", "grant__pricing_unit", "rated_usage")
    search_fields = ("id", "source_key", "customer__external_id")
    search_help_text = "Id, source key or customer's external id, exactly"
    fields = (
        "source_key",
        link("customer"),
        link("grant"),
        badge("kind", KIND_TONES),
        number("credits", unit="grant.pricing_unit.code"),
        unrounded("cost_unrounded", "cost", currency="grant.currency"),
        link("rated_usage"),
        link("credit_policy", "burn order"),
        "why",
        "reason_code",
        "effective_at",
        "recorded_at",
        link("recorded_by"),
    )

    @admin.display(description="Why this grant")
    def why(self, entry: LedgerTransaction) -> str:
        """Say what the burn order compared; nothing for an entry that it did not choose."""
        return why_this_grant(entry) or EMPTY

    def freshness(self) -> Fresh:
        """Say until when usage is in the balances."""
        return rating_state(now())


def _of_customer(customer: Customer) -> dict[str, object]:
    return {"customer__id__exact": customer.pk}


offer_list(Customer, CreditGrant, _of_customer, icon="redeem")
offer_list(Customer, LedgerTransaction, _of_customer, icon="swap_vert")
offer_list(RatedUsage, LedgerTransaction, lambda rated: {"rated_usage__id__exact": rated.pk})
offer_list(CreditGrant, LedgerTransaction, lambda grant: {"grant__id__exact": grant.pk})
