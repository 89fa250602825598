"""The page of usage: days, months and hours as the customer's calendar cuts them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_project.kernel.models import User
from metering.models import Customer
from metering.services.aggregate import aggregate_batches
from tests.console.backoffice import client_of, page_of
from tests.metering.builders import a_customer, a_meter, an_event, send

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def berlin(settings: Any, db: None) -> Customer:
    """Return a customer in Berlin that used 100 tokens in each hour of five UTC days."""
    start = datetime(2026, 10, 23, tzinfo=UTC)
    end = start + 120 * HOUR
    settings.BILLING_CLOCK = end.isoformat()
    customer = a_customer(start)
    a_meter(start)
    Customer.objects.filter(pk=customer.pk).update(time_zone="Europe/Berlin")
    send(end, *(an_event(f"e{i}", timestamp=start + i * HOUR) for i in range(120)))
    aggregate_batches(at=end)
    return customer


def _asked(user: User, **changes: str) -> str:
    asked = {
        "customer": "acme", "meter": "tokens_sum", "first_on": "2026-10-24",
        "last_on": "2026-10-26", "by": "day", "split": "", **changes,
    }  # fmt: skip
    return client_of(user).get(reverse("console:usage"), asked).content.decode()


def test_a_day_of_25_hours_is_one_day(berlin: Customer, auditor: User) -> None:
    page = _asked(auditor)

    assert "2026-10-25, Sunday" in page
    assert "2026-10-24 22:00:00" in page
    assert '<span class="bo-tag bo-tag-wait">25 h</span>' in page
    assert "2,500" in page
    assert page.count("2,400") == 2
    assert "7,300" in page


def test_months_and_hours_are_shown_as_far_as_they_were_asked_for(
    berlin: Customer, auditor: User
) -> None:
    month = _asked(auditor, by="month")
    hours = _asked(auditor, by="hour", first_on="2026-10-25", last_on="2026-10-25", split="model")

    assert ("2026-10<" in month, "73 h" in month, "7,300" in month) == (True, True, True)
    assert "2026-10-25 02:00 (UTC+0200)" in hours
    assert "2026-10-25 02:00 (UTC+0100)" in hours
    assert hours.count("<td>haiku</td>") == 25


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"customer": "nobody"}, "No customer has this external id."),
        ({"split": "mood"}, "has no dimension mood"),
        ({"first_on": "2026-10-27"}, "By day, at most 366 days are shown."),
        ({"first_on": "2026-08-01", "by": "hour"}, "By hour, at most 31 days are shown."),
        ({"first_on": "x"}, "Enter a valid date."),
        ({"first_on": "2026-10-01", "last_on": "2026-10-02"}, "Nothing was used in this span."),
    ],
)
def test_what_cannot_be_shown_is_said(
    berlin: Customer, auditor: User, changes: dict[str, str], words: str
) -> None:
    assert words in _asked(auditor, **changes)


def test_a_customers_page_leads_to_it(berlin: Customer, auditor: User) -> None:
    url = f"{reverse('console:usage')}?customer=acme"
    client = client_of(auditor)

    assert url in client.get(page_of(berlin)).content.decode()
    assert 'value="acme"' in client.get(url).content.decode()


@pytest.mark.parametrize(
    ("zone", "first"), [("Asia/Kolkata", "23:30"), ("Asia/Kathmandu", "23:45")]
)
def test_hours_of_a_zone_that_begins_inside_one_are_shown_whole(
    berlin: Customer, auditor: User, zone: str, first: str
) -> None:
    Customer.objects.filter(pk=berlin.pk).update(time_zone=zone)

    page = _asked(auditor, by="hour", first_on="2026-10-25", last_on="2026-10-25")

    assert f"2026-10-24 {first} (UTC+05" in page
    assert "whole hours" not in page


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1999-12-31"])
@pytest.mark.parametrize("by", ["day", "month", "hour"])
def test_days_beyond_any_calendar_of_ours_are_refused(
    berlin: Customer, auditor: User, day: str, by: str
) -> None:
    assert "Days lie between" in _asked(auditor, by=by, first_on=day, last_on=day)
