"""Everything that follows is made again from raw events and decisions: the state is the same."""

from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from billing_project.console.management.commands import replay
from billing_project.console.portable.packing import write_migration_pack
from billing_project.console.portable.rebuilding import Rebuilt, rebuild
from billing_project.console.portable.redrafting import Differing, redraft_all
from billing_project.console.portable.state import PartHash, StateHash, state_hash
from billing_project.console.portable.unguarded import unguarded
from billing_project.kernel.users import worker_user
from credits.models import CreditGrant
from credits.services.grants import expire_due_grants, void_grant
from invoicing.items import Item
from invoicing.models import Invoice
from invoicing.services.endings import void_and_regenerate
from metering.models import Customer
from metering.services.adjust import cancel_event
from tests.console.backoffice import person
from tests.console.chain import CLOSED_AT
from tests.console.moving import empty
from tests.invoicing.builders import check_what_is_deferred
from tests.revrec.builders import Shop, close_month, on, open_shop, recognise
from tests.worlds import standing

pytestmark = pytest.mark.django_db
MINIMUM = Item("commit", "minimum", "Minimum", 2_500, kinds=("overage",))


def _differences(found: Rebuilt) -> list[str]:
    return [f"{one.times:+} {one.part} {one.line}" for one in found.differences]


def _months() -> None:
    """Two months of a customer: late events after a close, a note, a void, a pack, a promotion."""
    shop = open_shop(person("finance_maker"), person("finance_approver"))
    customer = shop.subscriber("2026-01-01", fee=3_100, included="100", overage="0.011")
    pack = shop.pack(customer, "50", 777, "2026-01-02")
    shop.pay(pack, "2026-01-03")
    shop.grant(customer, "33", "2026-01-04", expires="2026-01-20")
    first = shop.use(customer, "70.5", "2026-01-05T10")
    shop.use(customer, "140.25", "2026-01-15T10")
    recognise(customer, "2026-01-16")
    expire_due_grants(by=worker_user(), at=on("2026-01-22"))
    shop.renew("2026-02-03")
    fee = Invoice.objects.filter(customer=customer).exclude(pk=pack.pk).earliest("pk")
    shop.credit(fee, 310, "goodwill", "2026-02-03")
    recognise(customer, "2026-02-03")
    close_month("2026-01-01", "2026-02-04")
    _after_the_close(shop, customer, first)


def _after_the_close(shop: Shop, customer: Customer, first: str) -> None:
    shop.use(customer, "11.125", "2026-01-28T23")
    cancel_event(
        customer=customer, identifier=first, reason="twice", by=shop.maker, at=on("2026-02-05")
    )
    shop.rate(customer, on("2026-02-05"))
    recognise(customer, "2026-02-06")
    given = shop.grant(customer, "500", "2026-02-07", price=4_999)
    shop.use(customer, "250", "2026-02-08T01")
    void_grant(grant=given, reason_code="mistake", by=shop.maker, at=on("2026-02-10"))
    committed = _commits(shop)
    shop.renew("2026-03-03")
    for one in (customer, committed):
        recognise(one, "2026-03-03")
    close_month("2026-02-01", "2026-03-04")


def _commits(shop: Shop) -> Customer:
    """A minimum with its shortfall, voided and drafted again, and a commitment paid ahead."""
    customer = shop.subscriber("2026-01-01", overage="0.5", items=(MINIMUM,))
    shop.use(customer, "12.5", "2026-01-09T10")
    ahead = shop.commitment(customer, "90", 4_200, ("2026-02-01", "2027-02-01"), "2026-01-20")
    shop.pay(ahead, "2026-01-21")
    shop.renew("2026-02-03T01")
    trued_up = Invoice.objects.get(customer=customer, source_key__endswith=":overage")
    assert [line.amount_minor for line in trued_up.lines.order_by("position")] == [625, 1_875, 0]
    void_and_regenerate(
        invoice=trued_up, reason="wrong address", by=worker_user(), at=on("2026-02-04")
    )
    shop.use(customer, "7", "2026-01-31T20")  # Late, and on the draft that claims it again.
    shop.renew("2026-02-06")
    again = Invoice.objects.get(replaces=trued_up)
    assert [line.amount_minor for line in again.lines.order_by("position")] == [975, 1_525, 0]
    shop.credit(again, 100, "goodwill", "2026-02-07")
    shop.use(customer, "33", "2026-02-12T10")
    return customer


