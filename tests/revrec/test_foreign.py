"""Books in one currency, sales in another: through the services, with approved rates."""

import csv
import io
from datetime import date
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing_project.kernel.approvals import Proposal, approve
from billing_project.kernel.books import run_checks
from billing_project.kernel.drafts import draft, example_of, submit
from billing_project.kernel.errors import Conflict, Invalid, NotFound
from credits.models import CreditGrant
from credits.services.clawing import claw_back
from invoicing.crediting import Settlement
from invoicing.models import Invoice
from invoicing.services.entities import EntityTerms, propose_legal_entity
from metering.models import Customer
from revrec.journal_forms import Detail, Form
from revrec.models import ExchangeRate, ExchangeSheet, JournalEntry, Posting
from revrec.selectors.exports import Stretch, file_pieces
from revrec.selectors.reports import functional_balance, signed_balance
from revrec.selectors.tables import REPORTS, drill_total
from revrec.selectors.verifying import chain_faults
from revrec.services.exchange import RateInput, propose_rates
from revrec.services.exports import export_journal
from tests.revrec.builders import (
    LONG_AGO,
    Shop,
    balances,
    close_month,
    entries,
    on,
    recognise,
    signed,
)

pytestmark = pytest.mark.django_db
TERMS = EntityTerms(
    code="main", series_prefix="", legal_name="Example Inc.", address="1 Main St", country="US",
    currency="USD",
)  # fmt: skip
RATES = {"2026-01-01": "1.10", "2026-01-10": "1.20", "2026-01-20": "1.25", "2026-02-01": "1.00"}


def _words(at: str = "2025-01-01") -> Proposal:
    return Proposal("rates", "wanted", "done", "test", on(at))


def _rates(shop: Shop, rates: dict[str, str], end: str = "2026-12-31", **how: object) -> None:
    sheet = propose_rates(
        source="a bank", end_on=date.fromisoformat(end), proposal=_words(), by=shop.maker,
        at=how.get("at", LONG_AGO),  # type: ignore[arg-type]
        rates=[RateInput("EUR", "USD", date.fromisoformat(day), Decimal(value))
               for day, value in rates.items()],
    )  # fmt: skip
    if how.get("is_approved", True):
        change = sheet.policy_change
        approve(change=change, by=shop.approver, reason="read", at=change.proposed_at or LONG_AGO)


def _books_in_dollars(shop: Shop) -> None:
    version = propose_legal_entity(terms=TERMS, proposal=_words(), by=shop.maker, at=LONG_AGO)
    approve(change=version.policy_change, by=shop.approver, reason="so", at=LONG_AGO)


@pytest.fixture
def dollars(shop: Shop) -> Shop:
    """Return a shop whose books are kept in dollars, with rates for January and February."""
    _books_in_dollars(shop)
    _rates(shop, RATES)
    return shop


def _worth(customer: Customer | None = None) -> dict[str, int]:
    """Sum by account what postings are worth in the books' currency."""
    sums: dict[str, int] = {}
    postings = Posting.objects.all()
    if customer is not None:
        postings = postings.filter(customer=customer)
    for posting in postings:
        sums[posting.account_id] = sums.get(posting.account_id, 0) + posting.worth_minor
    return {account: total for account, total in sorted(sums.items()) if total}


def _worths(entry: JournalEntry) -> dict[str, int]:
    return {posting.account_id: posting.worth_minor for posting in entry.postings.all()}


@pytest.mark.usefixtures("books_hold")
def test_own_15_credits_sold_in_euros_earn_at_the_rate_of_their_sale(dollars: Shop) -> None:
    customer = dollars.subscriber("2026-01-01", currency="EUR")
    pack = dollars.pack(customer, "100", 10_000, "2026-01-02")
    dollars.pay(pack, "2026-01-02")
    dollars.use(customer, "40", "2026-01-10T09")
    grant = CreditGrant.objects.get(customer=customer)
    claw_back(grant=grant, reason="refund", reference="re", by=dollars.maker, at=on("2026-01-20"))
    note = dollars.credit(pack, 6_000, "cancel_future", "2026-01-20T01", Settlement(6_000))
    dollars.refund(note, 6_000, "2026-01-20T02")

    recognise(customer, "2026-01-21")

    [used] = entries(customer, "credits_used")
    assert (signed(used), _worths(used)) == (
        {"2100": 4_000, "4010": -4_000}, {"2100": 4_400, "4010": -4_400},
    )  # fmt: skip
    [noted] = entries(customer, "credit_note_issued")
    assert _worths(noted) == {"2200": -7_500, "4030": 6_600, "7000": 900}
    assert balances(customer) == {"1000": 4_000, "4010": -4_000}
    assert _worth(customer) == {"1000": 3_500, "4010": -4_400, "7000": 900}
    assert list(chain_faults()) == []


