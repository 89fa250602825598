"""The base of forms that propose a version of a rule: its words, and its effect first."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.forms import PreviewedForm
from billing_project.kernel.backoffice.policies import preview_html
from billing_project.kernel.clock import now
from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.users import worker_user


class ProposalForm(PreviewedForm):
    """The words of a proposal, and a preview that is confirmed; subclasses say what is proposed."""

    before_template = "backoffice/proposal_effect.html"
    effect_note = ""  # What the simulation leaves out.
    preview_words = (
        "This is a preview: nothing is proposed yet. Change what you like and send again, or tick"
        " “This is what I propose” at the end to send it to finance."
    )
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    product_requirement = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What shall be better, for whom.",
    )
    engineering_note = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), initial="Rules only; no code change"
    )
    reason_code = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    effective_at = forms.SplitDateTimeField(
        label="Takes effect (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    effect: Effect | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["effective_at"].initial = hour_of(now()) + HOUR + timedelta(days=1)
        confirmed = self.fields["confirmed"]
        confirmed.label = "This is what I propose"
        confirmed.help_text = "Send the form once to see its effect, then confirm it."

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Call the one service of this form."""
        raise NotImplementedError

    def attempt(self) -> None:
        """Try the proposal and keep its effect."""
        self.effect = simulate(self.propose(by=worker_user(), at=now()))

    def effect_html(self) -> str:
        """Write what the change would have made of each customer's last period."""
        return preview_html(self.effect) if self.effect else ""

    def proposal(self, expires_at: datetime | None = None) -> Proposal:
        """Return the words of the proposal."""
        said = self.cleaned_data
        return Proposal(
            said["title"], said["product_requirement"], said["engineering_note"],
            said["reason_code"], said["effective_at"], expires_at,
        )  # fmt: skip
