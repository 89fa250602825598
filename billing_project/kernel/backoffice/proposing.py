"""The base of forms that propose a version of a rule: its words, and its effect first."""

import json
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Model
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing_project.kernel import drafts
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.display import object_link
from billing_project.kernel.backoffice.forms import PreviewedForm
from billing_project.kernel.backoffice.policies import difference_html, preview_html
from billing_project.kernel.clock import now
from billing_project.kernel.effects import Effect, simulate
from billing_project.kernel.models import PolicyChange, PolicyStatus, User
from billing_project.kernel.period import HOUR, hour_of
from billing_project.kernel.users import worker_user

_LAST = ("as_draft", "confirmed")


class ProposalForm(PreviewedForm):
    """The words of a proposal, and a preview that is confirmed; subclasses say what is proposed."""

    before_template = "backoffice/proposal_effect.html"
    effect_note = ""  # What the simulation leaves out.
    shows_difference = False  # Beside the effect; where nothing is simulated it always stands.
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
    as_draft = forms.BooleanField(
        label="Keep it as a draft", required=False, widget=UnfoldBooleanWidget,
        help_text="Nobody decides on a draft; you edit, submit or withdraw it later.",
    )  # fmt: skip
    unsealed = PreviewedForm.unsealed | {"as_draft"}
    effect: Effect | None = None
    difference = ""
    tried: PolicyChange | None = None  # What the trial proposed; its row is taken back.

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["effective_at"].initial = hour_of(now()) + HOUR + timedelta(days=1)
        self.order_fields([*(n for n in self.fields if n not in _LAST), *_LAST])
        confirmed = self.fields["confirmed"]
        confirmed.label = "This is what I propose"
        confirmed.help_text = "Send the form once to see its effect, then confirm it."

    def propose(self, *, by: User, at: datetime) -> PolicyChange:
        """Call the one service of this form."""
        raise NotImplementedError

    def attempt(self) -> None:
        """Try the proposal and keep its effect, and what it changes where that is short."""
        self.tried = self.propose(by=worker_user(), at=now())
        self.effect = simulate(self.tried)
        if self.effect is None or self.shows_difference:
            self.difference = difference_html(self.tried)

    def is_valid(self) -> bool:
        """Be valid once confirmed, or at once for a draft."""
        is_draft = not self.errors and bool(self.cleaned_data.get("as_draft"))
        return super().is_valid() or (self.is_bound and is_draft)

    def finish(self, *, by: User, at: datetime) -> PolicyChange:
        """Propose the version, or keep it as a draft; the same draft is kept once."""
        if not self.cleaned_data["as_draft"]:
            return self.propose(by=by, at=at)
        assert self.tried is not None, "a valid form was tried"
        content = json.loads(self.tried.content)
        content.pop("number", None)
        return drafts.draft(
            kind=self.tried.kind, content=content, proposal=drafts.words_of(self.tried), by=by,
            at=at,
        )  # fmt: skip

    def proposed(self, model: type[Model], *, by: User, at: datetime) -> tuple[Model, str]:
        """Finish; return the version, or the draft of it, and what became of the form."""
        change = self.finish(by=by, at=at)
        version = model._default_manager.filter(policy_change=change).first()
        return version or change, self.told(change)

    def told(self, change: PolicyChange) -> str:
        """Say what became of the form."""
        if change.status == PolicyStatus.DRAFT:
            link = object_link(change, change.title)
            return format_html("Kept as a draft: {}. Nobody decides on it yet.", link)
        link = object_link(change, change.subject)
        return format_html("Proposed {}: it waits for finance.", link)

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
