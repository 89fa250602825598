"""Outcomes to decide on, and seats as they were changed."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import badge, link, moment, money
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.models import Outcome, OutcomeDecision, OutcomeState, SeatChange, Subscription
from invoicing.outcomes import FOLLOWING, State
from invoicing.services.outcomes import decide_outcome
from metering.models import Customer

_TONES = {"pending": "wait", "accepted": "good", "rejected": "bad", "disputed": "wait"}
_DECIDE = "invoicing.decide_outcome"


class DecisionInline(ReadOnlyInline):
    """What was decided, in order."""

    model = OutcomeDecision
    fields = ("sequence", badge("state", _TONES), "reason", link("decided_by"), "decided_at")
    list_select_related = ("decided_by",)
    ordering = ("sequence",)
    verbose_name_plural = "decisions"
    tab = False


@admin.register(Outcome)
class OutcomeAdmin(ReadOnlyAdmin):
    """Results that are sold by the piece; only accepted ones are billed."""

    list_display = (
        "__str__",
        link("customer"),
        "item",
        money("item.amount_minor", "price", currency="item.plan_version.currency"),
        badge("state", _TONES),
        moment("occurred_at"),
    )
    list_filter = (("customer", AutocompleteSelectFilter), "state")
    list_select_related = ("customer", "item__plan_version")
    search_fields = ("identifier", "customer__external_id", "customer__name")
    search_help_text = "Identifier or customer"
    date_hierarchy = "occurred_at"
    fields = (
        "identifier",
        link("customer", text="customer.name"),
        "item",
        money("item.amount_minor", "price", currency="item.plan_version.currency"),
        badge("state", _TONES),
        "note",
        "occurred_at",
        link("created_by"),
        "created_at",
    )
    inlines = (DecisionInline,)
    actions_detail = ("accept", "reject", "dispute")

    @form_action(
        "Accept",
        permission=_DECIDE,
        icon="task_alt",
        offered=lambda outcome: State.ACCEPTED in FOLLOWING[State(outcome.state)],
        explanation="It is earned from now on, and billed at the end of its period.",
    )
    def accept(self, by: User, outcome: Outcome, form: ReasonForm) -> str:
        """Let it be billed."""
        return _decided(by, outcome, OutcomeState.ACCEPTED, form)

    @form_action(
        "Reject",
        permission=_DECIDE,
        icon="block",
        offered=lambda outcome: State.REJECTED in FOLLOWING[State(outcome.state)],
        takes_away=True,
        is_final=True,
        explanation="It is never billed.",
    )
    def reject(self, by: User, outcome: Outcome, form: ReasonForm) -> str:
        """Let it never be billed."""
        return _decided(by, outcome, OutcomeState.REJECTED, form)

    @form_action(
        "Dispute",
        permission=_DECIDE,
        icon="help",
        offered=lambda outcome: State.DISPUTED in FOLLOWING[State(outcome.state)],
        explanation="It is not billed until it is accepted.",
    )
    def dispute(self, by: User, outcome: Outcome, form: ReasonForm) -> str:
        """Keep it from being billed for now."""
        return _decided(by, outcome, OutcomeState.DISPUTED, form)


@admin.register(SeatChange)
class SeatChangeAdmin(ReadOnlyAdmin):
    """Seats added and removed, by the instant from which they count."""

    list_display = (
        "__str__",
        link("subscription"),
        link("subscription.customer", "customer"),
        "seats",
        moment("effective_at"),
        moment("settled_at"),
    )
    list_filter = (("settled_at", admin.EmptyFieldListFilter),)
    list_select_related = ("subscription__customer",)
    search_fields = ("=subscription__id", "subscription__customer__external_id")
    search_help_text = "Subscription's id, or customer"
    fields = (
        link("subscription"),
        "seats",
        "effective_at",
        "reason",
        "settled_at",
        link("created_by"),
        "created_at",
    )


def _decided(by: User, outcome: Outcome, state: str, form: ReasonForm) -> str:
    reason = form.cleaned_data["reason"]
    decide_outcome(outcome=outcome, state=state, reason=reason, by=by, at=now())
    return f"{outcome} is {state}."


offer_list(Customer, Outcome, lambda c: {"customer__id__exact": c.pk}, icon="flag")
offer_list(Subscription, SeatChange, lambda s: {"q": s.pk}, icon="event_seat")
