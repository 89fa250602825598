"""The home page says what the tables say, in few queries; the books page proves them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing_project.console import figures
from billing_project.console.home import DAYS
from billing_project.kernel import outbox
from billing_project.kernel.books import Finding, Result
from billing_project.kernel.models import AuditEntry, User
from credits.models import UnratedEpisode
from invoicing.crediting import Settlement
from invoicing.models import StripeDifference
from invoicing.selectors import unbilled_overage
from invoicing.services.refunds import record_refund
from invoicing.services.subscriptions import renew_due
from metering.models import Aggregation, Meter
from metering.services.meters import create_meter
from revrec.models import AccountingPeriod
from revrec.selectors.reports import account_totals, revenue_totals, signed_balance
from tests.console.backoffice import client_of, page_of, person
from tests.console.chain import CLOSED_AT as NOW
from tests.console.chain import Chain, run_chain
from tests.invoicing.builders import (
    START,
    cancel,
    issued,
    note_on,
    open_shop,
    paid,
    propose,
    subscribed,
    use,
)

pytestmark = pytest.mark.django_db

MOST_QUERIES = 41  # One for each kind of exception among them; not one for each row.


@pytest.fixture(autouse=True)
def clock(settings: Any) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def chain(db: None) -> Chain:
    return run_chain()


def home(user: User) -> Any:
    return client_of(user).get(reverse("admin:index"))


def test_totals_are_those_of_the_books(chain: Chain, auditor: User) -> None:
    tiles = {tile.title: tile.lines for tile in home(auditor).context["tiles"]}

    (books,) = revenue_totals()
    dollars = {
        "Revenue recognised": books.recognised_minor,
        "Deferred revenue": books.deferred_minor,
        "Overage unbilled": books.unbilled_minor,
        "Receivable": chain.overage.total_minor - chain.note.total_minor,
    }
    assert {name: tiles[name] for name in dollars} == {
        name: ((f"{minor // 100:,}.{minor % 100:02}", "USD"),) for name, minor in dollars.items()
    }
    assert tiles["Usage"] == (("150", "tokens"),)  # 60 + 90
    assert tiles["Credits outstanding"] == ()  # All 100 were drawn.


def test_the_home_page_asks_few_queries_however_much_there_is(chain: Chain, auditor: User) -> None:
    client = client_of(auditor)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(reverse("admin:index")).status_code == 200

    assert len(captured.captured_queries) <= MOST_QUERIES


def test_an_empty_house_has_a_home_page(auditor: User) -> None:
    response = home(auditor)

    assert response.status_code == 200
    assert "Nothing waits" in response.content.decode()


def test_waiting_work_is_shown_with_its_age(chain: Chain, auditor: User) -> None:
    outbox.publish("usage_changed", [chain.subscription.customer_id], NOW - timedelta(minutes=5))

    steps = {step.title: step for step in home(auditor).context["steps"]}

    assert steps["Aggregate"].state == "up to date"
    assert steps["Rate and draw down"].state.endswith("waiting, oldest 5 min")
    assert not steps["Rate and draw down"].is_done
    assert steps["Quarantine"].state == "empty"


def test_usage_without_a_rate_is_counted(
    chain: Chain, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step() -> Any:
        steps = {step.title: step for step in home(auditor).context["steps"]}
        return steps["Usage without a rate"]

    assert (step().state, step().is_done) == ("none", True)
    use(chain.shop, 5, START - timedelta(days=1), "early-1")  # No period is open for it.
    use(chain.shop, 5, START - timedelta(days=2), "early-2")
    assert (step().state, step().is_done) == ("2 windows", False)
    assert step().url == reverse("console:unrated")
    monkeypatch.setattr(figures, "MOST_UNRATED", 1)
    assert step().state == "more than 1 windows"


def test_the_queue_names_what_the_person_can_take_up(
    chain: Chain, approver: User, support: User
) -> None:
    change = propose(chain.shop, "spare").policy_change

    (item,) = [i for i in home(approver).context["queue"] if i.url == page_of(change)]
    (same,) = [i for i in home(support).context["queue"] if i.url == page_of(change)]

    assert item.can
    assert not same.can


def test_the_proposer_is_not_told_to_decide(chain: Chain, approver: User) -> None:
    change = propose(replace(chain.shop, maker=approver), "spare").policy_change

    (item,) = [i for i in home(approver).context["queue"] if i.url == page_of(change)]

    assert not item.can


def test_an_overcharged_period_waits_with_its_invoice(
    chain: Chain, support: User, auditor: User
) -> None:
    cancel(chain.shop, "req-2", NOW)

    (item,) = [i for i in home(support).context["queue"] if "too much" in i.title]
    (same,) = [i for i in home(auditor).context["queue"] if "too much" in i.title]

    # 50 credits x USD 0.012 = USD 0.60 were claimed; USD 0.10 of it was conceded before.
    assert item.title == "Acme was charged 0.50 USD too much"
    assert item.url == page_of(chain.overage)
    assert (item.can, same.can) == (True, False)


def test_a_refund_that_nobody_made_waits_with_its_note(chain: Chain, support: User) -> None:
    fee = paid(chain.shop, issued(chain.shop, chain.subscription.customer, 5000))
    note = note_on(chain.shop, fee, 1000, Settlement(800, 200))

    def due(amount_minor: int, user: User) -> list[tuple[str, str, bool]]:
        record_refund(
            credit_note=note, amount_minor=amount_minor, method="card", reference=user.username,
            refunded_at=START, key=user.username, by=chain.shop.worker, at=NOW,
        )  # fmt: skip
        queue = home(user).context["queue"]
        return [(item.title, item.url, item.can) for item in queue if "back" in item.title]

    assert due(300, support) == [("Acme is to get 5.00 USD back", page_of(note), False)]
    assert due(200, chain.shop.maker) == [("Acme is to get 3.00 USD back", page_of(note), True)]
    assert due(300, person("finance_maker")) == []


def test_a_running_period_is_not_summed_for_the_queue(
    chain: Chain, django_assert_num_queries: Any
) -> None:
    renew_due(by=chain.shop.worker, at=NOW)
    use(chain.shop, 500, NOW, "running")
    assert unbilled_overage()

    with django_assert_num_queries(1):
        assert figures.overcharged() == []


def test_notes_that_nobody_takes_up_are_named_by_topic(chain: Chain, auditor: User) -> None:
    outbox.publish("usage_changed", [1, 2], NOW - timedelta(minutes=16))
    outbox.publish("usage_changed", [3], NOW - timedelta(minutes=14))
    outbox.publish("credits_changed", [4], NOW - timedelta(minutes=14))

    context = home(auditor).context

    (item,) = [i for i in context["queue"] if "stuck" in i.title]
    assert item.title == "2 notes of usage changed stuck"
    assert item.url.endswith("?topic__exact=usage_changed")
    assert client_of(auditor).get(item.url).status_code == 200
    stuck = {step.title: step.state for step in context["steps"] if step.is_stuck}
    assert stuck == {"Rate and draw down": "3 waiting, oldest 16 min: stuck"}


def test_usage_without_a_rate_is_not_called_stuck(chain: Chain, auditor: User) -> None:
    outbox.publish("rating_blocked", [1, 2], NOW - timedelta(minutes=16))
    UnratedEpisode.objects.create(
        meter=Meter.objects.get(), model="small", window_count=2, customer_count=1,
        first_used_at=START, opened_at=NOW - timedelta(minutes=20), seen_at=NOW, quantity=5,
    )  # fmt: skip

    queue = home(auditor).context["queue"]

    (item,) = [i for i in queue if "/unratedepisode/" in i.url]
    assert item.title == "output_tokens: small"
    assert item.note == "2 windows of 1 customer, for 20 min"
    assert not [i for i in queue if "stuck" in i.title]


def test_many_of_one_kind_are_one_line_that_leads_to_their_list(
    chain: Chain, auditor: User
) -> None:
    StripeDifference.objects.bulk_create(
        StripeDifference(
            kind="state", subject=f"charge {n}", owner="finance",
            first_seen_at=NOW - timedelta(hours=n + 1), last_seen_at=NOW,
        )
        for n in range(4)
    )  # fmt: skip

    queue = home(auditor).context["queue"]

    (item,) = [i for i in queue if "/stripedifference/" in i.url]
    assert (item.title, item.note) == ("Differences with Stripe: 4", "the oldest for 4 h")


def test_totals_are_kept_at_a_close_and_only_later_postings_are_added(
    chain: Chain, django_assert_num_queries: Any
) -> None:
    summed = account_totals()
    october = AccountingPeriod.objects.order_by("start_on").first()
    assert october is not None
    october.status, october.soft_closed_at, october.soft_closed_by = "soft", NOW, chain.shop.maker
    october.save()
    october.status, october.closed_at, october.closed_by = "closed", NOW, chain.shop.worker
    october.trial_balance = signed_balance(october)
    october.save()

    with django_assert_num_queries(2) as captured:
        assert account_totals() == summed
    assert summed != {}
    assert '"start_on" >= ' in captured[1]["sql"]


def test_usage_and_charges_are_summed_by_day(chain: Chain) -> None:
    start, end = START, START + timedelta(days=DAYS)
    day = (START + timedelta(days=2)).date()

    assert figures.usage_by_day(start, end) == [(day, "small", "token", Decimal(150))]
    assert figures.charge_by_day(start, end) == [
        (day, "drawn from grants", "credit", Decimal(100)),
        (day, "overage", "credit", Decimal(50)),
    ]
    assert figures.usage_by_day(end, end + timedelta(days=1)) == []
    titles = [title for title, _ in home(chain.shop.maker).context["charts"]]
    assert titles[:2] == [
        "Usage by model and UTC day, token", "Drawn and overage by UTC day, credit",
    ]  # fmt: skip


def test_hours_of_a_maximum_are_not_added_up(db: None) -> None:
    shop = open_shop()
    subscribed(shop)
    create_meter(
        code="seats", name="Seats", event_name="llm_request", value_property="output_tokens",
        aggregation=Aggregation.MAX, unit="seat", by=shop.maker, at=START,
    )  # fmt: skip
    for hour in (1, 2):
        use(shop, 5, START + timedelta(hours=hour), f"req-{hour}")

    rows = figures.usage_by_day(START, START + timedelta(days=1))

    # 5 and 5 tokens are 10; at most 5 seats in each of two hours are not 10 seats.
    assert [(unit, quantity) for _, _, unit, quantity in rows] == [("token", Decimal(10))]


def test_revenue_of_all_days_is_the_revenue_of_the_books(chain: Chain) -> None:
    rows = figures.revenue_by_day(START.date(), NOW.date() + timedelta(days=1))

    (books,) = revenue_totals()
    assert {currency for _, _, currency, _ in rows} == {"USD"}
    assert sum(amount for _, _, _, amount in rows) * 100 == books.recognised_minor


def test_the_books_are_checked_on_request_and_the_result_is_kept(
    chain: Chain, auditor: User
) -> None:
    client, url = client_of(auditor), reverse("console:books")

    before = client.get(url)
    after = client.post(url)

    assert "results" not in before.context
    assert after.context["finding_count"] == 0
    assert "The books hold" in after.content.decode()
    entry = AuditEntry.objects.get(action="check_books")
    assert (entry.by, entry.at, entry.facts["findings"]) == (auditor, NOW, 0)
    assert entry.facts["checks"] == len(after.context["results"]) > 20
    assert home(auditor).context["last_check"] == entry


def test_findings_come_first_and_are_named(auditor: User, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Result("a.two", "Sums agree", (Finding("customer:7", "is off by <b>1</b>"),))
    monkeypatch.setattr(
        "billing_project.console.books.run_checks",
        lambda: [Result("a.one", "Numbers have no gaps", ()), found],
    )

    response = client_of(auditor).post(reverse("console:books"))

    page = response.content.decode()
    assert response.context["results"][0] == found
    assert "1 finding" in page
    assert "is off by &lt;b&gt;1&lt;/b&gt;" in page


def test_the_books_are_not_checked_by_a_form_from_elsewhere(auditor: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(auditor)

    assert client.post(reverse("console:books")).status_code == 403


def test_the_root_leads_home(client: Client) -> None:
    assert client.get("/")["Location"] == reverse("admin:index")
