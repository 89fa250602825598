"""Lineage over HTTP: one event with its state, and the graph from any fact of the chain."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.api.explanations import STEP, explanation_of
from billing_project.api.trace_month import MONTH, month_texts
from billing_project.console.explaining import explain
from billing_project.console.lineage import (
    DEFAULT_LIMIT,
    KINDS,
    MAX_LIMIT,
    MOST_EXPLAINED,
    Edge,
    EventReport,
    Lineage,
    Node,
    report_event,
    start_of,
    trace,
    trace_month,
)
from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import ChainStep, StepFunction
from billing_project.kernel.ownership import Owner, Owners, owners_known
from billing_project.kernel.quantity import plain
from billing_project.kernel.rest.fields import UtcDateTimeField
from billing_project.kernel.rest.pages import Page
from billing_project.kernel.rest.views import ApiView
from metering.models import MeterEventAdjustment

_TEXT = {"type": "string"}
_EDGE = {
    "type": "object",
    "required": ["from", "to", "label"],
    "properties": {"from": _TEXT, "to": _TEXT, "label": _TEXT},
}
_NODE_TEXTS = ("id", "type", "label", "amount", "unit", "step", "policy_version", "why")
_INSTANT = {"type": "string", "format": "date-time"}
_OWNER = {
    "type": "object",
    "required": ["function", "person", "since_at"],
    "properties": {
        "function": {**_TEXT, "enum": StepFunction.values},
        "person": {**_TEXT, "type": ["string", "null"], "description": "Null: nobody is named."},
        "since_at": {**_INSTANT, "type": ["string", "null"]},
    },
}
_NODE = {
    "type": "object",
    "required": [*_NODE_TEXTS, "at", "owners"],
    "properties": {
        **dict.fromkeys(_NODE_TEXTS, _TEXT),
        "step": {**_TEXT, "enum": ChainStep.values},
        "why": {
            **_TEXT,
            "description": f"Why a drawdown took its grant and not another, and by which version of"
            f" the burn order; of the first {MOST_EXPLAINED} of a trace. Any other says it at"
            " /v1/ledger_transactions/{id}. Empty for other facts.",
        },
        "at": _INSTANT,
        "owners": {
            "type": "array",
            "items": _OWNER,
            "description": "Who answered for the step at `at`, one for each function.",
        },
    },
}
_LINEAGE: dict[str, Any] = {
    "type": "object",
    "required": ["nodes", "edges", "truncated"],
    "properties": {
        "nodes": {"type": "array", "items": _NODE},
        "edges": {"type": "array", "items": _EDGE},
        "truncated": {"type": "boolean", "description": "A kind had more facts than the limit."},
    },
}
_TRACE = {**_LINEAGE, "properties": {**_LINEAGE["properties"], "month": MONTH}}
_instant = UtcDateTimeField().to_representation
_PROPERTIES = {"type": "object", "additionalProperties": True}
_ADJUSTMENT_TEXTS = ("type", "reason", "actor")
_ADJUSTMENT = {
    "type": "object",
    "required": [*_ADJUSTMENT_TEXTS, "at", "properties"],
    "properties": {
        **dict.fromkeys(_ADJUSTMENT_TEXTS, _TEXT),
        "at": {"type": "string", "format": "date-time"},
        "properties": {
            **_PROPERTIES,
            "type": ["object", "null"],
            "description": "What an amendment put in place; null for a cancellation.",
        },
    },
}
_EVENT_TEXTS = ("customer", "workspace", "event_name", "identifier", "state", "reason")
_EVENT = {
    "type": "object",
    "required": [
        *(*_EVENT_TEXTS, "timestamp", "received_at"),
        *("properties", "original_properties", "adjustments", "lineage"),
        *("summary", "explanation"),
    ],
    "properties": {
        **dict.fromkeys(_EVENT_TEXTS, _TEXT),
        "reason": {
            **_TEXT,
            "description": "Why it is quarantined, was adjusted, or has no price yet.",
        },
        "timestamp": {"type": "string", "format": "date-time"},
        "received_at": {"type": "string", "format": "date-time"},
        "properties": {**_PROPERTIES, "description": "What governs: amended, or as sent."},
        "original_properties": {**_PROPERTIES, "description": "As sent."},
        "adjustments": {
            "type": "array",
            "items": _ADJUSTMENT,
            "description": "The oldest first; the last one governs.",
        },
        "lineage": _LINEAGE,
        "summary": {**_TEXT, "description": "Whether it is billed and why, in one sentence."},
        "explanation": {"type": "array", "items": STEP},
    },
}


class TraceQuery(serializers.Serializer[Any]):
    """Where a trace starts; exactly one of the names."""

    event = serializers.CharField(required=False, max_length=300)
    usage_window = serializers.CharField(required=False, max_length=20)
    rated_usage = serializers.CharField(required=False, max_length=20)
    credit_grant = serializers.CharField(required=False, max_length=20)
    ledger_transaction = serializers.CharField(required=False, max_length=20)
    invoice = serializers.CharField(required=False, max_length=40)
    invoice_line = serializers.CharField(required=False, max_length=60)
    credit_note = serializers.CharField(required=False, max_length=40)
    outcome = serializers.CharField(required=False, max_length=20)
    payment = serializers.CharField(required=False, max_length=20)
    refund = serializers.CharField(required=False, max_length=20)
    revenue_schedule = serializers.CharField(required=False, max_length=20)
    journal_entry = serializers.CharField(required=False, max_length=24)
    period = serializers.CharField(
        required=False, max_length=7, help_text="a month of the books: 2026-11"
    )


class MonthQuery(TraceQuery):
    """Which of a month's entries are shown."""

    kind = serializers.CharField(
        required=False, max_length=40, help_text="with a period: entries of this kind alone"
    )


