"""Opening balances are checked, approved by somebody else, made once, and held to the source."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.console.exceptions import exceptions_at
from billing_project.kernel.approvals import approve, reject
from billing_project.kernel.books import run_checks
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.quantity import plain
from credits.models import CreditGrant, PricingUnit
from credits.services.rates import create_pricing_unit
from invoicing.items import Item as PlanItem
from invoicing.models import (
    OpeningExplanation,
    OpeningImport,
    OpeningItem,
    OpeningState,
    SeatChange,
    StripeCustomer,
    Subscription,
)
from invoicing.opening import Item, read_csv
from invoicing.opening_stripe import read_stripe
from invoicing.selectors.opening import failed_items, parity_of
from invoicing.services import opening
from invoicing.services.opening import (
    MOST_ATTEMPTS,
    BadItems,
    OpeningFile,
    apply_openings,
    check_openings,
    propose_openings,
)
from invoicing.services.opening_ends import explain_parity, leave_behind, retry_openings
from metering.models import Customer
from revrec.models import Posting
from revrec.services.recognise import recognise_customer
from tests.console.backoffice import client_of, page_of, person
from tests.invoicing.builders import START, Shop, customer_of, open_shop, sell_plan
from tests.worlds import standing

pytestmark = pytest.mark.django_db

HEAD = (
    "kind,source_id,customer,name,currency,credits,unit,category,price,effective_at,plan,start_at,"
    "amount,number"
)
ROWS = (
    "customer,c1,zenith,Zenith,USD,,,,,,,,,",
    "grant,g1,zenith,,USD,120.5,credit,paid,60.25,2026-10-01,,,,",
    "grant,g2,zenith,,USD,10,credit,promotional,,2026-10-01,,,,",
    "balance,b1,zenith,,,130.5,credit,,,,,,,",
    "claim,i1,zenith,,USD,,,,,,,,49.00,A-1",
    "subscription,s1,zenith,,,,,,,,starter,2026-11-20,,",
)


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Shop]:
    def make() -> Shop:
        shop = open_shop()
        sell_plan(shop)
        return shop

    with standing(make, django_db_blocker) as shop:
        yield shop


@pytest.fixture
def shop(made: Shop, db: None) -> Shop:
    return deepcopy(made)


def _items(*rows: str) -> list[Item]:
    reading = read_csv("\n".join([HEAD, *rows]))
    assert reading.faults == []
    return reading.items


def _file(name: str = "old.csv", source: str = "old") -> OpeningFile:
    return OpeningFile(source, name, f"{name:0<64}"[:64])


def _propose(shop: Shop, *rows: str, name: str = "old.csv") -> OpeningImport:
    return propose_openings(
        file=_file(name), items=_items(*rows), reason="they came to us", by=shop.maker, at=START
    )


def _approve(shop: Shop, row: OpeningImport) -> None:
    approve(change=row.policy_change, by=shop.approver, reason="as agreed", at=START)


def _apply(shop: Shop) -> int:
    return apply_openings(by=shop.worker, at=START)


def _refuse(*_: object) -> None:
    raise Invalid("no such unit")


def _parity(row: OpeningImport) -> list[tuple[str, str, str]]:
    return [(f"{one.what} {one.unit}".strip(), plain(one.difference), one.why)
            for one in parity_of(row)]  # fmt: skip


def test_a_dry_run_writes_nothing_and_names_what_would_not_take_effect(shop: Shop) -> None:
    before = AuditEntry.objects.count()
    rows = [*ROWS[1:3], ROWS[5].replace("starter", "gone")]
    faults = check_openings(file=_file(), items=_items(*rows), by=shop.maker, at=START)
    assert [str(fault) for fault in faults] == [
        "line 2, customer: read 'g1'; allowed is there is no customer zenith, here or in the file",
        "line 3, customer: read 'g2'; allowed is there is no customer zenith, here or in the file",
        "line 4, customer: read 's1'; allowed is there is no customer zenith, here or in the file",
    ]
    unit = ROWS[1].replace(",credit,", ",tokens,")
    [fault] = check_openings(file=_file(), items=_items(ROWS[0], unit), by=shop.maker, at=START)
    assert (fault.line, fault.column) == (3, "unit")
    assert not check_openings(file=_file(), items=_items(*ROWS), by=shop.maker, at=START)
    assert not Customer.objects.filter(external_id="zenith").exists()
    assert AuditEntry.objects.count() == before


def test_nothing_takes_effect_before_somebody_else_approved_it(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    assert _apply(shop) == 0
    with pytest.raises(NotAllowed):
        approve(change=row.policy_change, by=shop.maker, reason="mine", at=START)
    _approve(shop, row)

    assert _apply(shop) == 6

    row.refresh_from_db()
    assert row.state == OpeningState.APPLIED
    paid, promotional = CreditGrant.objects.filter(customer__external_id="zenith").exclude(
        category="included"
    ).order_by("pk")  # fmt: skip
    assert (paid.amount, paid.price_minor, paid.reason_code) == (
        Decimal("120.5"),
        6025,
        "opening_balance",
    )
    assert (promotional.amount, promotional.price_minor) == (Decimal(10), 0)
    assert Subscription.objects.get(customer__external_id="zenith").start_at.day == 20
    assert _parity(row) == [
        ("credits credit", "0", ""),
        ("open invoices USD", "-49", "A-1 stays with the source"),
        ("subscriptions", "0", ""),
    ]
    assert all(one.is_named for one in parity_of(row))
    # The amounts are those of the grants, not what the file says once more.
    OpeningItem.objects.filter(source_id="g1").update(made=f"creditgrant:{promotional.pk}")
    assert _parity(row)[0] == ("credits credit", "-110.5", "-110.5 that nothing explains")


def test_what_was_paid_before_is_owed_against_opening_balances(shop: Shop) -> None:
    _approve(shop, _propose(shop, *ROWS[:3]))
    _apply(shop)
    customer = Customer.objects.get(external_id="zenith")
    recognise_customer(customer_id=customer.pk, by=shop.worker, at=START)
    said = Posting.objects.filter(customer=customer).values_list("account_id", "amount_minor")
    assert sorted(said) == [("2100", -6025), ("3900", 6025)]
    assert [result.title for result in run_checks(["revrec"]) if result.findings] == []


def test_the_same_again_changes_nothing(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    assert _propose(shop, *ROWS) == row
    _approve(shop, row)
    _apply(shop)
    assert _apply(shop) == 0
    with pytest.raises(Conflict, match="everything in this file was taken before"):
        _propose(shop, *ROWS, name="again.csv")
    more = "grant,g3,zenith,,USD,1,credit,promotional,,2026-10-01,,,,"
    second = _propose(shop, *ROWS, more, name="more.csv")
    assert [item.source_id for item in second.items.all()] == ["g3"]


def test_another_content_under_a_name_that_was_taken_is_refused(shop: Shop) -> None:
    _propose(shop, *ROWS)
    with pytest.raises(BadItems, match=r"line 3, source_id: read 'g1'; allowed is what old\.csv"):
        _propose(shop, ROWS[0], ROWS[1].replace("120.5", "121"), name="other.csv")


def test_what_was_rejected_can_come_again(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    reject(change=row.policy_change, by=shop.approver, reason="not agreed", at=START)
    assert _apply(shop) == 0
    row.refresh_from_db()
    assert row.state == OpeningState.CLOSED
    assert _propose(shop, *ROWS) != row


def test_what_fails_keeps_its_reason_and_is_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_pricing_unit(code="token", name="Token", by=shop.maker, at=START)
    row = _propose(shop, *ROWS[:3], ROWS[3].replace("130.5", "131"),
                   "grant,g9,zenith,,USD,3,token,promotional,,2026-10-01,,,,")  # fmt: skip
    _approve(shop, row)

    def no_tokens(code: str) -> PricingUnit:
        if code == "token":
            raise Invalid("there is no pricing unit token")
        return shop.unit

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_unit", no_tokens)
        _apply(shop)

    row.refresh_from_db()
    assert row.state == OpeningState.OPEN
    credits_, tokens = _parity(row)
    assert credits_ == (
        "credits credit", "-0.5",
        "the source states 131, its grants come to 130.5; -0.5 that nothing explains",
    )  # fmt: skip
    assert tokens[1] == "-3"
    assert tokens[2].startswith("grant g9 failed: there is no pricing unit token")

    assert _apply(shop) == 1
    assert _parity(row)[1] == ("credits token", "0", "")


def test_what_keeps_failing_waits_for_a_person_who_tries_again_or_leaves_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _propose(shop, *ROWS[:3])
    _approve(shop, row)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_make_grant", _refuse)
        for _ in range(MOST_ATTEMPTS):
            _apply(shop)
        given_up = [item.source_id for item in failed_items()]
        assert given_up == ["g1", "g2"]
        patch.setattr(opening, "_make_grant", pytest.fail)
        assert _apply(shop) == 0  # Nobody tries any more.
    [kind] = [one for one in exceptions_at(START) if one.title == "Opening balances that failed"]
    assert [(one.owner, one.detail) for one in kind.rows] == [
        (str(shop.maker), "no such unit"), (str(shop.maker), "no such unit"),
    ]  # fmt: skip

    left = OpeningItem.objects.get(source_id="g2")
    leave_behind(item=left, reason="theirs", by=shop.maker, at=START)
    assert retry_openings(row=row, reason="it is there now", by=shop.maker, at=START) == 1

    row.refresh_from_db()
    assert row.state == OpeningState.APPLIED
    assert not failed_items().exists()
    [found] = parity_of(row)
    assert found.is_named
    assert "left behind by" in found.why
    with pytest.raises(Conflict, match="nothing of"):
        retry_openings(row=row, reason="again", by=shop.maker, at=START)
    with pytest.raises(NotAllowed):
        leave_behind(item=left, reason="x", by=person("support"), at=START)


def test_what_a_person_leaves_while_the_worker_runs_stays_with_the_source(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _propose(shop, *ROWS[:3])
    _approve(shop, row)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "_make_grant", _refuse)
        _apply(shop)
    apply_item, leaves = opening._apply_item, ["g1", "g2"]

    def leave_first(pk: int, by: User, at: datetime) -> int:
        """Leave an item after the worker listed it, and before it takes the item's lock."""
        item = OpeningItem.objects.get(pk=pk)
        assert item.source_id == leaves.pop(0)
        leave_behind(item=item, reason="theirs", by=shop.maker, at=START)
        return apply_item(pk, by, at)

    monkeypatch.setattr(opening, "_apply_item", leave_first)
    assert _apply(shop) == 0

    assert leaves == []
    assert not CreditGrant.objects.filter(customer__external_id="zenith").exists()
    assert set(row.items.values_list("source_id", "state", "made")) >= {
        ("g1", "closed", ""), ("g2", "closed", ""),
    }  # fmt: skip


