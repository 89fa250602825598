"""The whole content of rules that raise alerts, from rows and back."""

from collections.abc import Callable
from typing import TypeVar

from billing_project.kernel.approvals import content_of
from billing_project.kernel.content import Content, decimal_or_none_in, text_in, yes_or_no_in
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.kinds import Kind, register_kind
from billing_project.kernel.models import PolicyChange, User
from billing_project.kernel.quantity import plain
from credits.models import AlertRule, RuleWindow, Watched
from credits.selectors.units import pricing_unit_named
from metering.selectors.customers import customer_named
from metering.selectors.meters import meter_called

Found = TypeVar("Found")

register_kind(
    Kind(
        "alert_rule",
        "Alert rule",
        consequence="From its effective date on this version raises alerts; its owner is told.",
    )
)


def content_of_rule(rule: AlertRule) -> dict[str, object]:
    """Return a version of a rule that raises alerts, numbers as plain text."""
    return {
        "code": rule.code,
        "number": rule.number,
        "watched": str(rule.watched),
        "customer": rule.customer.external_id if rule.customer else None,
        # Only where it is so: what was approved before there was a choice still reads as it did.
        **({"by_customer": True} if rule.is_by_customer else {}),
        "pricing_unit": rule.pricing_unit.code if rule.pricing_unit else None,
        "meter": rule.meter.code if rule.meter else None,
        "window": str(rule.window),
        "threshold": plain(rule.threshold),
        "floor": None if rule.floor is None else plain(rule.floor),
        "owner": rule.owner.username,
    }


def rule_in(content: Content) -> AlertRule:
    """Read a version of a rule that raises alerts.

    Raises:
        Invalid: it is none; with its field.
    """
    threshold = decimal_or_none_in(content, "threshold")
    if threshold is None:
        raise Invalid("a rule has a threshold", field="threshold")
    customer, unit, meter = (_name(content, n) for n in ("customer", "pricing_unit", "meter"))
    return AlertRule(
        code=text_in(content, "code"),
        watched=_one_of(content, "watched", Watched.values),
        customer=_found("customer", lambda: customer_named(customer)) if customer else None,
        pricing_unit=_found("pricing_unit", lambda: pricing_unit_named(unit)) if unit else None,
        meter=_found("meter", lambda: meter_called(meter)) if meter else None,
        is_by_customer=yes_or_no_in(content, "by_customer", default=False),
        window=_one_of(content, "window", RuleWindow.values),
        threshold=threshold,
        floor=decimal_or_none_in(content, "floor"),
        owner=owner_named(text_in(content, "owner")),
    )


def owner_named(username: str) -> User:
    """Return who looks after alerts.

    Raises:
        Invalid: nobody is called so.
    """
    found = User.objects.filter(username=username).first()
    if found is None:
        raise Invalid(f"nobody is called {username}", field="owner")
    return found


@content_of("alert_rule")
def _alert_rule(change: PolicyChange) -> dict[str, object]:
    rows = AlertRule.objects.select_related("customer", "pricing_unit", "meter", "owner")
    return content_of_rule(rows.get(policy_change=change))


def _name(content: Content, name: str) -> str:
    return "" if content.get(name) is None else text_in(content, name)


def _one_of(content: Content, name: str, known: list[str]) -> str:
    word = text_in(content, name, "")
    if word not in known:
        raise Invalid(f"{name} is one of {', '.join(filter(None, known))}", field=name)
    return word


def _found(name: str, find: Callable[[], Found]) -> Found:
    try:
        return find()
    except NotFound as error:
        raise Invalid(error.message, field=name) from error