class TraceView(ApiView):
    """The whole lineage graph of one fact, both ways."""

    scopes = {"GET": "usage:read"}

    @extend_schema(
        operation_id="trace",
        parameters=[
            MonthQuery,
            OpenApiParameter("limit", int, description=f"Facts of a kind, 1 to {MAX_LIMIT}."),
            OpenApiParameter("cursor", str, description="With a period: which page of its entries"),
        ],
        responses={200: _TRACE},
        tags=["lineage"],
    )
    def get(self, request: Request) -> Response:
        """Answer nodes and edges from raw events to the general ledger.

        A month of the books comes of all its entries: they are given by the page, by kind, then by
        id, with what all of them come to; each leads on with `journal_entry=`.
        """
        names = self.valid_query(MonthQuery)
        kind_of_entry, limit = names.pop("kind", ""), _limit(request)
        if len(names) != 1:
            raise Invalid(f"a trace starts at exactly one of {', '.join(KINDS)}")
        ((kind, name),) = names.items()
        if kind == "period":
            return Response(_month(request, name, kind_of_entry, limit))
        if kind_of_entry or "cursor" in request.query_params:
            raise Invalid("kind and cursor choose among the entries of a period")
        return Response(_lineage(trace(start_of(kind, name), limit=limit)))


class EventView(ApiView):
    """One event: what became of it, and why."""

    scopes = {"GET": "usage:read"}

    @extend_schema(operation_id="event", responses={200: _EVENT}, tags=["lineage"])
    def get(self, request: Request, customer: str, identifier: str) -> Response:
        """Answer the event, the furthest state it reached, and its lineage."""
        report = report_event(customer, identifier)
        told = explain(report.customer, report.identifier, clock.now())
        explained = explanation_of(told)
        named = {name: explained[name] for name in ("summary", "explanation")}
        return Response({**_event(report), **named})


def _month(request: Request, name: str, kind: str, limit: int) -> dict[str, object]:
    after_id = Page.of(request).before_id
    month = trace_month(name, kind=kind, after_id=after_id, limit=limit)
    return {**_lineage(month.lineage), "month": month_texts(month)}


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT))
    if not is_number or not 1 <= int(text) <= MAX_LIMIT:
        raise Invalid(f"limit is 1 to {MAX_LIMIT}")
    return int(text)


def _lineage(lineage: Lineage) -> dict[str, object]:
    owners = owners_known()
    return {
        "nodes": [_node(node, owners) for node in lineage.nodes],
        "edges": [_edge(edge) for edge in lineage.edges],
        "truncated": lineage.is_truncated,
    }


def _node(node: Node, owners: Owners) -> dict[str, object]:
    return {
        "id": str(node.ref),
        "type": node.ref.type,
        "label": node.label,
        "amount": f"{node.amount:f}" if node.is_money else plain(node.amount),
        "unit": node.unit,
        "step": node.step,
        "owners": [_owner(one) for one in owners.of(node.step, node.at)],
        "policy_version": node.policy_version,
        "why": node.why,
        "at": _instant(node.at),
    }


def _owner(one: Owner) -> dict[str, object]:
    since = _instant(one.since_at) if one.since_at else None
    return {"function": one.function, "person": one.person, "since_at": since}


def _edge(edge: Edge) -> dict[str, str]:
    return {"from": str(edge.source), "to": str(edge.target), "label": edge.label}


def _adjustment(adjustment: MeterEventAdjustment) -> dict[str, object]:
    return {
        "type": adjustment.type,
        "reason": adjustment.reason,
        "actor": str(adjustment.created_by),
        "at": _instant(adjustment.created_at),
        "properties": adjustment.properties,
    }


def _event(report: EventReport) -> dict[str, object]:
    write = _instant
    return {
        "customer": report.customer,
        "workspace": report.workspace,
        "event_name": report.event_name,
        "identifier": report.identifier,
        "timestamp": write(report.timestamp),
        "received_at": write(report.received_at),
        "properties": report.properties,
        "original_properties": report.original_properties,
        "adjustments": [_adjustment(one) for one in report.adjustments],
        "state": report.state,
        "reason": report.reason,
        "lineage": _lineage(report.lineage),
    }
