"""Who bought what, and what was changed about it since."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin, ReadOnlyInline
from billing_project.kernel.backoffice.display import (
    badge,
    badge_html,
    link,
    moment,
    moment_text,
    object_link,
)
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.backoffice.related import offer_list
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from invoicing.admin.sold_forms import CouponForm, SeatsForm
from invoicing.admin.subscription_forms import (
    CancelForm,
    ChangeForm,
    PauseForm,
    PlanForm,
    ResumeForm,
)
from invoicing.models import CouponRedemption, Invoice, Subscription, SubscriptionChange
from invoicing.phases import Standing
from invoicing.selectors import items_of, plan_version_at
from invoicing.selectors.changes import phase_of
from invoicing.services.changes import change_subscription, undo_change
from metering.models import Customer

_KINDS = {"plan": "info", "trial": "wait", "pause": "wait", "resume": "good", "cancel": "bad"}


def _is_going_on(subscription: Subscription) -> bool:
    return subscription.ends_at is None


def _sells_seats(subscription: Subscription) -> bool:
    at = now()
    is_over = subscription.ends_at is not None and subscription.ends_at <= at
    return not is_over and bool(items_of(plan_version_at(subscription, at), "seat"))


def _is_active(subscription: Subscription) -> bool:
    return _stands(subscription, Standing.ACTIVE)


def _is_paused(subscription: Subscription) -> bool:
    return _stands(subscription, Standing.PAUSED)


def _stands(subscription: Subscription, standing: Standing) -> bool:
    at = now()
    is_over = subscription.ends_at is not None and subscription.ends_at <= at
    return not is_over and phase_of(subscription, at).standing == standing


def _is_to_come(change: SubscriptionChange) -> bool:
    return change.undone_at is None and change.effective_at > now()


class ChangeInline(ReadOnlyInline):
    """What was changed, the newest first."""

    model = SubscriptionChange
    fields = (
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        "begins",
        "reason",
        link("created_by", "by"),
        "undone_at",
    )
    list_select_related = ("plan_version__plan", "created_by")
    ordering = ("-effective_at", "-id")
    verbose_name_plural = "changes"
    tab = False

    @admin.display(description="Effective at")
    def begins(self, change: SubscriptionChange) -> str:
        """Link to the change: there one that is to come can be undone."""
        return object_link(change, moment_text(change.effective_at))


class RedemptionInline(ReadOnlyInline):
    """Coupons that lower what it claims."""

    model = CouponRedemption
    fields = (link("coupon"), "from_at", "redeemed_at", link("redeemed_by", "by"))
    list_select_related = ("coupon", "redeemed_by")
    verbose_name_plural = "coupons"
    tab = False


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Who bought what from when."""

    list_display = (
        "__str__",
        link("customer"),
        link("plan_version", "sold as"),
        moment("start_at"),
        moment("ends_at"),
        link("created_by"),
    )
    list_filter = (
        ("customer", AutocompleteSelectFilter),
        ("ends_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("customer", "plan_version__plan", "created_by")
    search_fields = ("=id", "customer__external_id", "customer__name", "plan_version__plan__code")
    search_help_text = "Id, customer or plan"
    fields = (
        link("customer"),
        link("plan_version", "sold as"),
        "plan_now",
        "standing",
        "start_at",
        "ends_at",
        link("created_by"),
        "created_at",
    )
    inlines = (ChangeInline, RedemptionInline)
    actions_detail = ("change_plan", "change_seats", "redeem", "pause", "resume", "cancel")

    @admin.display(description="Plan now")
    def plan_now(self, subscription: Subscription) -> str:
        """Link to the terms that hold, which a change may have made others than were sold."""
        return object_link(plan_version_at(subscription, now()))

    @admin.display(description="Standing now")
    def standing(self, subscription: Subscription) -> str:
        """Say whether it is active, in trial, paused or over."""
        at = now()
        if subscription.ends_at is not None and subscription.ends_at <= at:
            return badge_html("over", "bad")
        found = phase_of(subscription, at).standing
        return badge_html(found.value, "good" if found is Standing.ACTIVE else "wait")

    @form_action(
        "Change plan",
        permission="invoicing.manage_subscription",
        form=PlanForm,
        icon="upgrade",
        offered=_is_going_on,
        explanation="What was charged ahead for the days after is given back, the rest of the"
        " period is charged under the new plan, both by the day. Granted credits stay.",
    )
    def change_plan(self, by: User, subscription: Subscription, form: PlanForm) -> str:
        """Upgrade or downgrade."""
        return _made(by, subscription, form)

    @form_action(
        "Change seats",
        permission="invoicing.manage_subscription",
        form=SeatsForm,
        icon="event_seat",
        offered=_sells_seats,
        explanation="Seats that are added are charged for the days that are left of the period, at"
        " once; what removed ones leave unused is credited.",
    )
    def change_seats(self, by: User, subscription: Subscription, form: SeatsForm) -> str:
        """Add seats, or remove some."""
        change = form.change(by)
        return f"{change.seats:+d} seats from {moment_text(change.effective_at)} on."

    @form_action(
        "Redeem coupon",
        permission="invoicing.manage_subscription",
        form=CouponForm,
        icon="local_offer",
        offered=_is_going_on,
        is_final=True,
        explanation="It lowers what the periods claim that begin from now on, as its terms say.",
    )
    def redeem(self, by: User, subscription: Subscription, form: CouponForm) -> str:
        """Put a coupon on the subscription."""
        redemption = form.redeem(by)
        return f"{redemption.coupon} lowers claims from {moment_text(redemption.from_at)} on."

    @form_action(
        "Pause",
        permission="invoicing.manage_subscription",
        form=PauseForm,
        icon="pause_circle",
        offered=_is_active,
        explanation="No fee and no included credits until it is resumed. Usage meanwhile is still"
        " rated and billed.",
    )
    def pause(self, by: User, subscription: Subscription, form: PauseForm) -> str:
        """Stop fee and credits."""
        return _made(by, subscription, form)

    @form_action(
        "Resume",
        permission="invoicing.manage_subscription",
        form=ResumeForm,
        icon="play_circle",
        offered=_is_paused,
        explanation="The days that are left of the period are charged and bring their credits.",
    )
    def resume(self, by: User, subscription: Subscription, form: ResumeForm) -> str:
        """Go on."""
        return _made(by, subscription, form)

    @form_action(
        "Cancel",
        permission="invoicing.manage_subscription",
        form=CancelForm,
        icon="cancel",
        offered=_is_going_on,
        takes_away=True,
        explanation="At the period's end it can be undone until then; at once it is final.",
    )
    def cancel(self, by: User, subscription: Subscription, form: CancelForm) -> str:
        """End it."""
        return _made(by, subscription, form)


@admin.register(SubscriptionChange)
class SubscriptionChangeAdmin(ReadOnlyAdmin):
    """Changes of plan and standing, and ends: what holds from when."""

    list_display = (
        "__str__",
        link("subscription.customer", "customer"),
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        moment("effective_at"),
        link("created_by", "by"),
        moment("undone_at"),
    )
    list_filter = ("kind", ("undone_at", admin.EmptyFieldListFilter))
    list_select_related = ("subscription__customer", "plan_version__plan", "created_by")
    search_fields = ("=subscription__id", "subscription__customer__external_id", "source_key")
    search_help_text = "Subscription's id, customer or idempotency key"
    fields = (
        link("subscription"),
        badge("kind", _KINDS),
        link("plan_version", "to plan"),
        "effective_at",
        "credits_unused",
        "reason",
        (link("created_by", "by"), "created_at"),
        ("undone_at", link("undone_by"), "undo_reason"),
        "source_key",
    )
    actions_detail = ("undo",)

    @form_action(
        "Undo",
        permission="invoicing.manage_subscription",
        icon="undo",
        offered=_is_to_come,
        explanation="The change does not take effect; the running period keeps its end.",
    )
    def undo(self, by: User, change: SubscriptionChange, form: ReasonForm) -> str:
        """Take back what is scheduled."""
        undo_change(change=change, reason=form.cleaned_data["reason"], by=by, at=now())
        return f"Undone: {change}."


def _made(by: User, subscription: Subscription, form: ChangeForm) -> str:
    change = change_subscription(subscription=subscription, asked=form.asked(), by=by, at=now())
    return f"{str(change).capitalize()}, from {moment_text(change.effective_at)} on."


offer_list(Customer, Subscription, lambda c: {"customer__id__exact": c.pk}, icon="autorenew")
offer_list(Subscription, Invoice, lambda s: {"subscription__id__exact": s.pk}, icon="receipt")
