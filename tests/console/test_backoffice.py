"""The whole back office: every page for every role, nobody writes but by an action."""

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.checks import run_checks
from django.db import connection
from django.db.models import Model
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from billing_project.kernel.backoffice.actions import FormAction
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import ROLES
from metering.models import Customer, UsageWindow
from revrec.models import AccountingPeriod
from tests.console.backoffice import (
    CLOCK,
    HOSTILE,
    Office,
    action_url,
    actions,
    actions_above_lists,
    client_of,
    list_of,
    newest,
    open_office,
    page_of,
    pages,
    person,
    url_above_list,
)
from tests.worlds import standing

pytestmark = pytest.mark.django_db

MATRIX = Path(__file__).with_name("action_matrix.txt")
# Tables with actions of which this office has no row: their own tests make some and send the forms.
ELSEWHERE = {
    "credits.alert",
    "credits.anomaly",
    "credits.controlcheckpoint",
    "credits.incident",
    "credits.supplierbill",
    "credits.supplierbillline",
    "invoicing.billinghold",
    "invoicing.hostedlink",
    "invoicing.openingimport",
    "invoicing.openingitem",
    "invoicing.outcome",
    "invoicing.stripecustomer",
    "invoicing.stripedifference",
    "invoicing.subscriptionchange",
}


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Office]:
    with override_settings(BILLING_CLOCK=CLOCK), standing(open_office, django_db_blocker) as office:
        yield office


@pytest.fixture
def office(made: Office, db: None, settings: Any) -> Office:
    settings.BILLING_CLOCK = CLOCK
    return deepcopy(made)


def own_pages() -> list[str]:
    """List the console's pages and every list."""
    names = (
        *("admin:index", "console:lineage", "console:books"),
        *("console:approvals", "console:exceptions"),
        *("console:why", "console:near_duplicates", "console:unrated", "console:burn_table"),
        *("console:policies", "console:owners", "console:usage", "console:completeness"),
        *("console:scenarios", "console:openings"),
    )
    return [*(reverse(name) for name in names), *(list_of(model) for model, _ in pages())]


def object_pages() -> list[str]:
    """List one object's page of every model that has rows."""
    return [page_of(obj) for model, _ in pages() if (obj := newest(model)) is not None]


def all_actions() -> list[tuple[type[Model], str, FormAction]]:
    """List every action, on an object and above a list."""
    return [*actions(), *actions_above_lists()]


def name_of(model: type[Model], action: str) -> str:
    """Name an action as the matrix does."""
    return f"{model._meta.label_lower} {action}"


def action_pages() -> dict[str, tuple[str, FormAction]]:
    """Return the page of every action; of one on an object, for the newest of its model."""
    return {
        name_of(model, name): (action_url(obj, name), spec)
        for model, name, spec in actions()
        if (obj := newest(model)) is not None
    } | {
        name_of(model, name): (url_above_list(model, name), spec)
        for model, name, spec in actions_above_lists()
    }


def test_an_auditor_opens_every_page_and_a_hostile_name_is_text(office: Office) -> None:
    client = client_of(person("auditor"))
    lineage = reverse("console:lineage")
    urls = [
        *own_pages(),
        *object_pages(),
        f"{list_of(Customer)}?q={HOSTILE}",
        f"{lineage}?q={HOSTILE}",
        f"{lineage}?event=acme/{HOSTILE}",
        f"{lineage}?event=acme/req-2",
        f"{lineage}?period={AccountingPeriod.objects.earliest('pk')}",
        reverse("console:window_events", args=[UsageWindow.objects.earliest("pk").pk]),
        f"{reverse('admin:search')}?s={HOSTILE}&extended=1",
    ]

    answers = {url: client.get(url) for url in urls}

    bodies = {url: answer.content.decode() for url, answer in answers.items()}
    assert {url: a.status_code for url, a in answers.items() if a.status_code != 200} == {}
    assert [url for url, body in bodies.items() if HOSTILE in body] == []
    assert sum("&lt;script&gt;alert(1)" in body for body in bodies.values()) > 10


