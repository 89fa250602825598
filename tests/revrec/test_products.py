"""A posting's product is what was sold for the days served, whatever its customer has today."""

from dataclasses import replace

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from invoicing.models import ChangeKind
from invoicing.phases import Moment
from invoicing.services.changes import Asked, change_subscription
from invoicing.services.invoices import finalize_due
from invoicing.services.plans import create_plan
from metering.models import Customer
from metering.services.customers import update_customer
from revrec.models import Posting
from revrec.selectors.products import with_product
from revrec.selectors.tables import REPORTS
from revrec.services.periods import ensure_period
from tests.revrec.builders import LONG_AGO, Shop, on, recognise

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer(shop: Shop) -> Customer:
    """Return one who goes over to a dearer plan in the middle of January, and bought a pack."""
    customer = shop.customer()
    subscription = shop.subscribe(customer, "2026-01-01", fee=3_100)
    shop.use(customer, "10", "2026-01-05T10")
    shop.pay(shop.pack(customer, "100", 1_000, "2026-01-08"), "2026-01-08")
    shop.use(customer, "40", "2026-01-09T10")
    dearer = create_plan(code="dearer", name="Dearer", by=shop.maker, at=LONG_AGO)
    version = replace(shop, plan=dearer).plan_version(fee=6_200)
    asked = Asked(ChangeKind.PLAN, Moment.NOW, "upgrade", "up", version)
    change_subscription(subscription=subscription, asked=asked, by=shop.maker, at=on("2026-01-16"))
    finalize_due(by=shop.maker, at=on("2026-01-16"))
    recognise(customer, "2026-02-01")
    return customer


def test_each_day_is_of_the_plan_that_was_sold_for_it(customer: Customer) -> None:
    fees = with_product(Posting.objects.filter(account_id="4000", customer=customer))

    of_day = {
        row.service_start_on: str(vars(row)["product"])
        for row in fees
        if row.service_start_on is not None
    }
    changed_on = on("2026-01-16").date()
    assert {product for day, product in of_day.items() if day < changed_on} == {"plan"}
    assert {product for day, product in of_day.items() if day >= changed_on} == {"dearer"}


def test_credits_sold_by_themselves_and_overage_name_what_they_are_of(customer: Customer) -> None:
    def products(account: str) -> set[str]:
        rows = with_product(Posting.objects.filter(account_id=account, customer=customer))
        return {str(vars(row)["product"]) for row in rows}

    assert products("4010") == {"credit_pack:credit"}
    assert products("4020") == {"plan"}


def test_the_report_and_the_api_say_the_same(customer: Customer) -> None:
    table = REPORTS["revenue_by_product"].build(ensure_period(on("2026-01-01").date()))
    by_product: dict[str, int] = {}
    for row in table.rows:
        name = row.labels["product"]
        by_product[name] = by_product.get(name, 0) + row.figures["amount"].amount_minor

    # 15 of 31 days at 31.00 and 0.10 of overage; 16 of 31 at 62.00; 40 of 100 credits for 10.00.
    assert by_product == {"plan": 1_510, "dearer": 3_200, "credit_pack:credit": 400}
    _, token = create_api_key(name="books", scopes=["invoices:read"], at=LONG_AGO)
    client = Client(headers={"authorization": f"Bearer {token}"})
    entries = client.get(f"/v1/journal_entries?customer={customer.external_id}&account=4010").json()
    assert {posting["product"] for entry in entries["data"] for posting in entry["postings"]} == {
        "credit_pack:credit"
    }


def test_revenue_stays_where_the_customer_was_when_it_was_recorded(
    shop: Shop, customer: Customer
) -> None:
    shop.renew("2026-02-01")
    update_customer(customer=customer, by=shop.maker, at=on("2026-02-10"), reason="moved",
                    country="FR")  # fmt: skip
    shop.use(customer, "10", "2026-02-12T10")
    recognise(customer, "2026-03-01")

    def regions(name: str, month: str) -> set[str]:
        table = REPORTS[name].build(ensure_period(on(month).date()))
        for row in table.rows:
            figure = row.figures["amount"]
            assert figure.drill is not None
            drilled = Posting.objects.filter(**figure.drill.where)
            assert -sum(posting.amount_minor for posting in drilled) == figure.amount_minor
        return {row.labels["region"] for row in table.rows}

    for name in ("disaggregation", "revenue_by_product"):
        assert regions(name, "2026-01-01") == {"not known"}
        assert regions(name, "2026-02-01") == {"FR"}
    _, token = create_api_key(name="books", scopes=["invoices:read"], at=LONG_AGO)
    client = Client(headers={"authorization": f"Bearer {token}"})
    url = f"/v1/journal_entries?customer={customer.external_id}&period=2026-01&limit=100"
    told = {p["region"] for entry in client.get(url).json()["data"] for p in entry["postings"]}
    assert told == {""}
