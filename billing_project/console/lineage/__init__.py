"""Lineage: the path from raw events to the general ledger, walked both ways.

`start_of` turns a name into facts, `trace` returns every fact before and after them;
`trace_month` pages through what a month of the books holds.
"""

from billing_project.console.lineage.graph import Edge, Lineage, Node, NodeType, Ref
from billing_project.console.lineage.months import Month, trace_month
from billing_project.console.lineage.nodes import MOST_EXPLAINED
from billing_project.console.lineage.reports import EventReport, report_event
from billing_project.console.lineage.starts import KINDS, Start, start_of
from billing_project.console.lineage.state import EventState
from billing_project.console.lineage.walk import DEFAULT_LIMIT, MAX_LIMIT, trace

__all__ = [
    "DEFAULT_LIMIT",
    "KINDS",
    "MAX_LIMIT",
    "MOST_EXPLAINED",
    "Edge",
    "EventReport",
    "EventState",
    "Lineage",
    "Month",
    "Node",
    "NodeType",
    "Ref",
    "Start",
    "report_event",
    "start_of",
    "trace",
    "trace_month",
]