def test_what_a_person_leaves_once_the_worker_let_go_of_it_has_not_failed_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _propose(shop, *ROWS[:2])
    _approve(shop, row)
    monkeypatch.setattr(opening, "_make_grant", _refuse)
    _apply(shop)
    why = opening._why

    def leave_before_it_is_kept(error: Invalid) -> str:
        leave_behind(
            item=OpeningItem.objects.get(source_id="g1"), reason="theirs", by=shop.maker, at=START
        )
        return why(error)

    monkeypatch.setattr(opening, "_why", leave_before_it_is_kept)
    assert _apply(shop) == 0

    [left] = row.items.filter(source_id="g1")
    assert (left.state, left.detail.startswith("left behind by")) == ("closed", True)


def test_a_contradiction_of_the_source_is_unexplained_until_a_person_explains_it(
    shop: Shop,
) -> None:
    row = _propose(shop, *ROWS[:3], ROWS[3].replace("130.5", "131"))
    [planned] = [one for one in parity_of(row) if one.what == "credits"]
    assert (plain(planned.source), plain(planned.planned), plain(planned.here)) == (
        "131", "130.5", "0",
    )  # fmt: skip
    _approve(shop, row)
    _apply(shop)

    def explain(difference: str, by: User) -> None:
        explain_parity(
            row=row, customer="zenith", what="credits", unit="credit",
            difference=Decimal(difference), reason="lost there", by=by, at=START,
        )  # fmt: skip

    with pytest.raises(Conflict, match="no such difference"):
        explain("-1", shop.approver)
    with pytest.raises(NotAllowed):
        explain("-0.5", shop.worker)
    with pytest.raises(NotAllowed, match="somebody else explains"):
        explain("-0.5", shop.maker)  # Who proposed it.
    own = OpeningExplanation(
        opening_import=row, customer="zenith", what="credits", unit="credit",
        difference=Decimal("-0.5"), reason="lost there", explained_by=shop.maker,
        explained_at=START,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="explains no difference"), transaction.atomic():
        own.save()

    for _ in range(2):
        explain("-0.5", shop.approver)

    [found] = parity_of(row)
    assert found.is_named
    assert found.why.endswith(f"-0.5 explained by {shop.approver}: lost there")
    CreditGrant.objects.filter(customer__external_id="zenith", price_minor=0).update(remaining=10)
    OpeningItem.objects.filter(source_id="g2").update(made="")  # Another difference by now.
    assert not parity_of(row)[0].is_named


