"""The lineage of a whole chain: the same facts from either end, and no others."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from billing_project.console.lineage import (
    KINDS,
    NodeType,
    Ref,
    nodes,
    report_event,
    start_of,
    trace,
)
from billing_project.console.lineage.events import events_of_windows, windows_of_events
from billing_project.console.lineage.graph import STEPS, admit
from billing_project.console.lineage.pairs import most_of
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import ChainStep
from billing_project.kernel.users import worker_user
from credits.models import LedgerTransaction
from credits.selectors.why import why_these_grants
from invoicing.models import Invoice, InvoiceLine, LineKind
from invoicing.services.overage import draft_overage_invoices
from invoicing.services.subscriptions import renew_due
from metering.events import EventInput
from metering.models import MeterEvent, UsageWindow
from metering.selectors.events import events_of_window, windows_of_event
from metering.services.adjust import amend_event
from metering.services.aggregate import aggregate_batches, carry_idle_hours
from metering.services.capture import capture_events
from revrec.models import JournalEntry
from tests.console.chain import (
    CLOSED_AT,
    USED_AT,
    Chain,
    event,
    recognise,
    run_chain,
    settle,
)
from tests.invoicing.builders import START, cancel, rate, use
from tests.metering.builders import a_customer, a_meter, an_event, send
from tests.worlds import standing

pytestmark = pytest.mark.django_db

T = NodeType
# Corrections of usage, claims that ended unpaid, outcomes and seals have tests of their own.
_NOT_OF_THIS_CHAIN = {
    T.METER_EVENT_ADJUSTMENT, T.CREDIT_NOTE_VOID, T.INVOICE_VOID, T.WRITE_OFF, T.OUTCOME,
    T.SHORT_PAYMENT, T.LEDGER_SEAL,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with standing(run_chain, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None) -> Chain:
    return deepcopy(made)


def types(*start: Ref) -> set[NodeType]:
    return {node.ref.type for node in trace(start).nodes}


def test_a_level_leads_to_every_window_that_it_goes_on_in(at: datetime) -> None:
    customer = a_customer(at)
    a_meter(at, "time_weighted_sum")
    for i, seats in enumerate(("5", "2")):
        moment = at + timedelta(hours=2 * i)
        send(moment, an_event(str(i), timestamp=moment, properties={"model": "x", "tokens": seats}))
    aggregate_batches(at=at)
    carry_idle_hours(at=at + timedelta(hours=4))
    ids = dict(MeterEvent.objects.filter(customer=customer).values_list("identifier", "pk"))
    windows = list(UsageWindow.objects.order_by("start_at").values_list("pk", flat=True))

    forward = [pair.target for pair in windows_of_events([ids["0"]], 100, {})]
    back = [pair.source for pair in events_of_windows(windows[1:2] + windows[3:], 100, {})]

    assert forward[:2] == windows[:2]
    assert sorted(back) == [ids["0"], ids["1"]]


def _send_hour(at: datetime, models: list[str]) -> dict[str, int]:
    """Report one request of each model a second apart in one hour; return windows by model."""
    a_customer(at)
    for kind in ("sum", "count"):
        a_meter(at, kind)
    hour = at.replace(minute=0) - timedelta(hours=2)
    sent = [
        an_event(
            f"r-{number}",
            timestamp=hour + timedelta(seconds=number),
            properties={"model": model, "tokens": "1"},
        )
        for number, model in enumerate(models)
    ]
    send(at, *sent)
    aggregate_batches(at=at)
    sums = UsageWindow.objects.filter(meter__code="tokens_sum")
    return {str(window.dimensions["model"]): window.pk for window in sums}


def test_of_a_long_hour_the_earliest_events_are_shown_with_all_their_windows(at: datetime) -> None:
    window = _send_hour(at, ["x"] * 40)["x"]
    windows = list(UsageWindow.objects.values_list("pk", flat=True))

    pairs = events_of_windows(windows, most_of(3), {})

    first = MeterEvent.objects.order_by("timestamp").values_list("pk", flat=True)[:4]
    assert {pair[:2] for pair in pairs} == {(e, w) for e in first for w in windows}
    assert len(windows) == 2
    assert trace([Ref(T.USAGE_WINDOW, window)], limit=3).is_truncated


def test_an_event_behind_many_of_others_in_its_hour_is_found(at: datetime) -> None:
    windows = _send_hour(at, ["x"] * 40 + ["rare"] * 2)

    pairs = events_of_windows([windows["rare"]], most_of(3), {})

    rare = MeterEvent.objects.filter(properties__model="rare").values_list("pk", flat=True)
    assert sorted(pair.source for pair in pairs) == sorted(rare)


def test_what_was_amended_late_in_a_long_hour_is_found(at: datetime) -> None:
    _send_hour(at, ["x"] * 40)
    amend_event(
        customer=MeterEvent.objects.all()[0].customer, identifier="r-39", by=worker_user(), at=at,
        reason="another model", properties={"model": "rare", "tokens": "1"},
    )  # fmt: skip
    windows = {
        str(window.dimensions["model"]): window.pk
        for window in UsageWindow.objects.filter(meter__code="tokens_sum")
    }

    pairs = events_of_windows([windows["rare"]], most_of(3), {})
    every = events_of_windows([windows["x"]], most_of(100), {})

    assert [pair.source for pair in pairs] == [MeterEvent.objects.get(identifier="r-39").pk]
    assert len(every) == 40  # It was counted there, and taken back.


def test_an_event_that_a_grant_covered_leads_to_its_drawdown(chain: Chain) -> None:
    lineage = trace([event("req-1")])

    (window,) = lineage.of(T.USAGE_WINDOW)
    (rated,) = lineage.of(T.RATED_USAGE)
    (drawn,) = lineage.of(T.LEDGER_TRANSACTION)
    assert (window.amount, window.unit) == (Decimal(60), "token")
    assert (rated.amount, rated.unit, rated.policy_version) == (
        Decimal(60),
        "credit",
        "standard v1",
    )
    assert (drawn.amount, drawn.policy_version) == (Decimal(-60), "burn_order v1")
    (grant,) = lineage.of(T.CREDIT_GRANT)
    assert (grant.amount, grant.unit) == (Decimal(100), "credit")
    assert not lineage.of(T.OVERAGE)


def test_an_event_beyond_the_grants_leads_to_its_invoice_line_and_the_ledger(chain: Chain) -> None:
    lineage = trace([event("req-2")])

    (overage,) = lineage.of(T.OVERAGE)
    line = InvoiceLine.objects.get(invoice=chain.overage, kind=LineKind.OVERAGE)
    claimed = next(node for node in lineage.of(T.INVOICE_LINE) if node.ref.pk == line.pk)
    assert overage.amount == Decimal(50)
    # 50 credits x USD 0.012 = USD 0.60.
    assert (claimed.amount, claimed.unit) == (Decimal("0.60"), "USD")
    assert claimed.policy_version == "plan-acme v1"
    assert lineage.of(T.CREDIT_NOTE)
    assert lineage.of(T.JOURNAL_ENTRY)


def test_a_fee_leads_to_its_schedule_its_payment_and_the_ledger(chain: Chain) -> None:
    fee = chain.payment.invoice

    assert types(*start_of("invoice", str(fee.number))) == {
        T.INVOICE_LINE,
        T.PAYMENT,
        T.REVENUE_SCHEDULE,
        T.JOURNAL_ENTRY,
        T.ACCOUNTING_PERIOD,
    }


def test_a_note_leads_to_its_refund_and_a_balance_to_the_invoice_that_it_paid(
    chain: Chain,
) -> None:
    settle(chain)

    note = trace(start_of("credit_note", "CN-000002"))
    assert [(n.ref.type, n.amount) for n in note.of(T.CREDIT_NOTE, T.REFUND, T.REFUND_FAILURE)] == [
        (T.CREDIT_NOTE, Decimal("25.00")),
        (T.REFUND, Decimal("20.00")),
        (T.REFUND_FAILURE, Decimal("20.00")),
    ]
    described = {node.label.split(" ", 1)[1] for node in note.of(T.JOURNAL_ENTRY)}
    assert {
        "Credit note CN-000002 on invoice INV-000001",
        "Refund for credit note CN-000002",
        "Failed refund for credit note CN-000002",
    } <= described
    pack = trace(start_of("invoice", str(Invoice.objects.latest("sequence"))))
    (applied,) = pack.of(T.BALANCE_APPLICATION)
    assert (applied.amount, applied.unit) == (Decimal("25.00"), "USD")


def test_whatever_is_reached_reaches_back(chain: Chain) -> None:
    settle(chain)
    facts = {node.ref for name in ("req-1", "req-2") for node in trace([event(name)]).nodes}
    for number in (chain.payment.invoice.number, Invoice.objects.latest("sequence").number):
        facts |= {node.ref for node in trace(start_of("invoice", str(number))).nodes}
    assert {ref.type for ref in facts} == set(NodeType) - _NOT_OF_THIS_CHAIN
    # A grant explains a drawdown; it is no step between the event and the ledger.
    facts = {ref for ref in facts if ref.type != T.CREDIT_GRANT}

    lineages = {ref: {node.ref for node in trace([ref]).nodes} for ref in facts}

    for here, reached in lineages.items():
        for there in reached & facts:
            assert here in lineages[there], f"{here} reaches {there}, not back"


def test_both_ends_of_the_chain_tell_the_same(chain: Chain) -> None:
    forward = {entry.ref for entry in trace([event("req-2")]).of(T.JOURNAL_ENTRY)}

    back = {
        Ref(T.JOURNAL_ENTRY, entry.pk)
        for entry in JournalEntry.objects.all()
        if event("req-2") in {node.ref for node in trace([Ref(T.JOURNAL_ENTRY, entry.pk)]).nodes}
    }

    assert forward == back
    assert forward


def test_a_claim_and_the_revenue_for_the_same_usage_lead_to_each_other(chain: Chain) -> None:
    lineage = trace(start_of("invoice_line", f"{chain.overage.number}:1"))
    (overage,) = lineage.of(T.OVERAGE)

    (accrued,) = [edge.target for edge in lineage.edges if edge.label == "accrued"]
    claimed = trace([accrued])

    assert overage.ref in {edge.source for edge in claimed.edges}
    assert str(chain.overage.number) in str([node.label for node in claimed.of(T.INVOICE_LINE)])


def test_siblings_in_the_same_window_are_no_part_of_it(chain: Chain) -> None:
    use(chain.shop, 5, USED_AT + timedelta(minutes=1), "req-3", known_at=USED_AT)

    nodes = trace([event("req-3")]).nodes

    assert event("req-1") not in {node.ref for node in nodes}


def test_edges_join_nodes_of_the_graph_along_the_chain(chain: Chain) -> None:
    lineage = trace([event("req-2")])
    order = list(NodeType)

    nodes = {node.ref for node in lineage.nodes}
    for edge in lineage.edges:
        assert {edge.source, edge.target} <= nodes
        assert order.index(edge.source.type) < order.index(edge.target.type)
        assert edge.label


def test_every_fact_belongs_to_a_step_and_a_billed_event_passes_all(chain: Chain) -> None:
    assert {node.step for node in trace([event("req-2")]).nodes} == set(ChainStep)
    assert set(STEPS) == set(NodeType)


def test_more_facts_than_the_limit_are_cut_and_it_says_so(chain: Chain) -> None:
    for number in range(5):
        use(chain.shop, 1, USED_AT + timedelta(minutes=number), f"more-{number}", known_at=USED_AT)
    (window,) = windows_of_event(MeterEvent.objects.get(pk=event("more-0").pk))

    cut = trace([Ref(T.USAGE_WINDOW, window.pk)], limit=3)
    whole = trace([Ref(T.USAGE_WINDOW, window.pk)], limit=10)

    assert (len(cut.of(T.METER_EVENT)), cut.is_truncated) == (3, True)
    assert (len(whole.of(T.METER_EVENT)), whole.is_truncated) == (6, False)


def test_the_number_of_queries_does_not_grow_with_the_facts(
    chain: Chain, django_assert_max_num_queries: Any
) -> None:
    everything = [
        Ref(T.JOURNAL_ENTRY, pk) for pk in JournalEntry.objects.values_list("pk", flat=True)
    ]
    assert len(everything) > 5

    # 17 links each way, 9 from drawdowns and overages, 12 kinds of facts with 7 that many of them
    # share, the grants, the meters, the windows, and 3 for why the drawdowns took them.
    with django_assert_max_num_queries(68):
        trace(everything)


def test_only_the_first_drawdowns_of_a_big_trace_are_explained(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = LedgerTransaction.objects.filter(kind="drawn").order_by("pk")
    refs = [Ref(T.LEDGER_TRANSACTION, entry.pk) for entry in drawn]
    assert len(refs) > 1
    monkeypatch.setattr(nodes, "MOST_EXPLAINED", 1)

    told = {node.ref: node.why for node in trace(refs).of(T.LEDGER_TRANSACTION)}

    assert [bool(told[ref]) for ref in refs] == [True, *(False for _ in refs[1:])]


def test_drawdowns_are_explained_together_as_each_alone(chain: Chain) -> None:
    drawn = LedgerTransaction.objects.filter(kind="drawn").values_list("pk", flat=True)

    together = why_these_grants(list(drawn))

    assert len(together) > 1
    assert together == {pk: why_these_grants([pk])[pk] for pk in drawn}


def test_a_draft_is_no_claim_yet(chain: Chain) -> None:
    later = START + timedelta(days=32)
    renew_due(by=chain.shop.worker, at=later)
    use(chain.shop, 500, later, "late")
    draft_overage_invoices(by=chain.shop.worker, at=START + timedelta(days=61))

    assert T.OVERAGE in types(event("late"))
    assert T.INVOICE_LINE not in types(event("late"))


def test_the_windows_of_an_event_are_those_that_metering_names(chain: Chain) -> None:
    ids = list(MeterEvent.objects.values_list("pk", flat=True))
    windows = list(UsageWindow.objects.values_list("pk", flat=True))

    pairs = {(event_id, window) for event_id, window, *_ in windows_of_events(ids, 100, {})}

    assert pairs == {
        (stored.pk, window.pk)
        for stored in MeterEvent.objects.all()
        for window in windows_of_event(stored)
    }
    assert pairs == {
        (stored.pk, window.pk)
        for window in UsageWindow.objects.all()
        for stored in events_of_window(window)
    }
    assert pairs == {
        (event_id, window) for event_id, window, *_ in events_of_windows(windows, 100, {})
    }


def test_an_amended_event_keeps_every_window_that_it_was_counted_in(chain: Chain) -> None:
    stored = MeterEvent.objects.get(pk=event("req-1").pk)
    before = {node.ref for node in trace([event("req-1")]).of(T.USAGE_WINDOW)}

    amend_event(
        customer=stored.customer, identifier="req-1", reason="wrong model",
        properties={"model": "large", "output_tokens": "60"}, by=chain.shop.maker, at=CLOSED_AT,
    )  # fmt: skip

    after = {node.ref for node in trace([event("req-1")]).of(T.USAGE_WINDOW)}
    assert before < after
    assert {ref.pk for ref in after} == {window.pk for window in windows_of_event(stored)}


def _amend(chain: Chain, identifier: str, tokens: int, at: datetime) -> Ref:
    amended = amend_event(
        customer=chain.subscription.customer, identifier=identifier, reason="counted twice",
        properties={"model": "small", "output_tokens": str(tokens)}, by=chain.shop.maker, at=at,
    )  # fmt: skip
    rate(chain.shop, "acme", at)
    recognise(chain.shop, chain.subscription, at)
    return Ref(T.METER_EVENT_ADJUSTMENT, amended.pk)


def test_an_adjustment_stands_between_its_event_and_the_windows(chain: Chain) -> None:
    adjustment = _amend(chain, "req-2", 70, CLOSED_AT + timedelta(hours=1))

    lineage = trace([event("req-2")])

    (node,) = lineage.of(T.METER_EVENT_ADJUSTMENT)
    (window,) = lineage.of(T.USAGE_WINDOW)
    assert (node.ref, node.step) == (adjustment, ChainStep.CAPTURE)
    assert node.label == f"amend req-2 by {chain.shop.maker}: counted twice"
    assert node.at == CLOSED_AT + timedelta(hours=1)
    joined = {(edge.source, edge.target): edge.label for edge in lineage.edges}
    assert joined[event("req-2"), adjustment] == "amend"
    assert (adjustment, window.ref) in joined
    # 70 - 90 = -20 credits of overage.
    assert [rated.amount for rated in lineage.of(T.RATED_USAGE)] == [Decimal(90), Decimal(-20)]


def test_an_adjustment_leads_to_what_came_of_it_and_to_nothing_earlier(chain: Chain) -> None:
    adjustment = _amend(chain, "req-2", 70, CLOSED_AT + timedelta(hours=1))

    lineage = trace([adjustment])

    assert [rated.amount for rated in lineage.of(T.RATED_USAGE)] == [Decimal(-20)]
    assert [node.ref for node in lineage.of(T.METER_EVENT)] == [event("req-2")]
    assert lineage.of(T.JOURNAL_ENTRY)
    earlier = trace(start_of("invoice_line", f"{chain.overage.number}:1"))
    assert not earlier.of(T.METER_EVENT_ADJUSTMENT)


def test_a_cancellation_is_told_with_its_reason(chain: Chain) -> None:
    cancel(chain.shop, "req-1", CLOSED_AT)

    report = report_event("acme", "req-1")

    assert [one.type for one in report.adjustments] == ["cancel"]
    assert report.properties == report.original_properties
    assert len(report.lineage.of(T.METER_EVENT_ADJUSTMENT)) == 1


def test_what_was_rated_before_an_event_is_no_part_of_it(chain: Chain) -> None:
    late = USED_AT + timedelta(hours=3)
    use(chain.shop, 7, USED_AT + timedelta(minutes=2), "late", known_at=late)

    first = trace([event("req-1")]).of(T.RATED_USAGE)
    second = trace([event("late")]).of(T.RATED_USAGE)

    # Both fell into one window, which was rated twice: 60, then 7 more.
    assert [rated.amount for rated in first] == [Decimal(60), Decimal(7)]
    assert [rated.amount for rated in second] == [Decimal(7)]
    (before, after) = (node.ref for node in first)
    assert [node.ref for node in trace([before]).of(T.METER_EVENT)] == [event("req-1")]
    assert {node.ref for node in trace([after]).of(T.METER_EVENT)} == {
        event("req-1"), event("late"),
    }  # fmt: skip


def test_a_worker_whose_clock_was_read_a_little_early_loses_nothing(chain: Chain) -> None:
    at = USED_AT + timedelta(hours=3)
    sent = EventInput(
        event_name="llm_request", identifier="req-3", customer="acme", timestamp=at,
        properties={"model": "small", "output_tokens": "5"},
    )  # fmt: skip
    capture_events(items=[sent], sender="test", at=at)
    aggregate_batches(at=at)
    rate(chain.shop, "acme", at - timedelta(seconds=30))

    assert [rated.amount for rated in trace([event("req-3")]).of(T.RATED_USAGE)] == [Decimal(5)]


# Where a trace starts


def test_every_kind_of_start_finds_its_fact(chain: Chain) -> None:
    nodes = trace([event("req-2")]).nodes
    by_type = {node.ref.type: node.ref for node in nodes}
    names = {
        "event": "acme/req-2",
        "rated_usage": str(by_type[T.RATED_USAGE].pk),
        "ledger_transaction": str(by_type[T.LEDGER_TRANSACTION].pk),
        "invoice": str(chain.overage.number),
        "invoice_line": f"{chain.overage.number}:1",
        "credit_note": chain.note.number,
        "journal_entry": f"JE-{by_type[T.JOURNAL_ENTRY].pk}",
    }
    assert set(names) | _BY_ID.keys() == set(KINDS) - {"period"}  # Of everybody: test_lineage_month

    for kind, name in names.items():
        assert event("req-2") in {node.ref for node in trace(start_of(kind, name)).nodes}, kind


_BY_ID = {
    "usage_window": T.USAGE_WINDOW,
    "credit_grant": T.CREDIT_GRANT,
    "outcome": T.OUTCOME,
    "payment": T.PAYMENT,
    "refund": T.REFUND,
    "revenue_schedule": T.REVENUE_SCHEDULE,
}


def test_a_trace_starts_at_any_fact_of_the_chain(chain: Chain) -> None:
    settle(chain)
    entries = JournalEntry.objects.values_list("pk", flat=True)
    everything = trace([event("req-1"), *(Ref(T.JOURNAL_ENTRY, pk) for pk in entries)])
    for kind, type_ in _BY_ID.items():
        for node in everything.of(type_):
            assert node.ref in {one.ref for one in trace(start_of(kind, str(node.ref.pk))).nodes}
    assert {node.ref.type for node in everything.nodes} >= set(_BY_ID.values()) - {T.OUTCOME}


def test_an_entry_leads_to_the_month_that_it_was_posted_in(chain: Chain) -> None:
    lineage = trace([event("req-2")])

    months = lineage.of(T.ACCOUNTING_PERIOD)

    entries = JournalEntry.objects.filter(pk__in=[n.ref.pk for n in lineage.of(T.JOURNAL_ENTRY)])
    assert {node.ref.pk for node in months} == set(entries.values_list("period_id", flat=True))
    assert all(node.label.endswith(", open") for node in months)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("event", "acme/none"),
        ("event", "nobody/req-1"),
        ("ledger_transaction", "999999"),
        ("invoice", "INV-9"),
        ("invoice_line", "INV-9:1"),
        ("journal_entry", "JE-999999"),
        ("rated_usage", "999999"),
        *((kind, "999999") for kind in _BY_ID),
    ],
)
def test_a_name_that_nothing_has_is_not_found(kind: str, name: str) -> None:
    with pytest.raises(NotFound):
        start_of(kind, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("event", "acme"),
        ("event", "/x"),
        ("invoice_line", "INV-1"),
        ("invoice_line", "INV-1:x"),
        ("invoice_line", "INV-1:-1"),
        ("journal_entry", "9" * 30),
        ("journal_entry", "٣"),
        ("void", "1"),
        ("payment", "x"),
    ],
)
def test_a_name_without_the_form_of_its_kind_is_invalid(kind: str, name: str) -> None:
    with pytest.raises(Invalid):
        start_of(kind, name)


# The rule by which facts are let in

_REFS = st.sets(st.integers(1, 50).map(lambda pk: Ref(T.METER_EVENT, pk)), max_size=30)


@settings(max_examples=100, deadline=None)
@given(_REFS, _REFS, st.integers(1, 20))
def test_admission_keeps_what_is_known_and_never_passes_the_limit(
    found: set[Ref], known: set[Ref], limit: int
) -> None:
    kept, is_cut = admit(found, known, limit)

    assert known <= kept <= known | found
    assert len(kept) <= max(limit, len(known))
    assert is_cut == (kept != known | found)
