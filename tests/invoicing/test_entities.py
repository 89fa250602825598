"""Legal entities: named by approved versions, each with gapless numbers, kept on what is issued."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import approve, propose_version
from billing_project.kernel.drafts import draft, submit
from billing_project.kernel.errors import Conflict, Invalid, NotAllowed
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from invoicing import checks
from invoicing.documents import credit_note_data, invoice_data
from invoicing.lines import Kind, Line
from invoicing.models import (
    CustomerAddress,
    CustomerEntity,
    Invoice,
    LegalEntity,
    MarketGate,
    NumberSeries,
)
from invoicing.selectors.entities import entity_named
from invoicing.selectors.markets import content_of_gate, is_open
from invoicing.services import locks
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.drafts import Draft, create_draft, write_lines
from invoicing.services.entities import (
    EntityTerms,
    assign_entity,
    propose_legal_entity,
    record_address,
)
from invoicing.services.invoices import finalize_invoice
from invoicing.services.markets import record_tax_id
from invoicing.services.subscriptions import subscribe
from metering.models import Customer
from tests.invoicing.builders import (
    END,
    LAUNCH,
    START,
    Shop,
    at_once,
    customer_of,
    ensure_market,
    issued,
    open_market,
    open_shop,
    registered_in,
    sell_plan,
    words,
)

pytestmark = pytest.mark.django_db

TERMS = EntityTerms(
    code="de", series_prefix="DE", legal_name="Beispiel GmbH", country="DE", currency="EUR",
    address="Hafenstr. 1\n20457 Hamburg", tax_number="DE811128135",
)  # fmt: skip


def _changed(**changes: str) -> EntityTerms:
    return EntityTerms(**{**vars(TERMS), **changes})


def founded(shop: Shop, **changes: str) -> LegalEntity:
    """Return an entity that finance approved."""
    version = propose_legal_entity(
        terms=_changed(**changes), proposal=words(LAUNCH), by=shop.maker, at=LAUNCH
    )
    approve(change=version.policy_change, by=shop.approver, reason="registered", at=LAUNCH)
    return version.entity


def _billed_by(shop: Shop, entity: LegalEntity, name: str, **changes: str) -> Customer:
    customer = customer_of(shop, name, **changes)
    assign_entity(customer=customer, entity=entity, by=shop.maker, at=LAUNCH)
    ensure_market(shop, customer.country, customer.currency, entity.code)
    return customer


def _note(shop: Shop, invoice: Invoice, key: str) -> str:
    return issue_credit_note(
        invoice=invoice, lines=[(invoice.lines.get(), 100)], reason="goodwill", memo="", key=key,
        by=shop.worker, at=START,
    ).number  # fmt: skip


def test_each_entity_numbers_its_own_documents(shop: Shop) -> None:
    german = _billed_by(shop, founded(shop), "hafen")
    ours = issued(shop, customer_of(shop, "acme"), 1_000)
    theirs = [issued(shop, german, 1_000) for _ in range(2)]

    assert [one.number for one in (ours, *theirs)] == [
        "INV-000001", "DE-INV-000001", "DE-INV-000002",
    ]  # fmt: skip
    assert [_note(shop, theirs[0], "n1"), _note(shop, ours, "n2")] == ["DE-CN-000001", "CN-000001"]
    assert list(checks.numbers_gapless()) == []
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE number_series DISABLE TRIGGER USER")
        cursor.execute("UPDATE number_series SET last_number = 5 WHERE entity_id <> 1")
    assert [one.subject for one in checks.numbers_gapless()] == [
        "number_series:de.INV", "number_series:de.CN",
    ]  # fmt: skip


def test_an_invoice_keeps_who_sold_and_who_bought_as_they_were(shop: Shop) -> None:
    customer = _billed_by(shop, founded(shop), "hafen")
    Customer.objects.update(name="Hafen AG", country="", email="ap@hafen.example")
    invoice = issued(shop, customer, 1_000)
    _note(shop, invoice, "n")
    Customer.objects.update(name="Renamed", email="new@hafen.example")
    moved = propose_legal_entity(
        terms=_changed(legal_name="Beispiel SE", address="Am Wall 2"), proposal=words(LAUNCH),
        by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    approve(change=moved.policy_change, by=shop.approver, reason="converted", at=LAUNCH)
    invoice.refresh_from_db()

    seller = {
        "name": "Beispiel GmbH",
        "details": ["Hafenstr. 1", "20457 Hamburg", "Tax id DE811128135"],
    }
    buyer = {"name": "Hafen AG", "details": ["hafen", "ap@hafen.example"]}
    for data in (invoice_data(invoice), credit_note_data(invoice.credit_notes.get())):
        assert (data["seller"], data["customer"]) == (seller, buyer)
    later = invoice_data(issued(shop, customer, 1_000))
    assert later["seller"] == {
        "name": "Beispiel SE", "details": ["Am Wall 2", "Tax id DE811128135"],
    }  # fmt: skip


def test_an_invoice_keeps_the_postal_address_that_it_was_issued_with(shop: Shop) -> None:
    customer = customer_of(shop, "acme", email="ap@acme.example")
    first, many = issued(shop, customer, 1_000), "\n".join("1234567")
    for address in (" Hafenstr. 9 \n\n20457 Hamburg ", "Hafenstr. 9\n20457 Hamburg"):
        record_address(customer=customer, address=address, by=shop.maker, at=START)
    second = issued(shop, customer, 1_000)
    record_address(customer=customer, address="", by=shop.maker, at=START)

    assert CustomerAddress.objects.count() == 2  # The same again adds nothing.
    assert first.customer_address == "ap@acme.example"
    assert second.customer_address == "Hafenstr. 9\n20457 Hamburg\nap@acme.example"
    assert issued(shop, customer, 1_000).customer_address == "ap@acme.example"
    with pytest.raises(Invalid, match="6 lines"):
        record_address(customer=customer, address=many, by=shop.maker, at=START)
    with pytest.raises(NotAllowed):
        record_address(customer=customer, address="x", by=User.objects.create_user("pat"), at=START)


def test_the_main_entity_is_called_by_the_settings_until_it_has_a_version(
    shop: Shop,
) -> None:
    customer = customer_of(shop, "acme")
    first = issued(shop, customer, 1_000)
    founded(shop, code="main", series_prefix="", legal_name="Example AI Holding")

    assert first.seller_name == "Example AI, Inc."
    assert issued(shop, customer, 1_000).seller_name == "Example AI Holding"


def test_reverse_charge_is_told_by_the_entitys_country(shop: Shop) -> None:
    entity = founded(shop)
    for code in ("main", "de"):
        registered_in(shop, "DE", "0.19", entity=code)
    at_home = _billed_by(shop, entity, "hafen", country="DE", currency="EUR")
    abroad = customer_of(shop, "ausland", country="DE", currency="EUR")
    for customer in (at_home, abroad):
        record_tax_id(
            customer=customer, kind="eu_vat", value="DE811128135", by=shop.maker, at=LAUNCH
        )

    assert issued(shop, at_home, 1_000, "EUR").tax_treatment == "standard"
    assert issued(shop, abroad, 1_000, "EUR").tax_treatment == "reverse_charge"  # By the main one.


def test_a_market_is_open_to_the_entity_whose_checklist_was_approved(shop: Shop) -> None:
    entity = founded(shop)
    customer = customer_of(shop, "hafen", country="FR", currency="EUR")  # Open to the main one.
    assign_entity(customer=customer, entity=entity, by=shop.maker, at=LAUNCH)
    plan = sell_plan(shop, currency="EUR")
    draft = create_draft(Draft(customer, None, "EUR", Period(START, END), START, "x"), START)
    write_lines(draft, [Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(100), 100, "fee")])

    with pytest.raises(Conflict, match="FR in EUR is not open to de at") as refused:
        subscribe(customer=customer, plan_version=plan, start_at=START, by=shop.maker, at=START)
    assert refused.value.code == "market_closed"
    with pytest.raises(Conflict, match="not open to de"):
        finalize_invoice(invoice=draft, by=shop.maker, at=START)
    with pytest.raises(DatabaseError, match="is not open"), transaction.atomic():
        _issue_by_hand(draft)

    gate = open_market(shop, "FR", "EUR", entity="de")

    assert (str(gate), gate.number) == ("FR EUR by de v1", 1)
    assert content_of_gate(gate)["entity"] == "de"
    assert content_of_gate(MarketGate.objects.get(entity=1, country="FR"))["entity"] == "main"
    assert finalize_invoice(invoice=draft, by=shop.maker, at=START).number == "DE-INV-000001"
    assert subscribe(
        customer=customer, plan_version=plan, start_at=START, by=shop.maker, at=START
    ).pk


def test_a_checklist_that_names_no_entity_is_the_main_ones(shop: Shop) -> None:
    entity = founded(shop)
    gate = MarketGate(  # As it was signed before entities were named.
        country="FR", currency="EUR", number=1, tax_registration="not_required",
        threshold_minor=0, settlement_currency="EUR", bank_country="FR", payout_days=2,
    )  # fmt: skip
    propose_version(
        gate, kind="market_gate", subject="market_gate:FR.EUR:1", content=content_of_gate(gate),
        proposal=words(LAUNCH), by=shop.maker, at=LAUNCH,
    )  # fmt: skip
    approve(change=gate.policy_change, by=shop.approver, reason="ready", at=LAUNCH)

    assert "entity" not in content_of_gate(gate)
    assert [is_open("FR", "EUR", START, pk) for pk in (1, entity.pk)] == [True, False]
    assert open_market(shop, "FR", "EUR").number == 2


def _issue_by_hand(draft: Invoice) -> None:
    """Write what issuing writes, past the services."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE number_series SET last_number = 1 WHERE code = 'INV' AND entity_id = %s",
            [draft.entity_id],
        )
        cursor.execute(
            "UPDATE invoice SET status = 'finalized', finalized_at = %s, due_on = %s, sequence = 1,"
            " number = 'DE-INV-000001', open_minor = total_minor WHERE id = %s",
            [START, START, draft.pk],
        )