def test_nothing_outside_is_loaded(office: Office) -> None:
    client = client_of(person("superuser"))

    bodies = [client.get(url).content.decode() for url in own_pages()[:4]]

    for body in bodies:
        assert 'src="http' not in body
        assert 'href="http' not in body
        assert "@import" not in body


def test_every_role_reads_what_an_auditor_reads(office: Office) -> None:
    auditor = person("auditor").get_all_permissions() - set(ROLES["auditor"])

    assert all(person(role).get_all_permissions() >= auditor for role in set(ROLES) - {"auditor"})


def test_strangers_and_people_without_a_role_see_nothing(office: Office) -> None:
    home, search = reverse("admin:index"), reverse("admin:search") + "?s=acme&extended=1"
    urls = [*own_pages(), *object_pages(), *(url for url, _ in action_pages().values())]
    nobody = client_of(person("nobody"))

    assert {url for url in urls if Client().get(url).status_code != 302} == set()
    assert {url for url in urls if nobody.get(url).status_code != 403} == {home}
    assert f'<a href="{home}">Home</a>' in nobody.get(list_of(Customer)).content.decode()
    assert "tiles" not in nobody.get(home).context
    assert b"acme" not in nobody.get(search).content.lower().replace(b"s=acme", b"")


def test_every_action_is_open_to_the_roles_written_down(db: None) -> None:
    people = {role: person(role) for role in sorted(ROLES)}

    lines = sorted(
        f"{name_of(model, name)}: "
        + ", ".join(role for role, user in people.items() if spec.admits(user))
        for model, name, spec in all_actions()
    )

    # A row that differs or lacks is a decision: write it into the file by hand.
    assert "\n".join(lines) == MATRIX.read_text().strip()


def test_a_role_may_send_its_own_actions_only(office: Office) -> None:
    pages_of = action_pages()
    audited = AuditEntry.objects.count()
    unseen = {model._meta.label_lower for model, _, _ in actions() if newest(model) is None}
    assert unseen == ELSEWHERE

    for role in ROLES:
        user = person(role)
        client = client_of(user)
        # An empty form does nothing, but tells a refused person (403) from an empty form (422).
        answers = {name: client.post(url, {}).status_code for name, (url, _) in pages_of.items()}

        may = {name for name, (_, spec) in pages_of.items() if spec.admits(user)}
        assert {name for name, code in answers.items() if code == 422} == may
        assert {name for name, code in answers.items() if code == 403} == set(answers) - may

    assert AuditEntry.objects.count() == audited


def test_a_form_is_not_shown_to_a_role_that_may_not_send_it(office: Office) -> None:
    for role in ("support", "auditor"):
        user = person(role)
        client = client_of(user)
        pages_of = action_pages()
        answers = {name: client.get(url).status_code for name, (url, _) in pages_of.items()}

        may = {name for name, (_, spec) in pages_of.items() if spec.admits(user)}
        assert {name for name, code in answers.items() if code == 200} == may
        assert {name for name, code in answers.items() if code == 403} == set(answers) - may


def test_buttons_stand_where_the_person_may_and_the_state_admits(office: Office) -> None:
    wrong = []
    for role in ("superuser", "finance_maker"):
        user = person(role)
        client = client_of(user)
        for model in {model for model, _, _ in actions()}:
            obj = newest(model)
            if obj is None:
                continue
            body = client.get(page_of(obj)).content.decode()
            wrong += [
                f"{role} {name}"
                for owner, name, spec in actions()
                if owner is model
                if (action_url(obj, name) in body) != spec.is_shown(user, obj)
            ]
        wrong += [
            f"{role} {name}"
            for model, name, spec in actions_above_lists()
            if (url_above_list(model, name) in client.get(list_of(model)).content.decode())
            != spec.admits(user)
        ]

    assert wrong == []


def test_nobody_writes_through_a_page(office: Office) -> None:
    client = client_of(person("superuser"))
    ways_in = []
    for model, _ in pages():
        opts = model._meta
        prefix = f"admin:{opts.app_label}_{opts.model_name}"
        obj = newest(model)
        ways_in.append(reverse(f"{prefix}_add"))
        if obj is not None:
            ways_in += [page_of(obj), reverse(f"{prefix}_delete", args=[obj.pk])]

    answers = {url: client.post(url, {"post": "yes", "name": "X"}) for url in ways_in}

    assert {url: a.status_code for url, a in answers.items() if a.status_code != 403} == {}


