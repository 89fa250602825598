"""What the event of a report costs us: nothing while it waits, or once it was cancelled."""

from typing import cast

from billing_project.console.lineage import EventReport, EventState
from credits.selectors.event_costs import EventCost, event_cost
from credits.selectors.supplier_costs import cost_currency
from metering.aggregation import Value

_UNCOUNTED = (EventState.QUARANTINED, EventState.CANCELLED)


def cost_of_report(report: EventReport) -> EventCost:
    """Cost an event as it counts now: amended, or as it was sent."""
    if report.state in _UNCOUNTED:
        return EventCost(cost_currency(), ())
    properties = {name: cast(Value, value) for name, value in report.properties.items()}
    return event_cost(report.event_name, properties, report.timestamp)