def test_a_source_s_object_is_granted_once_whatever_file_names_it(shop: Shop) -> None:
    row = _propose(shop, *ROWS[:3])
    _approve(shop, row)
    _apply(shop)
    item = row.items.get(source_id="g1")

    again = opening._make_grant(item, shop.worker, START)

    assert again == item.made
    item.content = {**item.content, "credits": "7"}
    with pytest.raises(Conflict, match="issued another grant"):
        opening._make_grant(item, shop.worker, START)


def test_a_file_comes_in_on_a_page_and_waits_for_somebody_else(shop: Shop) -> None:
    client = client_of(person("finance_maker"))
    url = reverse("admin:invoicing_openingimport_upload")
    text = "\n".join([HEAD, *ROWS[:3], ROWS[3].replace("130.5", "131")])

    def sent(content: str) -> Any:
        file = SimpleUploadedFile("old.csv", content.encode())
        page = client.get(url)
        nonce = page.context["form"]["nonce"].initial
        return client.post(
            url, {"nonce": nonce, "source": "old", "reason": "they came", "file": file}
        )

    bad = sent(text.replace(",10,credit", ",1_0,credit"))
    assert bad.status_code == 422
    assert b"line 4, credits" in bad.content
    assert not OpeningImport.objects.exists()

    assert sent(text).status_code == 302
    row = OpeningImport.objects.get()
    page = client.get(f"/admin/openings/?import={row.pk}")
    assert b"130.5" in page.content  # What is planned can be read before the approval.
    shown = client.get(page_of(row)).content.decode()
    assert '<progress class="bo-progress" max="100" value="0">' in shown
    assert f"?import={row.pk}" in shown
    _approve(shop, row)
    _apply(shop)
    here = reverse("admin:invoicing_openingimport_explain_difference", args=[row.pk])
    assert b"somebody else explains" in client.get(here).content
    client = client_of(person("finance_approver"))
    form = client.get(here).context["form"]
    assert client.post(here, {
        "nonce": form["nonce"].initial, "reason": "lost there",
        "difference": "zenith|credits|credit|-0.5",
    }).status_code == 302  # fmt: skip
    assert all(one.is_named for one in parity_of(row))


