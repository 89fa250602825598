"""The page of completeness: where all of a period's usage is, and what nothing explains."""

import csv
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from credits.services.periods import open_billing_period
from tests.console.backoffice import client_of, page_of
from tests.console.chain import CLOSED_AT, Chain, run_chain
from tests.invoicing.builders import END, START, Shop, customer_of, use
from tests.worlds import standing

CLOCK = CLOSED_AT.isoformat()


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Chain]:
    with override_settings(BILLING_CLOCK=CLOCK), standing(run_chain, django_db_blocker) as chain:
        yield chain


@pytest.fixture
def chain(made: Chain, db: None, settings: Any) -> Chain:
    settings.BILLING_CLOCK = CLOCK
    return deepcopy(made)


@pytest.fixture
def shop(chain: Chain) -> Shop:
    return chain.shop


def _page(user: User, **query: str) -> str:
    client = client_of(user)
    return client.get(reverse("console:completeness"), query).content.decode()


def _rows(user: User, **query: str) -> list[dict[str, str]]:
    query = {"month": f"{START:%Y-%m}", "customer": "acme", "format": "csv", **query}
    answer: Any = client_of(user).get(reverse("console:completeness"), query)
    return list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))


def test_what_was_used_is_covered_and_billed(chain: Chain, auditor: User) -> None:
    # 150 credits: 100 included, 50 of overage on the invoice. The next period is untouched.
    first = _rows(auditor)[0]
    assert (first["windows_recorded"], first["windows_rated"]) == ("2", "2")
    assert (first["credits_charged"], first["credits_covered"]) == ("150", "100")
    assert (first["credits_billed"], first["reasons"]) == ("50", "")
    assert (first["windows_unexplained"], first["credits_unexplained"]) == ("0", "0")

    body = _page(auditor, month=f"{START:%Y-%m}")

    assert "everything has its place" in body
    assert page_of(chain.overage.customer) in body


def test_usage_without_a_rate_or_a_period_is_left_out_for_its_reason(
    chain: Chain, auditor: User
) -> None:
    use(chain.shop, 7, START + timedelta(days=3), "early", known_at=CLOSED_AT)
    use(chain.shop, 7, START - timedelta(days=3), "before", known_at=CLOSED_AT)

    body = _page(auditor, month=f"{START:%Y-%m}", customer="acme")

    assert "Outside every billing period" in body
    assert "acme</a>: 1 usage window<" in body


def test_a_charge_that_went_missing_is_unexplained(chain: Chain, auditor: User) -> None:
    with connection.cursor() as cursor:  # As no service and no role of the application can.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("invoice_line", "usage_window"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        cursor.execute(
            "UPDATE invoice_line SET quantity = 30, amount_minor = 36 WHERE kind = 'overage'"
        )
        cursor.execute(
            "UPDATE usage_window SET start_at = start_at + interval '90 days'"
            " WHERE id = (SELECT min(id) FROM usage_window)"
        )

    (first,) = _rows(auditor)
    body = _page(auditor, month=f"{START:%Y-%m}")

    assert (first["windows_unexplained"], first["credits_unexplained"]) == ("-1", "20")
    assert "-1 usage windows, 20 credit</span>" in body
    assert "everything has its place" not in body


def test_an_hour_in_which_two_periods_begin_is_of_the_first(shop: Shop, auditor: User) -> None:
    card, customer = shop.rate_card, customer_of(shop, "early")
    ten, forty = START + timedelta(minutes=10), START + timedelta(minutes=40)
    for number, (start, end) in enumerate([(ten, forty), (forty, END)]):
        open_billing_period(
            customer=customer, rate_card=card, period=Period(start, end),
            source_key=f"hand:{number}", at=START,
        )  # fmt: skip
    use(shop, 7, START + timedelta(minutes=15), "req-1", "early")

    rows = _rows(auditor, customer="early")

    assert [row["windows_recorded"] for row in rows] == ["1", "0"]
    assert [row["windows_unexplained"] for row in rows] == ["0", "0"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"month": "2026-13"}, "There is no such month."),
        ({"month": "November"}, "Write a month as 2026-11."),
        ({"month": "0000-01"}, "There is no such month."),
        ({"month": "9999-12"}, "There is no such month."),
        ({"month": "2026-10", "customer": "nobody"}, "No customer has this external id."),
        ({"month": "1999-01"}, "No billing period touches this month."),
    ],
)
def test_what_cannot_be_asked_for_is_said_at_its_field(
    chain: Chain, auditor: User, query: dict[str, str], words: str
) -> None:
    assert words in _page(auditor, **query)