def test_who_bills_a_customer_is_said_before_anything_is_sold_and_stays(shop: Shop) -> None:
    entity, support = founded(shop), User.objects.create_user("sam")
    customer = _billed_by(shop, entity, "hafen")

    again = assign_entity(customer=customer, entity=entity, by=shop.maker, at=START)
    assert again is not None
    assert again.recorded_at == LAUNCH
    with pytest.raises(NotAllowed):
        assign_entity(customer=customer, entity=entity, by=support, at=START)
    with pytest.raises(Conflict, match="billed by another entity already"):
        assign_entity(customer=customer, entity=entity_named("main"), by=shop.maker, at=START)
    sold = customer_of(shop, "acme")
    issued(shop, sold, 1_000)
    with pytest.raises(Conflict, match="Make a new customer"):
        assign_entity(customer=sold, entity=entity, by=shop.maker, at=START)
    with pytest.raises(DatabaseError, match="sold to already"), transaction.atomic():
        CustomerEntity.objects.create(
            customer=sold, entity=entity, recorded_by=shop.maker, recorded_at=START
        )
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        CustomerEntity.objects.update(entity=1)


def test_an_entity_that_nobody_approved_bills_nobody(shop: Shop) -> None:
    proposed = propose_legal_entity(terms=TERMS, proposal=words(LAUNCH), by=shop.maker, at=LAUNCH)
    with pytest.raises(Conflict, match="has no approved version"):
        assign_entity(
            customer=customer_of(shop, "hafen"), entity=proposed.entity, by=shop.maker, at=START
        )
    with pytest.raises(NotAllowed):
        approve(change=proposed.policy_change, by=shop.maker, reason="mine", at=LAUNCH)


