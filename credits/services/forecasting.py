"""Warn before credits run out: of balances, and of limits that count rated usage."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from billing_project.kernel.period import HOUR, Period
from billing_project.kernel.quantity import plain
from credits.forecast import Pace, is_said_again, runs_out_before
from credits.models import Alert, AlertKind, LimitWindow
from credits.selectors.paces import DAY, DAYS, BalancePace, balance_paces
from credits.selectors.spending import LimitUse, is_asked, rated_in_parts
from credits.services.alerting import raise_alerts
from metering.models import Customer

# In which parts, and in how many of them, the pace of a limit is looked at; an hour is over before
# anybody reads of it.
_BACK = {LimitWindow.MONTH: (DAY, DAYS), LimitWindow.DAY: (HOUR, 6)}
_WARNED = 80  # Per cent of a limit from which on its marks have said that it goes fast.


def forecast_balances(*, at: datetime) -> int:
    """Warn of balances that run out before their billing period ends; return how many new ones.

    It is said once in a period, and again once the balance was filled to twice what was left then.
    """
    found = []
    for one in balance_paces(at):
        out_at = runs_out_before(one.pace, one.ends_at)
        if out_at is None:
            continue
        said = _said_of(one)
        if said and not is_said_again(Decimal(said[-1].facts["left"]), one.pace.left):
            continue
        found.append(
            _alert(
                one.pace, out_at, customer_id=one.customer_id,
                title=f"Credits ({one.unit}) run out on {out_at:%Y-%m-%d} at this pace",
                facts={"unit": one.unit, "period_ends_at": _text(one.ends_at)},
                source_key=f"{_key(one)}said{len(said)}",
            )
        )  # fmt: skip
    return raise_alerts(found)


def forecast_limits(customer: Customer, uses: Iterable[LimitUse], at: datetime) -> int:
    """Warn of limits that are reached before their window ends; once in a window.

    From 80 per cent on nothing is added to the alerts that each mark of a limit raises.
    """
    found = []
    for use in uses:
        back = _BACK.get(LimitWindow(use.limit.window))
        if back is None or use.window is None or is_asked(use.limit):
            continue
        if use.state.spent * 100 >= use.state.ceiling * _WARNED:
            continue
        length, count = back
        span = Period(at - count * length, at)
        pace = Pace(span, rated_in_parts(use.limit, span, count), use.state.left)
        out_at = runs_out_before(pace, use.window.end)
        if out_at is None:
            continue
        found.append(
            _alert(
                pace, out_at, customer_id=customer.pk,
                title=f"{use.limit.code} is reached on {out_at:%Y-%m-%d %H:%M} UTC at this pace",
                facts=use.document(),
                source_key=f"forecast:limit:{use.limit.pk}:{use.window.start.isoformat()}",
            )
        )  # fmt: skip
    return raise_alerts(found)


def _key(one: BalancePace) -> str:
    return f"forecast:balance:{one.period_id}:{one.unit}:"


def _said_of(one: BalancePace) -> list[Alert]:
    """Return what was said of a balance in its period, the newest last."""
    return list(Alert.objects.filter(source_key__startswith=_key(one)).order_by("pk"))


def _alert(
    pace: Pace, out_at: datetime, *, customer_id: int, title: str, facts: dict[str, str | None],
    source_key: str,
) -> Alert:  # fmt: skip
    return Alert(
        customer_id=customer_id,
        kind=AlertKind.FORECAST,
        title=title,
        facts={
            **facts,
            "left": plain(pace.left),
            "used": plain(pace.used),
            "used_since": _text(pace.span.start),
            "runs_out_at": _text(out_at),
        },
        raised_at=pace.span.end,
        source_key=source_key,
    )


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