@pytest.mark.usefixtures("books_hold")
def test_str_35_and_a_close_between_an_invoice_and_its_payment(dollars: Shop) -> None:
    customer = dollars.subscriber("2026-01-01", currency="EUR", fee=3_100)
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")

    # 31.00 at 1.10 are 34.10, and 38.75 at the closing rate of 1.25; the fee stays at 1.10.
    [valued] = entries(customer, "currency_revalued")
    assert (str(valued.effective_on), signed(valued)) == ("2026-01-31", {"1100": 0, "7000": 0})
    assert _worths(valued) == {"1100": 465, "7000": -465}
    assert _worth(customer) == {"1100": 3_875, "4000": -3_410, "7000": -465}

    dollars.pay(Invoice.objects.get(customer=customer), "2026-02-03")
    recognise(customer, "2026-02-04")
    [paid] = entries(customer, "payment_recorded")
    assert _worths(paid) == {"1000": 3_100, "1100": -3_875, "7000": 775}
    assert _worth(customer) == {"1000": 3_100, "4000": -3_410, "7000": 310}


@pytest.mark.usefixtures("books_hold")
def test_what_was_settled_before_an_earlier_month_closed_ends_with_nothing(dollars: Shop) -> None:
    customer = dollars.subscriber("2026-01-01", currency="EUR", fee=3_100)
    dollars.pay(Invoice.objects.get(customer=customer), "2026-02-01T12")
    recognise(customer, "2026-02-02")
    close_month("2026-01-01", "2026-02-03")
    close_month("2026-02-01", "2026-03-02")

    january, february = entries(customer, "currency_revalued")
    assert _worths(january) == {"1100": 465, "7000": -465}
    assert _worths(february) == {"1100": -465, "7000": 465}
    assert _worth(customer) == {"1000": 3_100, "4000": -3_410, "7000": 310}
    assert balances(customer) == {"1000": 3_100, "4000": -3_100}


def test_without_a_rate_nothing_is_posted_and_the_pair_and_day_are_named(shop: Shop) -> None:
    _books_in_dollars(shop)
    _rates(shop, {"2026-01-05": "1.10"}, end="2026-01-10")
    _rates(shop, {"2026-01-01": "1.10"}, is_approved=False)
    customer = shop.subscriber("2026-01-02", currency="EUR", fee=3_100)

    with pytest.raises(NotFound, match="of EUR to USD on 2026-01-02") as refused:
        recognise(customer, "2026-01-02T09")

    assert refused.value.code == "rate_missing"
    assert not JournalEntry.objects.exists()


def test_a_month_with_foreign_money_waits_for_its_closing_rate(shop: Shop) -> None:
    _books_in_dollars(shop)
    _rates(shop, {"2026-01-01": "1.10"}, end="2026-01-31")
    customer = shop.customer("EUR")
    shop.pack(customer, "10", 1_000, "2026-01-02")
    recognise(customer, "2026-01-03")

    with pytest.raises(Conflict, match="no rate of exchange of EUR to USD on 2026-01-31") as no:
        close_month("2026-01-01", "2026-02-02")

    assert no.value.code == "close_findings"
    _rates(shop, {"2026-01-31": "1.30"})
    close_month("2026-01-01", "2026-02-02")
    assert _worth(customer) == {"1100": 1_300, "2100": -1_100, "7000": -200}


@pytest.mark.usefixtures("books_hold")
def test_books_in_the_currency_of_the_sale_are_left_as_they_were(dollars: Shop) -> None:
    customer = dollars.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")

    assert not Posting.objects.exclude(functional_currency=None).exists()
    assert entries(customer, "currency_revalued") == []
    assert balances(customer) == _worth(customer)


