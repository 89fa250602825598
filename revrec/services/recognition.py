"""Propose how fees become revenue, what losses are, and when statements show what is not paid."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import TextChoices

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.models import BadDebt, DisputeLoss, Granularity, Presentation, RecognitionPolicy
from revrec.selectors.recognition import RECOGNITION, content_of_recognition

_CHOICES: dict[str, type[TextChoices]] = {
    "granularity": Granularity,
    "presentation": Presentation,
    "dispute_loss": DisputeLoss,
    "bad_debt": BadDebt,
}


@dataclass(frozen=True)
class Recognition:
    """What a version says: one value of each switch."""

    granularity: Granularity = Granularity.DAY
    presentation: Presentation = Presentation.FINALISE
    dispute_loss: DisputeLoss = DisputeLoss.BY_REASON
    bad_debt: BadDebt = BadDebt.EXPENSE


@transaction.atomic
def propose_recognition(
    *, says: Recognition, proposal: Proposal, by: User, at: datetime
) -> RecognitionPolicy:
    """Write a version; what comes to be in its time follows it once finance approved it.

    What was issued, lost or given up before keeps what it had.
    """
    wait_for(RECOGNITION)
    policy = RecognitionPolicy(
        number=next_number(RecognitionPolicy.objects.all()),
        **{name: getattr(says, name).value for name in _CHOICES},
    )
    return propose_version(
        policy,
        kind=RECOGNITION,
        subject=f"{RECOGNITION}:{policy.number}",
        content=content_of_recognition(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise(
    RECOGNITION,
    {
        "granularity": "month", "presentation": "due", "dispute_loss": "impairment",
        "bad_debt": "concession",
    },
)  # fmt: skip
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose what a draft says; a switch of losses that it leaves out stays at its first value."""
    refuse_missing(content, "granularity", "presentation")
    said = {name: _choice(content, name) for name in _CHOICES if name in content}
    propose_recognition(says=Recognition(**said), proposal=proposal, by=by, at=at)  # type: ignore[arg-type]


def _choice(content: Content, name: str) -> TextChoices:
    value, known = text_in(content, name), _CHOICES[name]
    if value not in known.values:
        words = name.replace("_", " ")
        raise Invalid(f"the {words} is one of {', '.join(known.values)}", field=name)
    return known(value)
