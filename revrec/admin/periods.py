"""Months of the books: what is missing for a close, who proposes it, and who closes."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.template.loader import render_to_string
from unfold.widgets import UnfoldAdminSelectWidget

from billing_project.kernel.backoffice.actions import form_action
from billing_project.kernel.backoffice.base import ReadOnlyAdmin
from billing_project.kernel.backoffice.display import (
    EMPTY,
    badge,
    link,
    moment,
    money_text,
    object_link,
)
from billing_project.kernel.backoffice.forms import ReasonForm
from billing_project.kernel.clock import now
from billing_project.kernel.models import User
from revrec.admin.seals import heads_of, verdict_of
from revrec.models import AccountingPeriod, CloseException, PeriodStatus
from revrec.selectors.closing import Item, close_checklist, owners_of
from revrec.selectors.reports import deferred_rollforward, trial_balance
from revrec.selectors.seals import seal_of
from revrec.selectors.zone import end_of
from revrec.services.periods import close_period, propose_close, sign_exception
from revrec.services.sealing import seal_period

_STATUSES = {"open": "wait", "soft": "info", "closed": "good"}


class CloseForm(ReasonForm):
    """What is signed with a month's close, and why."""

    subject: AccountingPeriod
    before_template = "backoffice/trial_balance.html"

    def facts(self) -> list[tuple[str, Any]]:
        """List the month's bounds."""
        period = self.subject
        return [("Month", str(period)), ("From", period.start_on), ("To, exclusive", period.end_on)]

    def rows(self) -> list[dict[str, str]]:
        """List the trial balance as it stands; what is still due is recognised before the close."""
        return _balance_rows(self.subject)


def why_not_close(user: User, period: AccountingPeriod) -> str:
    """Say why who proposed a close cannot make it, or return ""."""
    if period.soft_closed_by_id == user.pk:
        return "You proposed this close: somebody else closes the month."
    return ""