def test_postgresql_refuses_an_invoice_of_another_entity(shop: Shop) -> None:
    entity = founded(shop)
    invoice = issued(shop, customer_of(shop, "acme"), 1_000)
    raw = (
        "UPDATE number_series SET last_number = 1 WHERE code = 'INV' AND entity_id = %(e)s;"
        " INSERT INTO invoice (customer_id, status, currency, service_start_at, service_end_at,"
        " total_minor, paid_minor, credited_minor, open_minor, created_at, ready_at, source_key,"
        " entity_id, tax_treatment, tax_name, customer_tax_id)"
        " SELECT customer_id, 'draft', currency, service_start_at, service_end_at, 0, 0, 0, 0,"
        " created_at, ready_at, 'forged', %(e)s, '', '', '' FROM invoice WHERE id = %(i)s;"
        " UPDATE invoice SET status = 'paid', number = 'X', sequence = 1, finalized_at = now()"
        " WHERE source_key = 'forged'"
    )
    with (
        pytest.raises(DatabaseError, match="not of the entity that bills its customer"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(raw, {"e": entity.pk, "i": invoice.pk})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "De"}, "code"),
        ({"series_prefix": "de"}, "series_prefix"),
        ({"series_prefix": ""}, "series_prefix"),
        ({"legal_name": " "}, "legal_name"),
        ({"address": "\n \n"}, "address"),
        ({"address": "a\nb\nc\nd\ne\nf\ng"}, "address"),
        ({"tax_number": "1" * 41}, "tax_number"),
        ({"country": "XX"}, "country"),
        ({"currency": "EURO"}, "currency"),
    ],
)
def test_an_entity_is_refused_with_the_field_at_fault(
    shop: Shop, changes: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        propose_legal_entity(
            terms=_changed(**changes), proposal=words(LAUNCH), by=shop.maker, at=LAUNCH
        )
    assert refused.value.field == field
    assert LegalEntity.objects.count() == 1


def test_a_prefix_is_one_entitys_and_stays(shop: Shop) -> None:
    founded(shop)

    for changes in ({"code": "other"}, {"series_prefix": "GE"}):
        with pytest.raises(Conflict) as refused:
            propose_legal_entity(
                terms=_changed(**changes), proposal=words(LAUNCH), by=shop.maker, at=LAUNCH
            )
        assert refused.value.field == "series_prefix"


def test_an_entity_is_drafted_and_submitted_as_a_policy_change(shop: Shop) -> None:
    change = draft(
        kind="legal_entity", content=dict(vars(TERMS)), proposal=words(LAUNCH), by=shop.maker,
        at=LAUNCH,
    )  # fmt: skip
    submitted = submit(change=change, by=shop.maker, at=LAUNCH)
    approve(change=submitted, by=shop.approver, reason="registered", at=LAUNCH)

    assert entity_named("de").versions.get().legal_name == "Beispiel GmbH"
    assert NumberSeries.objects.filter(entity__code="de").count() == 2


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between reading a series and moving it: what is set is worked out before the lock."""
    slowly = locks._TAKE.replace("+ 1", "+ 1 + length(pg_sleep(0.2)::text)")
    assert slowly != locks._TAKE
    monkeypatch.setattr(locks, "_TAKE", slowly)


def _drafts(shop: Shop) -> list[Invoice]:
    entity, drafts = founded(shop), []
    for name in ("a", "b", "c"):
        customer = _billed_by(shop, entity, name)
        draft = create_draft(Draft(customer, None, "USD", Period(START, END), START, name), START)
        line = Line(Kind.RECURRING, "Fee", Decimal(1), "", Decimal(100), 100, "fee")
        write_lines(draft, [line])
        drafts.append(draft)
    return drafts


def _finalized_at_once(shop: Shop, drafts: list[Invoice]) -> list[object]:
    def act(draft: Invoice) -> Callable[[], object]:
        def finalize() -> object:
            try:
                return finalize_invoice(invoice=draft, by=shop.worker, at=START)
            except DatabaseError as error:
                return error

        return finalize

    return at_once(*(act(draft) for draft in drafts))


@pytest.mark.usefixtures("waiting")
@pytest.mark.django_db(transaction=True)
def test_invoices_issued_at_once_by_one_entity_have_numbers_without_a_gap() -> None:
    shop = open_shop()
    _finalized_at_once(shop, _drafts(shop))

    numbers = Invoice.objects.order_by("sequence").values_list("number", flat=True)
    assert list(numbers) == ["DE-INV-000001", "DE-INV-000002", "DE-INV-000003"]
    assert list(checks.numbers_gapless()) == []


# Nobody reads again what was read before the lock.
_READ_FIRST = """
WITH seen AS MATERIALIZED (
     SELECT n.id, n.last_number, e.series_prefix, pg_sleep(0.2)
       FROM number_series n JOIN legal_entity e ON e.id = n.entity_id
      WHERE n.entity_id = %s AND n.code = %s)
UPDATE number_series n SET last_number = seen.last_number + 1 FROM seen WHERE n.id = seen.id
RETURNING n.last_number, seen.series_prefix
"""


@pytest.mark.django_db(transaction=True)
def test_canary_without_the_lock_two_take_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # It shows that the gap is wide enough for the test above to mean something.
    shop = open_shop()
    drafts = _drafts(shop)
    monkeypatch.setattr(locks, "_TAKE", _READ_FIRST)
    results = _finalized_at_once(shop, drafts)

    # Both read the same number: the database's own rule is the net below.
    assert [one for one in results if isinstance(one, DatabaseError)]
    assert list(checks.numbers_gapless()) == []
