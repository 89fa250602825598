"""The form that edits a draft of a policy change: its words, and its content as it is stored."""

import json
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel import drafts
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.forms import ActionForm
from billing_project.kernel.kinds import kind_of
from billing_project.kernel.models import PolicyChange, User


class DraftForm(ActionForm):
    """A draft's words, dates and content; submitting judges whether it is a version."""

    subject: PolicyChange
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    product_requirement = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))
    engineering_note = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))
    reason_code = forms.CharField(max_length=40, widget=UnfoldAdminTextInputWidget)
    effective_at = forms.SplitDateTimeField(
        label="Takes effect (UTC)", widget=UnfoldAdminSplitDateTimeWidget
    )
    expires_at = forms.SplitDateTimeField(
        label="Ends (UTC)", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    content = forms.CharField(
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 18, "spellcheck": "false", "class": "bo-sheet"}
        ),
        help_text="Named values as JSON; its number is taken when it is submitted.",
    )

    def __init__(self, *args: Any, subject: PolicyChange, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        for name in _WORDS:
            self.fields[name].initial = getattr(subject, name)
        content = json.loads(subject.content)
        text = json.dumps(content, indent=2, ensure_ascii=False)
        self.fields["content"].initial = text

    def clean_content(self) -> dict[str, Any]:
        """Read the content; numbers stay as they were written."""
        try:
            content = json.loads(self.cleaned_data["content"], parse_float=str)
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValidationError("A version's content is named values.")
        return content

    def facts(self) -> list[tuple[str, Any]]:
        """List what kind of version it is a draft of."""
        return [
            ("Kind", kind_of(self.subject.kind).label),
            ("Draft of", str(self.subject.proposed_by)),
        ]

    def save(self, *, by: User, at: datetime) -> PolicyChange:
        """Keep what was said."""
        said = self.cleaned_data
        return drafts.edit_draft(
            change=self.subject, content=said["content"], by=by, at=at,
            proposal=Proposal(**{name: said[name] for name in _WORDS}),
        )  # fmt: skip


_WORDS = (
    "title", "product_requirement", "engineering_note", "reason_code", "effective_at",
    "expires_at",
)  # fmt: skip