class ExceptionForm(ReasonForm):
    """Which finding is signed for, and why it does not keep the month open."""

    subject: AccountingPeriod
    item = forms.ChoiceField(label="Finding", widget=UnfoldAdminSelectWidget)
    field_order = ("item", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = close_checklist(self.subject, now())
        self.fields["item"].choices = [  # type: ignore[attr-defined]
            (item.code, f"{item.title}: {item.says}")
            for item in found
            if not item.is_met and item.step is not None
        ]


@admin.register(AccountingPeriod)
class AccountingPeriodAdmin(ReadOnlyAdmin):
    """Months of the books; once closed, nothing is dated inside one."""

    list_display = (
        "__str__",
        "start_on",
        "end_on",
        badge("status", _STATUSES),
        moment("closed_at"),
        link("closed_by"),
    )
    list_filter = ("status",)
    list_select_related = ("closed_by",)
    ordering = ("-start_on",)
    fieldsets = (
        (None, {"fields": (("start_on", "end_on"), badge("status", _STATUSES))}),
        ("Checklist", {"fields": ("checks",)}),
        (
            "Close",
            {
                "fields": (
                    ("soft_closed_at", link("soft_closed_by", "proposed by")),
                    ("closed_at", link("closed_by")),
                    "trial_balance_sha256",
                )
            },
        ),
        ("Seal of the journal", {"fields": ("seal_page", "seal_head", "seal_verdict")}),
        ("Trial balance", {"fields": ("balance",)}),
        ("Deferred revenue", {"fields": ("deferred",)}),
    )
    actions_detail = ("propose", "sign", "close", "seal")

    @admin.display(description="Checklist")
    def checks(self, period: AccountingPeriod) -> str:
        """Show what is missing for the close; of a closed month, what it was closed with."""
        at = now()
        if period.status == PeriodStatus.CLOSED:
            context = {"closed": period.checklist}
        else:
            context = {"items": [_checked(item, at) for item in close_checklist(period, at)]}
        return render_to_string("backoffice/checklist.html", context)

    @admin.display(description="Seal")
    def seal_page(self, period: AccountingPeriod) -> str:
        """Link to the seal that the close left."""
        seal = seal_of(period)
        return object_link(seal) if seal else "The journal is sealed when the month closes."

    @admin.display(description="Heads")
    def seal_head(self, period: AccountingPeriod) -> Any:
        """Show the last entry of each chain that the seal covers."""
        seal = seal_of(period)
        return heads_of(seal) if seal else EMPTY

    @admin.display(description="Now")
    def seal_verdict(self, period: AccountingPeriod) -> Any:
        """Say whether the signature holds and the journal still has the head."""
        seal = seal_of(period)
        return verdict_of(seal) if seal else EMPTY

    @admin.display(description="Trial balance")
    def balance(self, period: AccountingPeriod) -> str:
        """Show each account's opening, movements and closing."""
        return render_to_string("backoffice/trial_balance.html", {"rows": _balance_rows(period)})

    @admin.display(description="Roll-forward")
    def deferred(self, period: AccountingPeriod) -> str:
        """Explain how deferred revenue came from opening to closing."""
        return render_to_string("backoffice/rollforward.html", {"rows": _rollforward(period)})

    @form_action(
        "Propose close",
        permission=("revrec.propose_close", "revrec.close_accountingperiod"),
        icon="lock_clock",
        offered=lambda period: _has_ended(period, now()),
        explanation="The month goes into its soft close: what comes in is still dated inside."
        " Somebody else reads the checklist and closes it.",
    )
    def propose(self, by: User, period: AccountingPeriod, form: ReasonForm) -> str:
        """Begin the soft close."""
        propose_close(period=period, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"The close of {period} waits for somebody else"

    @form_action(
        "Sign exception",
        permission="revrec.sign_closeexception",
        form=ExceptionForm,
        icon="draw",
        offered=lambda period: period.status != PeriodStatus.CLOSED,
        explanation="Who answers for the step of a finding signs that it does not keep the month"
        " open. It covers what the checklist says now, and no more.",
    )
    def sign(self, by: User, period: AccountingPeriod, form: ExceptionForm) -> str:
        """Sign for a finding."""
        row = sign_exception(
            period=period, item=form.cleaned_data["item"], by=by, at=now(),
            reason=form.cleaned_data["reason"],
        )  # fmt: skip
        return f"Signed for: {row.says}"

    @form_action(
        "Close period",
        permission="revrec.close_accountingperiod",
        form=CloseForm,
        icon="lock",
        offered=lambda period: period.status == PeriodStatus.SOFT,
        refusal=why_not_close,
        is_final=True,
        explanation="The trial balance shown here is before the final recognition: first everything"
        " due through the month's end is recognised, then the trial balance is stored with its"
        " sha256, the journal's head is sealed, and the month is locked for good. What is learnt"
        " later is posted to the first open month.",
    )
    def close(self, by: User, period: AccountingPeriod, form: CloseForm) -> str:
        """Lock the month."""
        closed = close_period(period=period, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Closed {closed}; trial balance {closed.trial_balance_sha256[:12]}…"

    @form_action(
        "Seal journal",
        permission="revrec.close_accountingperiod",
        icon="verified_user",
        offered=lambda p: p.status == PeriodStatus.CLOSED and seal_of(p) is None,
        is_final=True,
        explanation="The month was closed without a seal. The journal is sealed as it stands now,"
        " so the seal covers entries of later months too.",
    )
    def seal(self, by: User, period: AccountingPeriod, form: ReasonForm) -> str:
        """Sign the journal's head."""
        made = seal_period(period=period, by=by, at=now(), reason=form.cleaned_data["reason"])
        return f"Sealed the journal at position {made.head_position}"


def _has_ended(period: AccountingPeriod, at: datetime) -> bool:
    """Tell whether a month is over and not closed."""
    return period.status != PeriodStatus.CLOSED and end_of(period) <= at


def _checked(item: Item, at: datetime) -> dict[str, Any]:
    """Show a line of the checklist, with who may sign for it."""
    owners = owners_of(item.step, at) if item.step and not item.is_met else []
    return {
        "title": item.title,
        "says": item.says,
        "is_met": item.is_met,
        "exception": item.exception,
        "step": item.step.label if item.step else "",
        "owners": ", ".join(map(str, owners)),
    }


def _balance_rows(period: AccountingPeriod) -> list[dict[str, str]]:
    return [
        {
            "account": f"{row.account} {row.name}",
            "opening": money_text(row.opening_minor, row.currency),
            "debit": money_text(row.debit_minor, row.currency),
            "credit": money_text(row.credit_minor, row.currency),
            "closing": money_text(row.closing_minor, row.currency),
        }
        for row in trial_balance(period.start_on, period.end_on)
    ]


def _rollforward(period: AccountingPeriod) -> list[tuple[str, str]]:
    """List the steps from opening to closing; what lowers the liability is negative."""
    rows: list[tuple[str, str]] = []
    for part in deferred_rollforward(period):
        steps = (
            ("Opening", part.opening_minor),
            ("Billings", part.billings_minor),
            ("Fees earned", -part.fees_minor),
            ("Credits used", -part.usage_minor),
            ("Breakage", -part.breakage_minor),
            ("Credit notes", -part.credit_notes_minor),
            ("Not explained", part.other_minor),
            ("Closing", part.closing_minor),
        )
        rows += [(name, money_text(minor, part.currency)) for name, minor in steps]
    return rows


@admin.register(CloseException)
class CloseExceptionAdmin(ReadOnlyAdmin):
    """What months were closed in spite of, and who signed for it."""

    list_display = (
        "__str__",
        link("period"),
        "step",
        "says",
        "reason",
        moment("signed_at"),
        link("signed_by"),
    )
    list_filter = ("period", "item")
    list_select_related = ("period", "signed_by")
    fields = (link("period"), "item", "step", "says", "reason", "signed_at", link("signed_by"))
