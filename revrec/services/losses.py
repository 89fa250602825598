"""Propose how much of open invoices is expected to be lost."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.content import Content, refuse_missing, text_in
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.money import is_currency
from billing_project.kernel.quantity import plain
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from revrec.models import LossEstimate
from revrec.selectors.losses import LOSS, content_of_loss
from revrec.selectors.tables.customers import BUCKETS


@transaction.atomic
def propose_losses(
    *, currency: str, rates: Mapping[str, Decimal], evidence: str, proposal: Proposal, by: User,
    at: datetime,
) -> LossEstimate:  # fmt: skip
    """Write a version of expected credit losses; closes follow it once finance approved it.

    Args:
        rates: Shares that will not be paid, 0 to 1, by bucket of the receivable ageing.

    Raises:
        Invalid: no such currency or bucket, a share out of bounds, no evidence; with its field.
    """
    if not is_currency(currency):
        raise Invalid(f"{currency} is no currency", field="currency")
    if not evidence.strip():
        raise Invalid("an estimate needs its evidence", field="evidence")
    if unknown := sorted(set(rates) - set(BUCKETS)):
        raise Invalid(f"{unknown[0]} is none of {', '.join(BUCKETS)}", field="rates")
    for bucket, rate in rates.items():
        if not (rate.is_finite() and 0 <= rate <= 1):
            raise Invalid(f"the share of {bucket} is 0 to 1", field="rates")
    wait_for(f"{LOSS}:{currency}")
    estimate = LossEstimate(
        currency=currency, number=next_number(LossEstimate.objects.filter(currency=currency)),
        rates={bucket: plain(rates[bucket]) for bucket in BUCKETS if rates.get(bucket)},
        evidence=evidence,
    )  # fmt: skip
    return propose_version(
        estimate,
        kind=LOSS,
        subject=f"{LOSS}:{currency}:{estimate.number}",
        content=content_of_loss(estimate),
        proposal=proposal,
        by=by,
        at=at,
    )


@materialise(
    LOSS,
    {
        "currency": "USD", "evidence": "What was lost of the last eight quarters.",
        "rates": {
            "not_due": "0.002", "1_to_30": "0.01", "31_to_60": "0.05", "61_to_90": "0.2",
            "over_90": "0.5",
        },
    },
)  # fmt: skip
def _from_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "currency", "rates", "evidence")
    rates = content["rates"]
    if not isinstance(rates, Mapping):
        raise Invalid("rates are shares by bucket", field="rates")
    try:
        shares = {str(bucket): Decimal(text_in(rates, bucket)) for bucket in rates}
    except ArithmeticError as error:
        raise Invalid("a share is a number", field="rates") from error
    propose_losses(
        currency=text_in(content, "currency"), rates=shares, evidence=text_in(content, "evidence"),
        proposal=proposal, by=by, at=at,
    )  # fmt: skip
