"""The pages of the reports: a list, a month's table with its picture, what is behind a figure."""

from datetime import date
from typing import Any

import pytest
from django.urls import reverse
from django.utils.html import escape

from billing_project.kernel.models import User
from revrec.selectors.tables import REPORTS
from revrec.services.months import ensure_period
from tests.console.backoffice import client_of
from tests.revrec.builders import Shop, open_shop, recognise

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(maker: User, approver: User) -> Shop:
    return open_shop(maker, approver)


def _url(name: str, **query: str) -> str:
    return reverse("console:report", args=[name], query=query)


def test_every_report_stands_in_the_list_and_opens(shop: Shop, auditor: User) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100, overage="0.01")
    shop.grant(customer, "1000", "2026-01-10", price=10_000, expires="2026-08-20")
    recognise(customer, "2026-01-03")
    client = client_of(auditor)

    listed = client.get(reverse("console:reports")).content.decode()

    for name, report in REPORTS.items():
        assert reverse("console:report", args=[name]) in listed
        page = client.get(_url(name, period="2026-01"))
        assert (page.status_code, page.context["report"]) == (200, report)
        assert escape(report.explains) in page.content.decode()


def test_a_figure_opens_the_postings_that_it_is_the_sum_of(shop: Shop, auditor: User) -> None:
    customer = shop.subscriber("2026-01-01", fee=3_100)
    recognise(customer, "2026-01-04")
    client = client_of(auditor)

    page = client.get(_url("revenue_by_customer", period="2026-01"))
    [line] = page.context["lines"]
    total = next(cell for cell in line.cells if cell.text == "3.00")
    behind: dict[str, Any] = client.get(total.url).context["behind"]

    assert (behind["amount"], behind["total"], behind["count"]) == ("3.00 USD", "3.00 USD", "3")
    assert [row["amount"] for row in behind["rows"]] == ["-1.00 USD"] * 3
    assert behind["rows"][0]["service"] == "2026-01-03"


def test_a_trial_balance_is_added_up_and_balances_of_another_kind_are_not(
    shop: Shop, auditor: User
) -> None:
    recognise(shop.subscriber("2026-01-01", fee=3_100), "2026-01-04")
    client = client_of(auditor)

    totals = client.get(_url("trial_balance", period="2026-01")).context["totals"]

    assert totals == [("USD", ["-", "34.00", "34.00", "-"])]
    assert client.get(_url("contract_balances", period="2026-01")).context["totals"] == []


def test_a_report_is_downloaded_as_a_file(shop: Shop, auditor: User) -> None:
    recognise(shop.subscriber("2026-01-01", fee=3_100), "2026-01-04")

    answer = client_of(auditor).get(_url("rpo", period="2026-01", format="csv"))

    assert answer["Content-Disposition"] == 'attachment; filename="rpo-2026-01.csv"'
    assert answer.content.decode().splitlines()[0] == (
        "stream,currency,up_to_12_months,13_to_24_months,over_24_months,total"
    )


def test_a_month_that_nobody_knows_falls_back_to_the_newest(auditor: User) -> None:
    client = client_of(auditor)
    assert "Nothing was posted yet" in client.get(_url("rpo")).content.decode()
    ensure_period(date(2026, 1, 1))

    assert str(client.get(_url("rpo", period="nonsense")).context["period"]) == "2026-01"
    assert client.get(_url("nothing")).status_code == 404
