"""Propose how fees become revenue over time, and when statements show what is not due yet."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.models import Granularity, Presentation, RecognitionPolicy
from revrec.selectors.recognition import RECOGNITION, content_of_recognition


@transaction.atomic
def propose_recognition(
    *, granularity: Granularity, presentation: Presentation, proposal: Proposal, by: User,
    at: datetime,
) -> RecognitionPolicy:  # fmt: skip
    """Write a version; what is issued, and months that end, once finance approved it follow it.

    What was issued before keeps its plan.
    """
    wait_for(RECOGNITION)
    policy = RecognitionPolicy(
        number=next_number(RecognitionPolicy.objects.all()),
        granularity=granularity.value, presentation=presentation.value,
    )  # fmt: skip
    return propose_version(
        policy,
        kind=RECOGNITION,
        subject=f"{RECOGNITION}:{policy.number}",
        content=content_of_recognition(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise(RECOGNITION, {"granularity": "month", "presentation": "due"})
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "granularity", "presentation")
    said = {}
    for name, known in (("granularity", Granularity.values), ("presentation", Presentation.values)):
        said[name] = text_in(content, name)
        if said[name] not in known:
            raise Invalid(f"the {name} is one of {', '.join(known)}", field=name)
    propose_recognition(
        granularity=Granularity(said["granularity"]),
        presentation=Presentation(said["presentation"]), proposal=proposal, by=by, at=at,
    )  # fmt: skip
