"""Drafts of estimates: what a person wrote, read as a version and refused at the field at fault."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from billing_project.kernel.approvals import Proposal
from billing_project.kernel.content import (
    Content,
    decimal_or_none_in,
    minor_in,
    refuse_missing,
    text_in,
    texts_in,
    yes_or_no_in,
)
from billing_project.kernel.drafts import materialise
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from metering.models import Customer
from revrec.breakage import Method
from revrec.selectors.estimates import BREAKAGE, VARIABLE
from revrec.services.estimates import (
    BreakageTerms,
    VariableTerms,
    propose_breakage,
    propose_variable,
)
from revrec.variable import EstimateMethod, Outcome

_MOST_OUTCOMES = 100
_LARGEST = Decimal(10) ** 15


@materialise(
    BREAKAGE,
    {
        "code": "commitments-2026", "currency": "USD", "sold_from": "2026-01-01",
        "sold_until": "2027-01-01", "method": "proportional", "rate": "0.1",
        "of_commitments": True, "refundable_terms": [],
        "evidence": "What expired of the commitments of the last eight quarters.",
    },
)  # fmt: skip
def _breakage(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(content, "code", "currency", "sold_from", "method", "evidence")
    method = text_in(content, "method")
    if method not in list(Method):
        raise Invalid(f"the method is one of {', '.join(Method)}", field="method")
    terms = BreakageTerms(
        code=text_in(content, "code"), currency=text_in(content, "currency"),
        sold_from=_day(content, "sold_from"),
        sold_until=_day(content, "sold_until") if content.get("sold_until") else None,
        method=Method(method), rate=decimal_or_none_in(content, "rate") or Decimal(0),
        evidence=text_in(content, "evidence"),
        refundable_terms=tuple(texts_in(content, "refundable_terms")),
        of_commitments=yes_or_no_in(content, "of_commitments", default=False),
    )  # fmt: skip
    propose_breakage(terms=terms, proposal=proposal, by=by, at=at)


@materialise(
    VARIABLE,
    {
        "code": "cust-01-rebate-2026", "customer": "cust-01", "currency": "USD",
        "revenue_account": "4000", "method": "expected_value",
        "outcomes": [
            {"amount": "31", "probability": "0.2"}, {"amount": "25", "probability": "0.8"},
        ],
        "confidence": "0.8", "billed_minor": 3100,
        "evidence": "The rebate of the contract, by what the last four quarters used.",
    },
)  # fmt: skip
def _variable(content: Content, proposal: Proposal, by: User, at: datetime) -> None:
    refuse_missing(
        content, "code", "currency", "revenue_account", "method", "outcomes", "confidence",
        "billed_minor", "evidence",
    )  # fmt: skip
    method = text_in(content, "method")
    if method not in list(EstimateMethod):
        raise Invalid(f"the method is one of {', '.join(EstimateMethod)}", field="method")
    terms = VariableTerms(
        code=text_in(content, "code"), customer=_customer(content),
        currency=text_in(content, "currency"), revenue_account=text_in(content, "revenue_account"),
        method=EstimateMethod(method), outcomes=_outcomes(content.get("outcomes")),
        confidence=_number(content, "confidence"), billed_minor=minor_in(content, "billed_minor"),
        evidence=text_in(content, "evidence"),
    )  # fmt: skip
    propose_variable(terms=terms, proposal=proposal, by=by, at=at)


def _customer(content: Content) -> Customer | None:
    if content.get("customer") is None:
        return None
    found = Customer.objects.filter(external_id=text_in(content, "customer")).first()
    if found is None:
        raise Invalid(f"there is no customer {content['customer']}", field="customer")
    return found


def _outcomes(rows: object) -> list[Outcome]:
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_OUTCOMES:
        raise Invalid(f"there are 1 to {_MOST_OUTCOMES} outcomes", field="outcomes")
    found = []
    for row in rows:
        if not isinstance(row, Mapping) or set(row) != {"amount", "probability"}:
            raise Invalid("an outcome has its amount and its probability", field="outcomes")
        try:
            amount = decimal_or_none_in(row, "amount")
            probability = decimal_or_none_in(row, "probability")
        except Invalid as error:
            raise Invalid(error.message, field="outcomes") from error
        if amount is None or probability is None or not 0 <= amount < _LARGEST:
            raise Invalid("an amount is 0 or more, and has a probability", field="outcomes")
        found.append(Outcome(amount, probability))
    return found


def _number(content: Content, name: str) -> Decimal:
    found = decimal_or_none_in(content, name)
    if found is None:
        raise Invalid(f"it does not say its {name}", field=name)
    return found


def _day(content: Content, name: str) -> date:
    try:
        return date.fromisoformat(text_in(content, name))
    except ValueError as error:
        raise Invalid(f"{name.replace('_', ' ')} is a day (2026-01-31)", field=name) from error
