"""Make versions of what drafts say: content of any shape in; a proposal or a fault's field out.

Each kind calls the service that proposes it directly, so that a draft can say nothing else. What
the system counts (a number, the version at which a customer stays) is taken anew.
"""

from collections.abc import Mapping
from datetime import datetime

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    text_in,
    texts_in,
    whole_in,
    whole_or_none_in,
    yes_or_no_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import User
from credits.models import RateCard, RateCardVersion
from credits.selectors.governing import BURN_ORDER
from credits.services.overrides import MIGRATION, propose_rate_migration, propose_rate_override
from credits.services.policies import propose_credit_policy
from credits.services.rates import propose_rate_card_version, rates_of_content
from credits.services.terms import TermsInput, propose_grant_terms
from metering.models import Customer
from metering.selectors.customers import customer_named

_RATES = [
    {"meter_code": "input_tokens", "dimensions": {"model": "small"}, "unit_price": "0.0005"},
    {
        "meter_code": "output_tokens", "dimensions": {}, "model": "graduated", "included": "1000",
        "terms": {"tiers": [{"up_to": "1000000", "unit_price": "0.002"}, {"unit_price": "0.001"}]},
    },
]  # fmt: skip


@materialise("rate_card", {"rate_card": "standard", "rates": _RATES, "stays": []})
def rate_card_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of a rate card."""
    stays = content.get("stays", [])
    if not isinstance(stays, list) or not all(isinstance(row, Mapping) for row in stays):
        raise Invalid("who stays is a list of customers", field="stays")
    propose_rate_card_version(
        rate_card=_card(content, "rate_card"), rates=rates_of_content(content), proposal=proposal,
        by=by, at=at, stays=[_customer(row, "customer", "stays") for row in stays],
    )  # fmt: skip


@materialise("rate_override", {"customer": "cust-01", "base": "standard", "rates": _RATES})
def rate_override_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a customer's own rates."""
    propose_rate_override(
        customer=_customer(content, "customer", "customer"), base=_card(content, "base"),
        rates=rates_of_content(content), proposal=proposal, by=by, at=at,
    )  # fmt: skip


@materialise(
    MIGRATION, {"rate_card": "standard", "version": None, "customers": ["cust-01", "cust-02"]}
)
def rate_migration_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose that customers move to a version of a rate card."""
    card = _card(content, "rate_card")
    customers = [
        _customer({"customer": name}, "customer", "customers")
        for name in texts_in(content, "customers")
    ]
    propose_rate_migration(
        rate_card=card, customers=customers, version=_version(card, content), proposal=proposal,
        by=by, at=at,
    )  # fmt: skip


@materialise("credit_policy", {"code": BURN_ORDER, "burn_order": ["priority", "expiry", "created"]})
def credit_policy_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a burn order."""
    if content.get("code", BURN_ORDER) != BURN_ORDER:
        raise Invalid(f"the one credit policy is {BURN_ORDER}", field="code")
    order = texts_in(content, "burn_order")
    propose_credit_policy(burn_order=order, proposal=proposal, by=by, at=at)


@materialise(
    "grant_terms",
    {
        "code": "monthly", "category": "included", "priority": 10, "life_days": 31,
        "is_pooled": True, "meter_codes": [], "rollover": "fraction", "rollover_value": "0.5",
        "return_days": 7, "refund_rule": "unused",
    },
)  # fmt: skip
def grant_terms_of_draft(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    """Propose a version of the terms of grants."""
    said = TermsInput(
        category=text_in(content, "category"),
        priority=whole_in(content, "priority", TermsInput.priority),
        life_days=whole_or_none_in(content, "life_days"),
        is_pooled=yes_or_no_in(content, "is_pooled"),
        meter_codes=texts_in(content, "meter_codes"),
        rollover=text_in(content, "rollover", TermsInput.rollover),
        rollover_value=decimal_or_none_in(content, "rollover_value"),
        return_days=whole_or_none_in(content, "return_days"),
        refund_rule=text_in(content, "refund_rule", TermsInput.refund_rule),
    )
    propose_grant_terms(code=text_in(content, "code"), terms=said, proposal=proposal, by=by, at=at)


def _card(content: Content, name: str) -> RateCard:
    code = text_in(content, name)
    card = RateCard.objects.select_related("pricing_unit").filter(code=code).first()
    if card is None:
        raise Invalid(f"no rate card has the code {code}", field=name)
    return card


def _version(card: RateCard, content: Content) -> RateCardVersion | None:
    number = whole_or_none_in(content, "version")
    if number is None:
        return None
    versions = card.versions.select_related("policy_change", "rate_card")
    version = versions.filter(number=number).first()
    if version is None:
        raise Invalid(f"{card} has no version {number}", field="version")
    return version


def _customer(content: Content, name: str, field: str) -> Customer:
    try:
        return customer_named(text_in(content, name))
    except NotFound as error:
        raise Invalid(str(error), field=field) from error
