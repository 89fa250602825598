"""Every figure of a report is the sum of the postings behind it; all are one set of books."""

from datetime import date

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from credits.models import CreditGrant
from credits.services.grants import expire_grant
from invoicing.models import Invoice
from metering.models import Customer
from revrec.models import AccountingPeriod
from revrec.reporting import Table
from revrec.selectors.reports import trial_balance
from revrec.selectors.tables import REPORTS, drill_total
from revrec.services.months import ensure_period
from tests.revrec.builders import Shop, close_month, on, recognise

pytestmark = pytest.mark.django_db


def _year_of_a_shop(shop: Shop) -> list[Customer]:
    """Let three customers live through January to March: fees, packs, overage, notes, expiry."""
    first = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    second = shop.subscriber("2026-01-15", currency="EUR", fee=9_000, overage="0.02")
    third = shop.customer()
    shop.grant(third, "1000", "2026-01-10", price=10_000, expires="2026-02-20")
    shop.grant(third, "500", "2026-01-12", price=6_000)
    shop.subscribe(third, "2026-01-10", overage="0.05")
    shop.use(first, "700", "2026-01-20T10")
    shop.use(third, "300", "2026-01-21T10")
    shop.pay(Invoice.objects.get(customer=first), "2026-01-25", amount=2_000)
    for customer in (first, second, third):
        recognise(customer, "2026-01-31T23")
    close_month("2026-01-01", "2026-02-01")
    shop.use(first, "50", "2026-01-29T10")  # Late.
    shop.use(third, "400", "2026-02-05T10")
    shop.renew("2026-02-16")
    shop.credit(Invoice.objects.filter(customer=second).earliest("pk"), 3_000, "goodwill",
                "2026-02-12")  # fmt: skip
    grant = CreditGrant.objects.get(customer=third, price_minor=10_000)
    expire_grant(grant=grant, reason_code="agreed", by=shop.maker, at=on("2026-02-20"))
    for customer in (first, second, third):
        recognise(customer, "2026-02-28T23")
    return [first, second, third]


def _total(table: Table, column: str, currency: str) -> int:
    return sum(r.figures[column].amount_minor for r in table.rows if r.currency == currency)


def _ledger(period: AccountingPeriod, prefixes: tuple[str, ...], currency: str) -> int:
    rows = trial_balance(period.start_on, period.end_on)
    return sum(
        r.closing_minor for r in rows if r.account.startswith(prefixes) and r.currency == currency
    )


def test_every_figure_is_the_sum_of_its_postings_and_reports_agree(shop: Shop) -> None:
    _year_of_a_shop(shop)

    for start in (date(2026, 1, 1), date(2026, 2, 1)):
        period = ensure_period(start)
        tables = {name: report.build(period) for name, report in REPORTS.items()}
        for name, table in tables.items():
            keys = [row.key for row in table.rows]
            assert len(keys) == len(set(keys)), name
            for row in table.rows:
                assert list(row.figures) == list(table.figure_names), name
                assert list(row.labels) == list(table.label_names), name
                for column, figure in row.figures.items():
                    if figure.drill is not None:
                        assert drill_total(figure.drill) == figure.amount_minor, (name, row, column)

        for currency in ("USD", "EUR"):
            deferred = -_ledger(period, ("2100", "2120"), currency)
            moved = [r for r in trial_balance(start, period.end_on) if r.currency == currency]
            revenue = sum(
                r.credit_minor - r.debit_minor for r in moved if r.account.startswith("4")
            )
            assert deferred > 0
            assert _total(tables["rpo"], "total", currency) == deferred
            assert _total(tables["deferred_by_expiry"], "amount", currency) == deferred
            assert _total(tables["deferred_rollforward"], "closing", currency) == deferred
            assert _total(tables["deferred_rollforward"], "other", currency) == 0
            assert _total(tables["unbilled"], "amount", currency) == _ledger(
                period, ("1200",), currency
            )
            assert _total(tables["receivable_ageing"], "total", currency) == _ledger(
                period, ("1100",), currency
            )
            assert _total(tables["receivable_ageing"], "no_invoice", currency) == 0
            assert _total(tables["revenue_by_customer"], "total", currency) == revenue
            assert _total(tables["revenue_by_contract"], "amount", currency) == revenue
            assert _total(tables["disaggregation"], "amount", currency) == revenue
            assert _total(tables["revenue_by_product"], "amount", currency) == revenue
            assert _total(tables["opening_liability_revenue"], "amount", currency) <= _total(
                tables["deferred_rollforward"], "opening", currency
            )
            for row in tables["waterfall"].rows:
                parts = [f.amount_minor for name, f in row.figures.items() if name != "price"]
                assert sum(parts) == row.figures["price"].amount_minor


