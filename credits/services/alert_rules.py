"""Propose rules that raise alerts, and raise what they find: once for each crossing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing_project.kernel.apart import each_apart
from billing_project.kernel.approvals import Proposal, propose_version
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User
from billing_project.kernel.quantity import NotAQuantity, parse_quantity, plain
from billing_project.kernel.sessions import wait_for
from billing_project.kernel.versions import next_number
from credits.models import OF_WAITING, Alert, AlertRule, PricingUnit, RuleWindow, Watched
from credits.selectors.alert_contents import content_of_rule
from credits.selectors.alert_measures import Measure, measures, rules_in_force
from credits.services.alerting import end_alerts, raise_alerts
from metering.models import Customer, Meter

_SUMS = frozenset({"sum", "count", "time_weighted_sum"})  # What adds up over hours.
_MOST_DAYS = 7  # A forecast is sure for no longer than it looks back.
# What a rule says of a window is over with it; all else is a state that goes on.
_WINDOWED = (Watched.SPEND, Watched.USAGE)


@dataclass(frozen=True)
class RuleTerms:
    """What a rule watches, and when it speaks; see `AlertRule`."""

    watched: Watched
    threshold: Decimal
    owner: User
    customer: Customer | None = None
    unit: PricingUnit | None = None
    meter: Meter | None = None
    window: RuleWindow = RuleWindow.NONE
    floor: Decimal | None = None
    is_by_customer: bool = False


@transaction.atomic
def propose_alert_rule(
    *, code: str, terms: RuleTerms, proposal: Proposal, by: User, at: datetime
) -> AlertRule:
    """Write a version of a rule that raises alerts; it governs once somebody else approved it.

    Raises:
        Invalid: a value is out of its bounds, or does not belong to what is watched.
    """
    _check(code, terms)
    wait_for(f"alert_rule:{code}")
    rule = AlertRule(
        code=code,
        number=next_number(AlertRule.objects.filter(code=code)),
        watched=terms.watched,
        customer=terms.customer,
        pricing_unit=terms.unit,
        meter=terms.meter,
        window=terms.window,
        threshold=terms.threshold,
        floor=terms.floor,
        is_by_customer=terms.is_by_customer,
        owner=terms.owner,
    )
    return propose_version(
        rule,
        kind="alert_rule",
        subject=f"alert_rule:{code}:{rule.number}",
        content=content_of_rule(rule),
        proposal=proposal,
        by=by,
        at=at,
    )


def watch_rules(*, at: datetime) -> int:
    """Raise what each rule in force finds, and end what is over; return how many are new."""
    rules = rules_in_force(at)
    end_alerts(Alert.objects.exclude(rule=None).exclude(rule__in=rules), at)
    return each_apart(rules, lambda rule: watch_rule(rule=rule, at=at), step="alert_rules")


@transaction.atomic
def watch_rule(*, rule: AlertRule, at: datetime) -> int:
    """Raise an alert for each customer who crossed a rule's threshold since the last look.

    Two looks at once raise the same keys, and each key once.
    """
    found = measures(rule, at)
    if rule.watched in _WINDOWED:
        return raise_alerts([_alert(rule, one, _window_key(one), at) for one in found])
    earlier = Alert.objects.filter(rule=rule)
    going_on = set(earlier.filter(ended_at=None).values_list("customer_id", flat=True))
    past = {one.customer_id for one in found}
    over = earlier.filter(ended_at=None)
    end_alerts(over.exclude(pk__in=[a.pk for a in over if a.customer_id in past]), at)
    times = _times(rule, past - going_on)
    new = [one for one in found if one.customer_id not in going_on]
    return raise_alerts([_alert(rule, one, str(times[one.customer_id]), at) for one in new])


def _times(rule: AlertRule, customer_ids: Iterable[int | None]) -> Counter[int | None]:
    """Count how often a rule spoke of each customer before."""
    wanted = set(customer_ids)
    if not wanted:
        return Counter()
    said = Alert.objects.filter(rule=rule).values_list("customer_id", flat=True)
    return Counter(pk for pk in said if pk in wanted)


def _window_key(one: Measure) -> str:
    assert one.since is not None, "of a window"
    return one.since.isoformat()


def _alert(rule: AlertRule, one: Measure, key: str, at: datetime) -> Alert:
    facts = {
        "rule": str(rule),
        "watched": rule.watched,
        "value": plain(one.value),
        "threshold": plain(rule.threshold),
        **({"unit": _unit(rule)} if _unit(rule) else {}),
        **({"window": rule.window, "since": _window_key(one)} if one.since else {}),
        **one.facts,
    }
    return Alert(
        customer_id=one.customer_id,
        kind=rule.watched,
        title=_title(rule, one)[:200],
        facts=facts,
        raised_at=at,
        rule=rule,
        owner=rule.owner,
        source_key=f"rule:{rule.pk}:{one.customer_id or 'all'}:{key}",
    )


def _unit(rule: AlertRule) -> str:
    if rule.pricing_unit is not None:
        return rule.pricing_unit.code
    return rule.meter.unit if rule.meter is not None else ""


def _title(rule: AlertRule, one: Measure) -> str:
    value, threshold = plain(one.value), plain(rule.threshold)
    unit, window = _unit(rule), rule.window
    return {
        Watched.BALANCE: f"{value} {unit} left, below {threshold}",
        Watched.SPEND: f"{value} {unit} spent this {window}, {threshold} or more",
        Watched.USAGE: f"{value} {unit}s used this {window}, {threshold} or more",
        Watched.FORECAST: f"Credits ({unit}) run out in {value} days at this pace",
        Watched.CHANGE: f"{value} % more {unit} spent in a {window} than before",
        Watched.UNRATED: f"{value} {f'{unit}s' if unit else 'usage windows'} wait for a rate",
        Watched.QUARANTINED: f"{value} events{_or_more(one)} wait in quarantine",
        Watched.LAG: f"Usage is counted {value} seconds late",
    }[Watched(rule.watched)]


def _or_more(one: Measure) -> str:
    """All that waits is counted as far as the threshold only; a customer's to the last event."""
    return " or more" if one.customer_id is None else ""


