"""Propose which exemptions the notes to the statements use."""

from datetime import datetime

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in, yes_or_no_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.disclosures import Exemptions, Framework
from revrec.models import DisclosurePolicy
from revrec.selectors.disclosures import DISCLOSURE, content_of_disclosure


@transaction.atomic
def propose_disclosure(
    *, exemptions: Exemptions, proposal: Proposal, by: User, at: datetime
) -> DisclosurePolicy:
    """Write a version; months that end while it is in force follow it once finance approved it.

    Raises:
        Invalid: an exemption that the framework does not have.
    """
    if exemptions.usage and exemptions.framework is not Framework.US_GAAP:
        raise Invalid("only US GAAP leaves usage yet to come out", field="exempts_usage")
    wait_for(DISCLOSURE)
    policy = DisclosurePolicy(
        number=next_number(DisclosurePolicy.objects.all()),
        framework=exemptions.framework.value, exempts_short=exemptions.short,
        exempts_as_invoiced=exemptions.as_invoiced, exempts_usage=exemptions.usage,
    )  # fmt: skip
    return propose_version(
        policy,
        kind=DISCLOSURE,
        subject=f"{DISCLOSURE}:{policy.number}",
        content=content_of_disclosure(policy),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise(
    DISCLOSURE,
    {
        "framework": "us_gaap", "exempts_short": True, "exempts_as_invoiced": True,
        "exempts_usage": True,
    },
)  # fmt: skip
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "framework", "exempts_short", "exempts_as_invoiced", "exempts_usage")
    framework = text_in(content, "framework")
    if framework not in list(Framework):
        raise Invalid(f"the framework is one of {', '.join(Framework)}", field="framework")
    exemptions = Exemptions(
        Framework(framework), yes_or_no_in(content, "exempts_short"),
        yes_or_no_in(content, "exempts_as_invoiced"), yes_or_no_in(content, "exempts_usage"),
    )  # fmt: skip
    propose_disclosure(exemptions=exemptions, proposal=proposal, by=by, at=at)
