"""An odd hour of the real traffic, what was done about it, and the week that a person signed."""

from datetime import datetime, timedelta
from decimal import Decimal

from billing_project.console.demo.errors import DemoRefused
from billing_project.console.demo.setting import Setting
from billing_project.kernel.period import DAY, HOUR, Period, midnight
from credits.anomalies import WHOLE, Finding
from credits.anomaly_series import examine_all
from credits.models import Anomaly, Feedback
from credits.selectors.hourly import series_from_facts
from credits.services.anomalies import detect_anomalies, say_what_it_was
from credits.services.authorizing import authorize
from credits.services.checkpoints import prepare_checkpoint, sign_checkpoint
from credits.services.evidence import make_evidence
from credits.services.incidents import Scope, act_on_incident, open_incident, resolve_incident
from credits.services.standing import Request
from invoicing.selectors.credit_price import credit_price_at
from metering.models import Customer

_SPIKING, _RUNAWAY = "cust-06", "cust-12"
_LEAST_HOURS = 26
_TRIES, _ASKED = 3, Decimal(40_000)  # Of a job that asks first: more than anybody has.


def look_after_odd_hours(setting: Setting, at: datetime) -> None:
    """Find the first odd hours of one customer, settle them, and sign the week that they lie in."""
    finding = _first_finding(setting)
    seen_at = finding.start + 2 * HOUR + timedelta(minutes=15)
    _run_away(seen_at)
    detect_anomalies(price_of=credit_price_at, at=seen_at)
    anomaly = Anomaly.objects.get(customer__external_id=_SPIKING)
    _settle(setting, anomaly, seen_at, at)
    monday = seen_at.date() - seen_at.weekday() * DAY
    after = midnight(monday + 7 * DAY)
    if after > at:
        return  # The week goes on.
    week = prepare_checkpoint(
        start_on=monday, price_of=credit_price_at, by=setting.cast.product, at=after
    )
    sign_checkpoint(
        checkpoint=week, note="The runaway job asked first and was refused; its owner knows",
        by=setting.cast.product, at=after + 9 * HOUR,
    )  # fmt: skip


def _first_finding(setting: Setting) -> Finding:
    """Look through the hours of the customer as the worker does."""
    customer = Customer.objects.get(external_id=_SPIKING)
    span = Period(setting.period.start, setting.period.end)
    series = series_from_facts(customer.pk, span)
    for back in reversed(range(len(series[WHOLE]) - _LEAST_HOURS)):
        until = {key: hours[: len(hours) - back] for key, hours in series.items()}
        for finding in examine_all(until, Decimal(1)):
            return finding
    raise DemoRefused("the traffic of the demo has no odd hour")


def _run_away(at: datetime) -> None:
    """Let a job ask again and again for more than its customer has: nothing of it is spent."""
    for number in range(_TRIES):
        answer = authorize(
            customer=Customer.objects.get(external_id=_RUNAWAY), api_key=None,
            request=Request(job="nightly-sync", request="batch-7", credits=_ASKED),
            at=at + number * timedelta(minutes=1),
        )  # fmt: skip
        if answer.decision.is_allowed:
            raise DemoRefused("a job that asks for more than there is was let begin")


def _settle(setting: Setting, anomaly: Anomaly, seen_at: datetime, at: datetime) -> None:
    cast = setting.cast
    incident = open_incident(
        title="One call with a prompt forty times as long as usual",
        scope=Scope(anomaly.customer, anomaly.start_at, anomaly.end_at), owner=cast.support,
        key=f"demo-incident-{anomaly.pk}", by=cast.support, at=seen_at, anomaly=anomaly,
    )  # fmt: skip
    act_on_incident(
        incident=incident, what="Asked the customer: a whole archive was pasted into a prompt",
        by=cast.support, at=seen_at + HOUR, is_contained=True,
    )  # fmt: skip
    say_what_it_was(
        anomaly=anomaly, feedback=Feedback.REAL, note="Not meant by the customer",
        by=cast.product, at=seen_at + HOUR,
    )  # fmt: skip
    resolve_incident(
        incident=incident, resolution="The customer cuts prompts now; usage stays charged",
        by=cast.support, at=seen_at + 2 * HOUR,
    )  # fmt: skip
    make_evidence(incident=incident, by=cast.support, at=at)