def _check(code: str, terms: RuleTerms) -> None:
    if not 1 <= len(code.strip()) <= 64:
        raise Invalid("a rule has a code of 1 to 64 characters", field="code")
    for name in ("threshold", "floor"):
        _check_number(name, getattr(terms, name))
    if not terms.threshold:
        raise Invalid("a threshold is more than 0", field="threshold")
    if terms.watched == Watched.FORECAST and terms.threshold > _MOST_DAYS:
        raise Invalid(f"a forecast is sure for {_MOST_DAYS} days at most", field="threshold")
    if terms.owner.is_service or not terms.owner.is_active:
        raise Invalid("a person who works here looks after alerts", field="owner")
    _check_parts(terms)


def _check_parts(terms: RuleTerms) -> None:
    """Refuse what does not belong to what is watched, and miss nothing that does."""
    watched = terms.watched
    of_meter = watched == Watched.USAGE or (watched == Watched.UNRATED and terms.meter is not None)
    is_of_credits = watched not in (*OF_WAITING, Watched.USAGE)
    wanted = {
        "pricing_unit": (terms.unit is not None, is_of_credits),
        "meter": (terms.meter is not None, of_meter),
        "window": (bool(terms.window), watched in (*_WINDOWED, Watched.CHANGE)),
        "floor": (terms.floor is not None, watched == Watched.CHANGE),
    }
    for name, (is_there, is_wanted) in wanted.items():
        if is_there != is_wanted:
            words = "needs" if is_wanted else "has no"
            raise Invalid(f"a rule on {watched} {words} {name.replace('_', ' ')}", field=name)
    if terms.is_by_customer and watched not in OF_WAITING:
        raise Invalid(f"a rule on {watched} is of each customer anyway", field="by_customer")
    if terms.is_by_customer and terms.customer is not None:
        raise Invalid("a rule is of one customer or of each, not both", field="by_customer")
    if watched == Watched.CHANGE and terms.window == RuleWindow.MONTH:
        raise Invalid("a change is looked at by hour or day", field="window")
    if terms.meter is not None and terms.meter.aggregation not in _SUMS:
        raise Invalid(f"{terms.meter.code} does not add up over hours", field="meter")


def _check_number(name: str, value: Decimal | None) -> None:
    try:
        if value is not None:
            parse_quantity(value)
    except NotAQuantity as error:
        raise Invalid(f"{name}: {error}", field=name) from error
