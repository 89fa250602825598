"""What a back office has of rules that stop an overspend: two of each, none of them approved."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.kernel.approvals import Proposal
from credits.models import LimitMode, LimitWindow, Watched
from credits.services.alert_rules import RuleTerms, propose_alert_rule
from credits.services.controls import (
    ControlTerms,
    LimitTerms,
    propose_controls,
    propose_spend_limit,
    request_exception,
)
from metering.models import Customer
from tests.invoicing.builders import Shop


def limit_spending(shop: Shop, wish: Proposal, model: str, at: datetime) -> None:
    """Propose for each customer a limit, rules of work and of alerts, and an exception."""
    until = replace(wish, expires_at=at + timedelta(days=9))
    for customer in Customer.objects.order_by("pk"):
        limit = LimitTerms(customer, LimitWindow.DAY, LimitMode.HARD, shop.unit, Decimal(5))
        propose_spend_limit(
            code=customer.external_id, terms=limit, proposal=wish, by=shop.maker, at=at
        )
        rules = ControlTerms(customer, premium_models=[model], instead={model: model})
        propose_controls(terms=rules, proposal=wish, by=shop.maker, at=at)
        request_exception(customer=customer, model=model, proposal=until, by=shop.maker, at=at)
        low = RuleTerms(
            Watched.BALANCE, Decimal(5), shop.approver, customer=customer, unit=shop.unit
        )
        propose_alert_rule(
            code=customer.external_id, terms=low, proposal=wish, by=shop.maker, at=at
        )