@pytest.mark.usefixtures("books_hold")
def test_books_of_before_are_translated_once_where_they_stand(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", currency="EUR", fee=3_100)
    shop.pay(shop.pack(customer, "100", 10_000, "2026-01-02"), "2026-01-02")
    shop.use(customer, "20", "2026-01-03T09")
    recognise(customer, "2026-01-04")
    assert _worth(customer) == balances(customer)
    _books_in_dollars(shop)
    _rates(shop, {"2026-01-04": "1.25"})

    shop.use(customer, "30", "2026-01-20T09")
    recognise(customer, "2026-01-21")

    [translated] = entries(customer, "books_translated")
    sums: dict[str, int] = {}
    for posting in translated.postings.all():
        assert posting.amount_minor == 0
        sums[posting.account_id] = sums.get(posting.account_id, 0) + posting.worth_minor
    assert sums == {  # All that stood there, at 1.25.
        "1000": 12_500, "1100": 3_875, "2100": -10_000, "2120": -3_500, "4000": -375,
        "4010": -2_500,
    }  # fmt: skip
    used = entries(customer, "credits_used")[-1]
    assert _worths(used) == {"2100": 3_750, "4010": -3_750}
    assert len(entries(customer, "books_translated")) == 1


@pytest.mark.usefixtures("books_hold")
def test_the_trial_balance_in_the_books_currency_balances_and_opens_its_postings(
    dollars: Shop,
) -> None:
    euros = dollars.subscriber("2026-01-01", currency="EUR", fee=3_100)
    ours = dollars.subscriber("2026-01-01", fee=6_200)
    recognise(euros, "2026-02-01")
    recognise(ours, "2026-02-01")
    period = close_month("2026-01-01", "2026-02-02")

    rows = functional_balance(period.start_on, period.end_on)
    closing = {row.account: row.closing_minor for row in rows}
    assert {row.currency for row in rows} == {"USD"}
    assert closing == {"1100": 10_075, "2120": 0, "4000": -9_610, "7000": -465}
    assert sum(closing.values()) == 0
    table = REPORTS["functional_trial_balance"].build(period)
    for row in table.rows:
        for name, figure in row.figures.items():
            assert figure.drill is not None
            assert drill_total(figure.drill) == figure.amount_minor, (row, name)
    stored = [row for row in period.trial_balance if "of_currency" in row]
    assert {row["account"]: row["closing_minor"] for row in stored} == {
        "1100": 3_875, "2120": 0, "4000": -3_410, "7000": -465,
    }  # fmt: skip
    assert signed_balance(period) == period.trial_balance


def test_a_later_sheet_goes_before_an_earlier_one_and_a_posted_entry_stays(dollars: Shop) -> None:
    customer = dollars.customer("EUR")
    dollars.pack(customer, "10", 1_000, "2026-01-02")
    recognise(customer, "2026-01-02T09")
    _rates(dollars, {"2026-01-02": "9"}, end="2026-01-03", at=on("2026-01-02T10"))

    dollars.pack(customer, "10", 1_000, "2026-01-02T11")
    recognise(customer, "2026-01-02T12")
    dollars.pack(customer, "10", 1_000, "2026-01-03")
    recognise(customer, "2026-01-03T01")

    found = [_worths(entry)["1100"] for entry in entries(customer, "invoice_finalized")]
    assert found == [1_100, 9_000, 1_100]
    assert not [result for result in run_checks() if result.findings]


@pytest.mark.parametrize(
    "rates",
    [
        [],
        [RateInput("EUR", "EUR", date(2026, 1, 1), Decimal(1))],
        [RateInput("EUR", "EURO", date(2026, 1, 1), Decimal(1))],
        [RateInput("EUR", "USD", date(2026, 1, 1), Decimal(0))],
        [RateInput("EUR", "USD", date(2026, 1, 1), Decimal("NaN"))],
        [RateInput("EUR", "USD", date(2026, 1, 1), Decimal("1.0000000000001"))],
        [RateInput("EUR", "USD", date(2026, 3, 1), Decimal(1))],
        [RateInput("EUR", "USD", date(2026, 1, 1), Decimal(1))] * 2,
    ],
)
def test_a_sheet_of_what_are_no_rates_is_refused(shop: Shop, rates: list[RateInput]) -> None:
    with pytest.raises(Invalid):
        propose_rates(
            source="a bank", end_on=date(2026, 2, 1), rates=rates, proposal=_words(),
            by=shop.maker, at=LONG_AGO,
        )  # fmt: skip


def test_a_sheet_is_drafted_and_no_rate_joins_it_later(shop: Shop) -> None:
    change = draft(
        kind="exchange_rates", content=example_of("exchange_rates"), proposal=_words(),
        by=shop.maker, at=LONG_AGO,
    )  # fmt: skip
    submit(change=change, by=shop.maker, at=LONG_AGO)
    sheet = ExchangeSheet.objects.get()
    assert sheet.rates.count() == 2
    approve(change=sheet.policy_change, by=shop.approver, reason="read", at=LONG_AGO)

    with pytest.raises(DatabaseError), transaction.atomic():
        ExchangeRate.objects.create(
            sheet=sheet, currency="GBP", functional_currency="USD", from_on=date(2026, 1, 1),
            value=2,
        )  # fmt: skip
    with pytest.raises(DatabaseError), transaction.atomic():
        sheet.rates.update(value=3)


def test_an_entity_keeps_its_books_in_one_currency(shop: Shop) -> None:
    _books_in_dollars(shop)

    with pytest.raises(Conflict, match="in USD, for good"):
        propose_legal_entity(
            terms=EntityTerms(**{**vars(TERMS), "currency": "EUR"}), proposal=_words(),
            by=shop.maker, at=LONG_AGO,
        )  # fmt: skip


def test_an_export_says_what_each_line_is_worth_and_totals_in_both(dollars: Shop) -> None:
    """The euros of a pack, sold at 1.10 and used at 1.20; what the close revalued comes along."""
    customer = dollars.customer("EUR")
    dollars.pack(customer, "10", 1_000, "2026-01-02")
    recognise(customer, "2026-01-12")
    close_month("2026-01-01", "2026-02-02")

    export = export_journal(
        form=Form.CSV, detail=Detail.ENTRY, currency="EUR", key="x", by=dollars.maker,
        at=on("2026-02-03"),
    )  # fmt: skip

    rows = list(csv.DictReader(io.StringIO(b"".join(file_pieces(Stretch.of(export))).decode())))
    sides = {
        name: sum(int(row[name].replace(".", "") or 0) for row in rows)
        for name in ("debit", "credit", "books_debit", "books_credit")
    }
    assert {row["books_currency"] for row in rows} == {export.books_currency} == {"USD"}
    assert sides == {
        "debit": export.debit_minor, "credit": export.debit_minor,
        "books_debit": export.books_debit_minor, "books_credit": export.books_credit_minor,
    }  # fmt: skip
    posted = Posting.objects.filter(currency="EUR")
    assert len(rows) == posted.count()
    assert export.books_debit_minor == sum(max(one.worth_minor, 0) for one in posted)
    assert any(row["debit"] == "0.00" for row in rows)  # A difference of exchange.


@pytest.mark.parametrize(
    ("worths", "words"),
    [
        (["110", "-109"], "balance in the currency of its books"),
        (["110", "NULL"], "says of 1 postings in 2"),
    ],
)
def test_postgresql_refuses_an_entry_that_does_not_balance_in_its_books(
    dollars: Shop, worths: list[str], words: str
) -> None:
    customer = dollars.customer("EUR")
    dollars.pack(customer, "10", 1_000, "2026-01-02")
    recognise(customer, "2026-01-02T09")
    with pytest.raises(DatabaseError, match=words), transaction.atomic():
        _insert_entry(worths)


def _insert_entry(worths: list[str]) -> None:
    """Write an entry of 1.00 EUR as no service would."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO journal_entry (period_id, effective_on, kind, description, customer_id,"
            " posting_count, source_key, recorded_at, recorded_by_id, chain_position,"
            " previous_sha256, entry_sha256, created_xid) SELECT period_id, effective_on, kind, '',"
            " customer_id, 2, 'x', recorded_at, recorded_by_id, 99, 'x', 'y', 0"
            " FROM journal_entry LIMIT 1 RETURNING id"
        )
        pk = cursor.fetchone()[0]
        for place, (amount, worth) in enumerate(zip((100, -100), worths, strict=True), 1):
            code = "NULL" if worth == "NULL" else "'USD'"
            cursor.execute(
                "INSERT INTO posting (entry_id, position, account_id, amount_minor, currency,"
                " functional_minor, functional_currency)"
                f" VALUES ({pk}, {place}, '1100', {amount}, 'EUR', {worth}, {code})"
            )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_worth_that_no_rate_makes_is_found(dollars: Shop) -> None:
    customer = dollars.subscriber("2026-01-01", currency="EUR", fee=3_100)
    recognise(customer, "2026-02-01")
    close_month("2026-01-01", "2026-02-02")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE posting DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE posting SET functional_minor = functional_minor + 1"
            " WHERE account_id = '1100' AND amount_minor = 3100"
        )
        cursor.execute("ALTER TABLE posting ENABLE ALWAYS TRIGGER keep_rows")

    found = {result.name for result in run_checks() if result.findings}

    assert {
        "revrec.books_balance", "revrec.worths_tie", "revrec.closing_rates_tie",
        "revrec.chain_is_intact", "revrec.closes_stand",
    } <= found  # fmt: skip