@pytest.fixture(scope="module")
def made(
    django_db_setup: None, _sealing: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    with standing(_months, django_db_blocker):
        yield


@pytest.fixture
def months(made: None, db: None) -> None:
    check_what_is_deferred()


def test_months_with_late_events_notes_voids_and_closes_are_made_again(months: None) -> None:
    grants = list(CreditGrant.objects.order_by("pk").values())
    found = rebuild()
    assert _differences(found) == []
    assert found.rebuilt == found.recorded == state_hash()
    keys = Invoice.objects.exclude(number=None).values_list("source_key", flat=True)
    said = Counter(key.split(":")[2] if key.startswith("billing_period") else "" for key in keys)
    assert said == {"fee": 3, "overage": 4, "": 2}  # A pack and a commitment are given.
    assert (found.redrafted, found.given) == (7, 2)
    assert list(CreditGrant.objects.order_by("pk").values()) == grants  # All of it is undone.
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'")
        assert cursor.fetchone() == (0,)
    assert all(part.lines for part in found.recorded.parts)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("meter_event SET properties = '{\"amount\": \"12.125\"}' WHERE properties @>"
         " '{\"amount\": \"11.125\"}'", "windows"),
        ("rated_usage SET charge = charge + 1, overage = overage + 1 WHERE overage > 0", "ratings"),
        ("rated_usage SET drawn = drawn - 1, overage = overage + 1 WHERE drawn > 1", "ratings"),
        ("ledger_transaction SET cost_unrounded = cost_unrounded + 1 WHERE kind = 'drawn'",
         "ledger"),
        ("credit_grant SET remaining = remaining + 1 WHERE amount - remaining > 1", "grants"),
        ("rate SET unit_price = unit_price * 2", "ratings"),
        ("posting SET amount_minor = amount_minor * 2", "journal"),
        ("invoice_line SET amount_minor = amount_minor + 1 WHERE kind = 'commit_shortfall'",
         "invoices"),
    ],
)  # fmt: skip
def test_what_does_not_follow_is_found_and_named(months: None, change: str, part: str) -> None:
    with unguarded([change.split()[0]]), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {change}")
    found = rebuild()
    assert found.rebuilt != found.recorded
    assert part in {one.part for one in found.differences}


def test_claims_are_drafted_again_in_place_and_what_differs_is_named(months: None) -> None:
    assert redraft_all().differences == ()
    voided = Invoice.objects.get(status="void")
    with unguarded(["invoice_line"]), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE invoice_line SET amount_minor = amount_minor - 5 WHERE kind = 'overage'"
            " AND invoice_id = %s",
            [voided.pk],
        )
    out = StringIO()

    with pytest.raises(SystemExit):
        call_command("replay", customer=voided.customer.external_id, invoices=True, stdout=out)

    said = out.getvalue()
    line = f'["{voided.customer.external_id}", "{voided.number}", "USD", null, "overage"'
    assert said.count(f"only recorded: invoices {line}") == 1
    assert said.count(f"only made again: invoices {line}") == 1
    assert "Drafted 3 invoices again and compared each line; 1 more are decisions" in said
    assert Invoice.objects.get(pk=voided.pk).status == "void"


def test_the_command_makes_a_pack_again_in_an_empty_database(months: None, tmp_path: Path) -> None:
    path, before = tmp_path / "installation.zip", state_hash()
    write_migration_pack(path, "jsonl", CLOSED_AT)
    empty()
    out = StringIO()
    call_command("replay", pack=str(path), stdout=out)
    assert f"state made again {before.sha256}" in out.getvalue()


def test_the_command_names_the_first_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    was, now = (StateHash((PartHash("ratings", 1, name * 64),)) for name in "ab")
    lines = (Differing("ratings", '["acme"]', 1), Differing("ratings", '["zenith"]', -1))
    found = Rebuilt(was, now, lines, ("grant:7:voided:1: out of bounds",))
    monkeypatch.setattr(replay, "load_pack", lambda path, on_rows: {})
    monkeypatch.setattr(replay, "rebuild", lambda on_step: found)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("replay", pack="installation.zip", stdout=out)
    assert 'only recorded: ratings ["acme"]' in out.getvalue()
    assert 'only made again: ratings ["zenith"]' in out.getvalue()
    assert "cannot happen again: grant:7:voided:1" in out.getvalue()
    assert "The first that differs is of ratings." in out.getvalue()