def test_no_list_deletes_what_is_selected(office: Office) -> None:
    client = client_of(person("superuser"))
    customer = Customer.objects.earliest("pk")

    client.post(list_of(Customer), {"action": "delete_selected", "_selected_action": [customer.pk]})

    assert Customer.objects.filter(pk=customer.pk).exists()


def test_a_version_of_the_history_is_read_but_not_written_back(office: Office) -> None:
    client = client_of(person("superuser"))
    customer = Customer.objects.get(external_id="acme")
    first = customer.history.earliest()
    url = reverse("admin:metering_customer_simple_history", args=[customer.pk, first.pk])

    shown, written = client.get(url), client.post(url, {"name": first.name})

    assert (shown.status_code, written.status_code) == (200, 403)
    customer.refresh_from_db()
    assert customer.name == HOSTILE != first.name


def queries_of(client: Client, url: str) -> Counter[str]:
    """Count the queries of a page, by how their text begins."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return Counter(query["sql"][:80] for query in captured.captured_queries)


def test_lists_ask_as_much_for_one_row_as_for_many(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(person("auditor"))
    growing = {}
    for model, page in pages():
        if model._default_manager.count() < 2:
            continue
        monkeypatch.setattr(page, "list_per_page", 1)
        one = queries_of(client, list_of(model))
        monkeypatch.setattr(page, "list_per_page", 20)
        many = queries_of(client, list_of(model))
        if many.total() > one.total():
            growing[list_of(model)] = many - one

    assert growing == {}


def test_objects_ask_as_much_for_one_part_as_for_many(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(person("auditor"))
    growing = {}
    for model, page in pages():
        obj = model._default_manager.order_by("pk").first() if page.inlines else None
        if obj is None:
            continue
        counts = []
        for size in (1, 20):
            for inline in page.inlines:
                monkeypatch.setattr(inline, "per_page", size)
            counts.append(queries_of(client, page_of(obj)))
        if counts[1].total() > counts[0].total():
            growing[page_of(obj)] = counts[1] - counts[0]

    assert growing == {}


@pytest.mark.parametrize(
    "query", ["?q=%00", "?p=99999", "?id__exact=x", "?o=99.1", "?customer__id__exact=x"]
)
def test_a_mad_address_is_no_server_error(
    client: Client, db: None, query: str, auditor: User
) -> None:
    client.force_login(auditor)
    for name in ("metering_meterevent", "invoicing_invoice", "credits_ledgertransaction"):
        response = client.get(reverse(f"admin:{name}_changelist") + query)

        assert response.status_code in {200, 302}


def test_every_table_has_a_page_but_keys_of_two_columns_and_parts() -> None:
    missing = {
        model.__name__
        for label in ("kernel", "metering", "credits", "invoicing", "revrec")
        for model in apps.get_app_config(label).get_models()
        if not admin.site.is_registered(model) and not model.__name__.startswith("Historical")
    }

    # An identity cannot be addressed; the others are rows on the page of what they are part of, or
    # sums and marks of facts that have their page.
    assert missing == {
        "AllocatedShare", "BackfillBatch", "BackfillRun", "EventIdentity", "CreditNoteLine",
        "ModifiedLine",        "RevenueScheduleLine",
        "RateTotal", "BooksMark", "UsedCredits", "PolicyApproval", "WindowRating", "SpendCounter",
        "SpendHour", "SpendMark",
        "AccountCode", "LineOutcome", "OutcomeDecision", "PlanItem", "LineDiscount",
        "CouponRedemption", "WebhookSecret", "DraftRejection", "RecoveryCode",
        "PolicyEvidence",
        "IncidentAction", "OpeningExplanation",
        "QuarantineTry",  # On its event.
    }  # fmt: skip


def test_the_pages_are_checked_without_a_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert run_checks() == []