def test_february_says_what_was_january_s(shop: Shop) -> None:
    _year_of_a_shop(shop)
    february = ensure_period(date(2026, 2, 1))

    prior = REPORTS["prior_period_revenue"].build(february)
    opening = REPORTS["opening_liability_revenue"].build(february)

    # 50 credits at 0.01, used on 29 January and known after the close.
    assert [(r.labels, r.currency, r.figures["amount"].amount_minor) for r in prior.rows] == [
        ({"stream": "Overage", "service_month": "2026-01"}, "USD", 50)
    ]
    amounts = {(r.labels["stream"], r.currency): r.figures["amount"].amount_minor
               for r in opening.rows}  # fmt: skip
    # The pack of 100.00 had 70.00 left: 400 used earn 40.00, 300 expired 30.00.
    assert amounts["Prepaid usage", "USD"] == 4_000
    assert amounts["Breakage", "USD"] == 3_000


def test_ageing_counts_days_after_the_due_date(shop: Shop) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    invoice = Invoice.objects.get(customer=customer)
    assert invoice.due_on is not None
    recognise(customer, "2026-04-30T23")
    rows = {}

    for month in (1, 2, 3, 4):
        table = REPORTS["receivable_ageing"].build(ensure_period(date(2026, month, 1)))
        [row] = table.rows
        rows[month] = next(n for n, f in row.figures.items() if f.amount_minor)

    overdue = [(date(2026, m, d) - invoice.due_on).days for m, d in ((1, 31), (4, 30))]
    names = {0: "not_due", 30: "1_to_30", 60: "31_to_60", 90: "61_to_90"}
    expected = [next((n for e, n in names.items() if days <= e), "over_90") for days in overdue]
    assert [rows[1], rows[4]] == expected


@pytest.mark.parametrize("name", list(REPORTS))
def test_a_month_without_anything_has_every_report(name: str) -> None:
    table = REPORTS[name].build(ensure_period(date(2026, 1, 1)))

    assert table.rows == []
    assert "currency" in table.header


@pytest.fixture
def client_of_books(db: None) -> Client:
    _, token = create_api_key(name="books", scopes=["invoices:read"], at=on("2026-01-01"))
    return Client(headers={"authorization": f"Bearer {token}"})


def test_a_figure_is_walked_down_over_the_api(shop: Shop, client_of_books: Client) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-03")

    [row] = client_of_books.get("/v1/reports/revenue_by_customer?period=2026-01").json()["data"]
    answer = client_of_books.get(
        "/v1/reports/revenue_by_customer/postings",
        {"period": "2026-01", "row": f"{customer.external_id}:USD", "column": "total"},
    ).json()

    assert (row["customer"], row["base_fees"], row["total"]) == (
        customer.external_id, "2.00", "2.00",
    )  # fmt: skip
    assert [(p["account"], p["amount"], p["effective_on"]) for p in answer["data"]] == [
        ("4000", "-1.00", "2026-01-02"),
        ("4000", "-1.00", "2026-01-01"),
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("reports/nothing?period=2026-01", 404),
        ("reports/rpo?period=2026-01", 404),  # Nothing was posted.
        ("reports/rpo/postings?period=2026-01&row=x&column=y", 404),
        ("reports/rpo/postings?period=2026-01", 422),
    ],
)
def test_what_there_is_not_is_said(client_of_books: Client, path: str, status: int) -> None:
    assert client_of_books.get(f"/v1/{path}").status_code == status
