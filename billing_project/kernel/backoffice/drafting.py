"""Forms of drafts of policy changes: words, and content as it is stored; submitting shows first."""

import json
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.html import format_html, format_html_join
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_project.kernel import drafts
from billing_project.kernel.approvals import Proposal
from billing_project.kernel.backoffice.display import object_link
from billing_project.kernel.backoffice.forms import ActionForm, ChosenField, PreviewedForm
from billing_project.kernel.backoffice.policies import difference_html, preview_html
from billing_project.kernel.clock import now
from billing_project.kernel.effects import Effect, effect_in
from billing_project.kernel.kinds import kind_of
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.period import HOUR, hour_of

_WORDS = (
    "title", "product_requirement", "engineering_note", "reason_code", "effective_at",
    "expires_at",
)  # fmt: skip


class ContentForm(ActionForm):
    """The base: words, dates and content; submitting judges whether it is a version."""

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

    def __init__(self, *args: Any, subject: Model | None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["effective_at"].initial = hour_of(now()) + HOUR + timedelta(days=1)

    def clean_content(self) -> dict[str, Any]:
        """Read the content; numbers stay as they were written."""
        try:
            content = json.loads(self.cleaned_data["content"], parse_float=str)
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValidationError("A version's content is named values.")
        return content

    def proposal(self) -> Proposal:
        """Return the words of the draft."""
        return Proposal(**{name: self.cleaned_data[name] for name in _WORDS})

    def told(self, change: PolicyChange) -> str:
        """Say what became of the form."""
        link = object_link(change, change.title)
        return format_html("Kept as a draft: {}. Nobody decides on it yet.", link)


class DraftForm(ContentForm):
    """A draft as it stands."""

    subject: PolicyChange

    def __init__(self, *args: Any, subject: PolicyChange, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        for name in _WORDS:
            self.fields[name].initial = getattr(subject, name)
        self.fields["content"].initial = _text_of(json.loads(subject.content))

    def facts(self) -> list[tuple[str, Any]]:
        """List what kind of version it is a draft of."""
        return [
            ("Kind", kind_of(self.subject.kind).label),
            ("Draft of", str(self.subject.proposed_by)),
        ]

    def save(self, *, by: User, at: datetime) -> PolicyChange:
        """Keep what was said."""
        return drafts.edit_draft(
            change=self.subject, content=self.cleaned_data["content"], by=by, at=at,
            proposal=self.proposal(),
        )  # fmt: skip


class NextDraftForm(ContentForm):
    """A draft of the version after an approved one; it begins with what that says."""

    subject: PolicyChange

    def __init__(self, *args: Any, subject: PolicyChange, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        content = json.loads(subject.content)
        content.pop("number", None)
        self.fields["content"].initial = _text_of(content)

    def facts(self) -> list[tuple[str, Any]]:
        """List the version that it would follow."""
        return [
            ("Kind", kind_of(self.subject.kind).label),
            ("Begins with", object_link(self.subject, self.subject.subject)),
        ]

    def save(self, *, by: User, at: datetime) -> PolicyChange:
        """Keep the draft."""
        return drafts.draft(
            kind=self.subject.kind, content=self.cleaned_data["content"],
            proposal=self.proposal(), by=by, at=at,
        )  # fmt: skip


class NewDraftForm(ContentForm):
    """A draft of any kind, from nothing."""

    from_address = ("kind", "content")
    kind = ChosenField(choices=())

    def __init__(self, *args: Any, subject: None, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        kinds = sorted((kind_of(code).label, code) for code in drafts.draftable())
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            ("", "Choose"), *((code, label) for label, code in kinds),
        ]  # fmt: skip
        self.order_fields(["kind"])
        if kind := self.initial.get("kind"):
            self.fields["content"].initial = _text_of(drafts.example_of(kind))
        self.fields["content"].help_text = format_html(
            "Named values as JSON. What each kind says, as examples: {}",
            format_html_join(
                "",
                '<details class="bo-example"><summary>{}</summary><pre>{}</pre></details>',
                ((label, _text_of(drafts.example_of(code))) for label, code in kinds),
            ),
        )

    def save(self, *, by: User, at: datetime) -> PolicyChange:
        """Keep the draft."""
        said = self.cleaned_data
        return drafts.draft(
            kind=said["kind"], content=said["content"], proposal=self.proposal(), by=by, at=at
        )


class SubmitForm(PreviewedForm):
    """What approvers would read, before the draft is theirs."""

    subject: PolicyChange
    before_template = "backoffice/proposal_effect.html"
    preview_words = (
        "This is a preview: nothing is submitted yet. Tick “This is what I propose” to hand it to"
        " its approvers."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["confirmed"].label = "This is what I propose"
        self.effect: Effect | None = None
        self.difference = ""

    def attempt(self) -> None:
        """Submit it for show, as its author; keep its difference and its effect."""
        draft = PolicyChange.objects.get(pk=self.subject.pk)
        tried = drafts.submit(change=draft, by=draft.proposed_by, at=now())
        self.difference = difference_html(tried)
        self.effect = effect_in(tried.effect)[0] if tried.effect else None

    def sealed(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Confirm the content that was shown."""
        return {**super().sealed(cleaned), "content": self.subject.content_sha256}

    def effect_html(self) -> str:
        """Write what the change would have made of each customer's last period."""
        return preview_html(self.effect) if self.effect else ""

    def facts(self) -> list[tuple[str, Any]]:
        """List what is submitted."""
        return [
            ("Draft", self.subject.title),
            ("Kind", kind_of(self.subject.kind).label),
            ("Approved by", " and ".join(self.subject.needs)),
        ]


def _text_of(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