def test_approval_is_over_every_item(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE opening_item DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE opening_item SET content = jsonb_set(content, '{credits}', '\"9\"')"
            " WHERE source_id = 'g1'"
        )
    with pytest.raises(Conflict):
        _approve(shop, row)


def test_items_are_kept_as_they_were_proposed(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    refused = (
        "UPDATE opening_item SET content = '{}'", "DELETE FROM opening_item",
        "UPDATE opening_import SET source = 'other'",
    )  # fmt: skip
    for statement in refused:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    _approve(shop, row)
    with pytest.raises(DatabaseError), transaction.atomic():
        OpeningItem.objects.create(
            opening_import=row, line=9, source="old", kind="left", source_id="x", customer="x",
            content={},
        )  # fmt: skip


def test_only_finance_imports(shop: Shop) -> None:
    with pytest.raises(NotAllowed):
        propose_openings(
            file=_file(), items=_items(*ROWS), reason="x", by=person("support"), at=START
        )
    with pytest.raises(Invalid, match="nothing in it"):
        propose_openings(file=_file(), items=[], reason="x", by=shop.maker, at=START)


def test_a_stripe_customer_keeps_its_name_there(shop: Shop) -> None:
    create_pricing_unit(code="usd", name="US dollars", currency="USD", by=shop.maker, at=START)
    reading = read_stripe(
        '{"object": "customer", "id": "cus_1", "currency": "usd"}\n'
        '{"object": "billing.credit_grant", "id": "credgr_1", "customer": "cus_1",'
        ' "category": "paid", "created": 1792540800,'
        ' "amount": {"monetary": {"currency": "usd", "value": 1000}}}\n',
        {},
    )
    row = propose_openings(
        file=_file("dump.jsonl", "stripe"), items=reading.items, reason="moved", by=shop.maker,
        at=START,
    )  # fmt: skip
    _approve(shop, row)
    assert _apply(shop) == 2
    assert StripeCustomer.objects.get(customer__external_id="cus_1").stripe_id == "cus_1"
    assert CreditGrant.objects.get(customer__external_id="cus_1").amount == 10


def test_a_stripe_customer_who_is_somebody_else_here_is_a_fault_and_no_error(shop: Shop) -> None:
    StripeCustomer.objects.create(customer=customer_of(shop), stripe_id="cus_1", created_at=START)
    items = read_stripe('{"object": "customer", "id": "cus_1", "currency": "usd"}', {}).items
    [fault] = check_openings(file=_file(), items=items, by=shop.maker, at=START)
    assert (fault.line, "stripe_customer_stripe_id_key" in fault.allowed) == (1, True)


@pytest.mark.parametrize(("plan", "seats"), [("team", 1), ("starter", 0)])
def test_seats_that_stripe_counts_are_sold_here_where_the_plan_sells_seats(
    shop: Shop, plan: str, seats: int
) -> None:
    sell_plan(shop, "team", items=(PlanItem("seat", "seats", "Seats", 2_000),))
    customer_of(shop, "zenith")
    before = START - timedelta(seconds=1)
    said = {"plan": plan, "start_at": START.isoformat(), "seats": 0, "quantity": 1}
    row = OpeningItem(customer="zenith", kind="subscription", content=said)
    if not seats:
        said["quantity"] = 3
        with pytest.raises(Invalid, match="sells no such seats"), transaction.atomic():
            opening._make(row, shop.maker, before)
        said["quantity"] = 1
    opening._make(row, shop.maker, before)
    assert sum(SeatChange.objects.values_list("seats", flat=True)) == seats


def test_credits_whose_time_is_over_stay_with_the_source(shop: Shop) -> None:
    # Here their end would be earned a second time: 60.25 of revenue.
    lines = (f"{HEAD},expires_at", f"{ROWS[0]},", f"{ROWS[1]},2026-10-21")
    items = read_csv("\n".join(lines)).items
    [fault] = check_openings(file=_file(), items=items, by=shop.maker, at=START)
    assert (fault.line, fault.column) == (3, "expires_at")
    with pytest.raises(BadItems):
        propose_openings(file=_file(), items=items, reason="moved", by=shop.maker, at=START)
    assert not check_openings(
        file=_file(), items=items, by=shop.maker, at=START - timedelta(seconds=1)
    )


def _export(paid_until: int) -> list[Item]:
    sold = {
        "object": "subscription", "id": "sub_1", "customer": "cus_1", "status": "active",
        "current_period_end": paid_until, "items": {"data": [{"price": {"id": "price_1"}}]},
    }  # fmt: skip
    export = f'{{"object": "customer", "id": "cus_1", "currency": "usd"}}\n{json.dumps(sold)}'
    return read_stripe(export, {"price_1": "starter"}).items


def test_a_period_that_stripe_renewed_since_the_export_is_not_billed_here_too(shop: Shop) -> None:
    items = _export(1792540800)
    [fault] = check_openings(file=_file(), items=items, by=shop.maker, at=START)
    assert (fault.line, fault.column) == (2, "current_period_end")
    assert not check_openings(
        file=_file(), items=items, by=shop.maker, at=START - timedelta(seconds=1)
    )


def test_a_period_that_stripe_renewed_before_the_approval_is_taken_over_by_a_new_export(
    shop: Shop,
) -> None:
    words = {"reason": "they came to us", "by": shop.maker, "at": START - timedelta(seconds=1)}
    row = propose_openings(file=_file(), items=_export(1792540800), **words)  # type: ignore[arg-type]
    _approve(shop, row)

    assert _apply(shop) == 1  # The customer.
    assert not Subscription.objects.exists()
    assert "Stripe billed the next one" in row.items.get(state="failed").detail

    anew = propose_openings(file=_file("new"), items=_export(1795219200), **words)  # type: ignore[arg-type]
    assert [item.kind for item in anew.items.all()] == ["subscription"]
    _approve(shop, anew)
    assert _apply(shop) == 1
    assert Subscription.objects.get().start_at > START
    states = OpeningImport.objects.order_by("id").values_list("state", flat=True)
    assert list(states) == ["applied", "applied"]


def test_a_customer_who_is_billed_in_another_currency_is_named(shop: Shop) -> None:
    customer_of(shop, "zenith", currency="EUR")
    faults = check_openings(file=_file(), items=_items(ROWS[0]), by=shop.maker, at=START)
    assert "zenith is billed in EUR here" in str(faults[0])


def test_the_page_shows_parity_and_gives_it_as_csv(shop: Shop) -> None:
    row = _propose(shop, *ROWS)
    _approve(shop, row)
    _apply(shop)
    client = client_of(person("auditor"))
    page = client.get(f"/admin/openings/?import={row.pk}").content.decode()
    assert "A-1 stays with the source" in page
    assert "every difference has its name" in page
    file = client.get(f"/admin/openings/?import={row.pk}&format=csv")
    lines = b"".join(file.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert lines[1] == "zenith,credits,credit,130.5,130.5,130.5,0,true,"
    assert client.get("/admin/openings/").status_code == 200
    for other in ("x", "0", "9" * 30):
        assert client.get(f"/admin/openings/?import={other}").status_code == 404


def test_the_command_checks_first_and_proposes_when_asked(shop: Shop, tmp_path: Path) -> None:
    path, out = tmp_path / "old.csv", StringIO()
    path.write_text("\n".join([HEAD, *ROWS]))
    call_command("import_openings", str(path), source="old", stdout=out)
    assert "6 items, no fault; nothing was written" in out.getvalue()
    assert not OpeningImport.objects.exists()
    call_command(
        "import_openings", str(path), source="old", propose=True, reason="moved", by="mia.shop",
        stdout=out,
    )  # fmt: skip
    row = OpeningImport.objects.get()
    _approve(shop, row)
    call_command("import_openings", apply=True, stdout=out)
    again = {"source": "old", "propose": True, "reason": "moved", "by": "mia.shop"}
    call_command("import_openings", str(path), stdout=out, **again)
    assert f"This file was taken before: import {row.pk} is applied" in out.getvalue()
    call_command("import_openings", parity=row.pk, stdout=out)
    assert "credits credit: source 130.5, here 130.5, difference 0" in out.getvalue()
    path.write_text("\n".join([HEAD, ROWS[1].replace("120.5", "lots")]))
    with pytest.raises(SystemExit):
        call_command("import_openings", str(path), stdout=out)
    assert "line 2, credits: read 'lots'" in out.getvalue()


def test_nobody_hides_behind_the_worker_to_approve_the_own_import(shop: Shop) -> None:
    with pytest.raises(NotAllowed, match="a person proposes"):
        propose_openings(
            file=_file(), items=_items(*ROWS), reason="moved", by=shop.worker, at=START
        )
