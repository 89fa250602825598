"""Usage on one invoice for each workspace: the same claim, cut; gapless, once, and whole."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from billing_project.kernel.errors import Invalid, NotAllowed
from billing_project.kernel.quantity import plain
from credits.models import RatedUsage
from invoicing import checks
from invoicing.approval import BUILT_IN
from invoicing.documents import invoice_data
from invoicing.lines import Kind, Line
from invoicing.models import (
    BillingHold,
    Invoice,
    InvoiceSplit,
    LineUsage,
    ProposedCreditNote,
    Subscription,
)
from invoicing.selectors import holds, overage_state
from invoicing.services.endings import void_and_regenerate
from invoicing.services.invoices import draft_overage_invoices, finalize_due
from invoicing.services.proposals import follow_overcharges
from invoicing.services.splitting import split_invoices
from invoicing.splitting import divided_over
from metering.events import EventInput
from metering.services.capture import capture_events
from tests.console.backoffice import action_url, client_of, send
from tests.invoicing.builders import DAY, END, START, Shop, cancel, first_period, rate, subscribed
from tests.invoicing.test_api import Api

pytestmark = pytest.mark.django_db
DUE = END + 2 * DAY


def _whole(credits_: str, minor: int) -> Line:
    return Line(Kind.OVERAGE, "x", Decimal(credits_), "credit", Decimal(1), minor)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({None: 1, 7: 2}, [(None, 1, 33), (7, 2, 67)]),  # 100 x 1/3 and x 2/3.
        ({7: 2, 9: 1}, [(7, 2, 67), (9, 1, 33)]),
        ({7: 1}, [(None, 2, 67), (7, 1, 33)]),  # 2 were credited before: the account's own.
        ({7: 4, 9: -1}, [(None, 3, 100)]),  # Corrections of one outweigh its usage.
        ({None: 3, 7: 0}, [(None, 3, 100)]),
    ],
)
def test_a_line_is_cut_by_credits(
    used: dict[int | None, int], expected: list[tuple[int | None, int, int]]
) -> None:
    shares = divided_over(_whole("3", 100), {key: Decimal(n) for key, n in used.items()})

    assert [
        (share.workspace_id, int(share.line.quantity), share.line.amount_minor) for share in shares
    ] == expected


@given(
    st.dictionaries(
        st.none() | st.integers(1, 50), st.decimals(0, 10**6, places=6), min_size=1, max_size=8
    ).filter(lambda used: any(used.values())),
    st.integers(0, 10**9),
)
def test_shares_sum_to_the_whole(used: dict[int | None, Decimal], minor: int) -> None:
    whole = _whole(str(sum(used.values())), minor)

    shares = divided_over(whole, used)

    assert sum(share.line.quantity for share in shares) == whole.quantity
    assert sum(share.line.amount_minor for share in shares) == minor
    assert all(share.line.amount_minor >= 0 for share in shares)


def _split(shop: Shop, subscription: Subscription, split_by: str = "workspace") -> None:
    split_invoices(
        customer=subscription.customer, split_by=split_by, reason="asked", by=shop.maker, at=START
    )


def _use(shop: Shop, tokens: int, workspace: str, identifier: str) -> None:
    event = EventInput(
        event_name="llm_request", identifier=identifier, customer="acme", workspace=workspace,
        timestamp=START + DAY, properties={"model": "small", "output_tokens": str(tokens)},
    )  # fmt: skip
    assert capture_events(items=[event], sender="test", at=START + DAY).accepted == 1
    rate(shop, "acme", START + DAY)


def _used(shop: Shop) -> Subscription:
    """Use 100 credits that are granted, and 30 beyond of none, 25 of workspace a, 45 of b."""
    subscription = subscribed(shop)
    for number, (tokens, workspace) in enumerate([(130, ""), (25, "a"), (45, "b")]):
        _use(shop, tokens, workspace, f"req-{number}")
    return subscription


def _issue(shop: Shop) -> list[Invoice]:
    """Draft and issue what is due, all twice; return the invoices of usage in their order."""
    for _ in range(2):
        draft_overage_invoices(by=shop.worker, at=DUE)
        finalize_due(by=shop.worker, at=DUE)
    return list(Invoice.objects.filter(lines__kind="overage").distinct().order_by("sequence"))


def _told(invoices: list[Invoice]) -> list[tuple[str, str, int]]:
    return [
        (str(one.number), one.workspace.external_id if one.workspace else "", one.total_minor)
        for one in invoices
    ]


def test_each_workspace_gets_its_invoice_in_one_run(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)

    issued = _issue(shop)

    # 100 credits at 0.012 are 1.20: 30, 25 and 45 of it. The fee was invoiced before, as ever.
    assert _told(issued) == [
        ("INV-000002", "", 36), ("INV-000003", "a", 30), ("INV-000004", "b", 54),
    ]  # fmt: skip
    state = overage_state(first_period(subscription))
    assert (plain(state.unbilled), state.unbilled_minor) == ("0", 0)
    assert LineUsage.objects.filter(kind="credits_used").count() == RatedUsage.objects.count()
    for invoice in issued:
        own = LineUsage.objects.filter(line__invoice=invoice)
        places = own.values_list("rated_usage__window__workspace", flat=True)
        assert set(places) == {invoice.workspace_id}
    assert invoice_data(issued[1])["workspace"] == "a"
    assert not list(checks.workspaces_are_invoiced_apart())


def test_without_a_wish_all_of_it_stands_on_one_invoice(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _split(shop, subscription, "nothing")

    assert _told(_issue(shop)) == [("INV-000002", "", 120)]
    assert InvoiceSplit.objects.count() == 2


def test_where_the_account_claims_nothing_the_first_workspace_begins(shop: Shop) -> None:
    subscription = subscribed(shop)
    _use(shop, 100, "", "granted")
    _use(shop, 25, "a", "req-1")
    _use(shop, 45, "b", "req-2")
    _split(shop, subscription)

    assert _told(_issue(shop)) == [("INV-000002", "a", 30), ("INV-000003", "b", 54)]
    # What was granted is stated on the first.
    assert LineUsage.objects.filter(kind="credits_used").count() == RatedUsage.objects.count()


def test_a_void_part_is_made_again_alone(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _, part, _ = _issue(shop)

    draft = void_and_regenerate(invoice=part, reason="address", by=shop.approver, at=DUE)
    finalize_due(by=shop.worker, at=draft.ready_at)

    draft.refresh_from_db()
    assert _told([draft]) == [("INV-000005", "a", 30)]
    assert draft.replaces == part
    assert overage_state(first_period(subscription)).unbilled_minor == 0


def _again(shop: Shop, *invoices: Invoice) -> list[Invoice]:
    """Void and regenerate some, issue what comes of it, and return who claims each again."""
    for invoice in invoices:
        draft = void_and_regenerate(invoice=invoice, reason="x", by=shop.approver, at=DUE)
    finalize_due(by=shop.worker, at=draft.ready_at)
    return [
        void_and_regenerate(invoice=invoice, reason="x", by=shop.approver, at=DUE)
        for invoice in invoices
    ]


def _replaced(invoices: list[Invoice]) -> list[str]:
    return [str(one.replaces) for one in invoices]


def test_parts_that_are_made_again_refer_each_to_its_own(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    own, a, b = _issue(shop)
    _use(shop, 10, "", "late")  # The account's: it would have been the draft that referred to b.

    again = _again(shop, b, a)

    assert _told(again) == [("INV-000007", "b", 54), ("INV-000006", "a", 30)]
    assert _replaced(again) == ["INV-000004", "INV-000003"]
    (late,) = Invoice.objects.filter(sequence=5)
    assert (_told([late]), late.replaces) == ([("INV-000005", "", 12)], None)
    third = _again(shop, again[0], own)
    assert _told(third) == [("INV-000009", "b", 54), ("INV-000008", "", 36)]
    assert _replaced(third) == ["INV-000007", "INV-000002"]
    assert Invoice.objects.filter(status="draft", lines__kind="overage").count() == 0
    assert overage_state(first_period(subscription)).unbilled_minor == 0
    assert not list(checks.workspaces_are_invoiced_apart())


def test_a_part_that_was_corrected_is_made_again_as_it_is_now(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _, a, b = _issue(shop)
    _use(shop, 5, "a", "more")
    cancel(shop, "req-2", DUE)  # All 45 of b.

    first_a, first_b = _again(shop, a, b)

    # Nothing of b is claimed any more: its usage, all cancelled, is on a's.
    assert _told([first_a]) == [("INV-000005", "a", 36)]
    assert (first_a.replaces, first_b) == (a, first_a)
    _use(shop, 7, "b", "again")
    (second_a,) = _again(shop, first_a)
    (second_b,) = Invoice.objects.filter(sequence=7)
    assert _told([second_a, second_b]) == [("INV-000006", "a", 36), ("INV-000007", "b", 8)]
    assert second_a.replaces == first_a
    assert overage_state(first_period(subscription)).unbilled_minor == 0
    assert not list(checks.workspaces_are_invoiced_apart())


def test_one_invoice_that_claims_several_again_is_found_for_each(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _, a, b = _issue(shop)
    _split(shop, subscription, "nothing")

    again = _again(shop, a, b)

    assert again[0] == again[1]
    assert _told(again[:1]) == [("INV-000005", "", 84)]
    assert _replaced(again[:1]) == ["INV-000003"]
    assert Invoice.objects.filter(status="draft").count() == 0


def test_later_usage_of_a_workspace_is_invoiced_to_it(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _issue(shop)
    _use(shop, 50, "b", "late")

    draft_overage_invoices(by=shop.worker, at=DUE)
    finalize_due(by=shop.worker, at=DUE + 2 * DAY)

    assert _told(list(Invoice.objects.filter(sequence=5))) == [("INV-000005", "b", 60)]


def test_corrections_of_one_workspace_leave_the_others_claims_alone(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _issue(shop)
    cancel(shop, "req-1", DUE)  # 25 of a, claimed before.
    _use(shop, 50, "b", "late")

    draft_overage_invoices(by=shop.worker, at=DUE)
    finalize_due(by=shop.worker, at=DUE + 2 * DAY)

    assert _told(list(Invoice.objects.filter(sequence=5))) == [("INV-000005", "", 30)]


def test_only_who_may_says_it_and_with_a_reason(shop: Shop) -> None:
    customer = subscribed(shop).customer

    with pytest.raises(NotAllowed):
        split_invoices(
            customer=customer, split_by="workspace", reason="x", by=shop.approver, at=START
        )
    for split_by, reason in (("week", "x"), ("workspace", " ")):
        with pytest.raises(Invalid):
            split_invoices(
                customer=customer, split_by=split_by, reason=reason, by=shop.maker, at=START
            )


@override_settings(BILLING_CLOCK=(START + 2 * DAY).isoformat())
def test_it_is_said_over_http_and_in_the_back_office_and_previewed(shop: Shop) -> None:
    customer = _used(shop).customer
    api = Api("admin", "invoices:read")
    wanted = {"split_by": "workspace", "reason": "two legal units"}

    first, again = (api.post("customers/acme/invoice_split", wanted, key) for key in "ab")

    assert first.json() == again.json() == {"split_by": "workspace"}
    assert InvoiceSplit.objects.count() == 1
    assert api.get("invoices/preview?customer=acme").json()["invoices"] == [
        {"workspace": None, "overage": "30", "amount": "0.36"},
        {"workspace": "a", "overage": "25", "amount": "0.30"},
        {"workspace": "b", "overage": "45", "amount": "0.54"},
    ]
    send(
        client_of(shop.maker), action_url(customer, "split_invoices"), split_by="nothing",
        reason="one again",
    )  # fmt: skip
    assert api.get("customers/acme/invoice_split").json() == {"split_by": "nothing"}


def test_what_a_workspace_was_charged_too_much_comes_off_its_own_invoice(shop: Shop) -> None:
    subscription = _used(shop)
    _split(shop, subscription)
    _issue(shop)
    cancel(shop, "req-1", DUE)  # 25 credits of a, 0.30.

    follow_overcharges(by=shop.worker, at=DUE)

    (proposed,) = ProposedCreditNote.objects.select_related("invoice_line__invoice__workspace")
    workspace = proposed.invoice_line.invoice.workspace
    assert workspace is not None
    assert (workspace.external_id, proposed.amount_minor) == ("a", 30)


def test_more_workspaces_than_there_may_be_invoices_wait_for_a_person(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace comes into being with its first event: wrong names would be invoiced apart."""
    subscription = _used(shop)
    _split(shop, subscription)
    monkeypatch.setattr(holds, "limits_at", lambda _: replace(BUILT_IN, most_drafts=2))

    assert _told(_issue(shop)) == [("None", "", 120)]
    assert BillingHold.objects.get().cause == "bounds"
