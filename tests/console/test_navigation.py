"""The sidebar: every page once, and no group longer than people read."""

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from billing_project.console.navigation import sidebar
from billing_project.kernel.models import User

pytestmark = pytest.mark.django_db


def test_every_table_stands_in_one_group_and_parts_apart(auditor: User) -> None:
    request = RequestFactory().get("/admin/")
    request.user = auditor
    groups = {group.get("title", ""): group["items"] for group in sidebar(request)}

    links = [item["link"] for items in groups.values() for item in items]
    assert len(links) == len(set(links))
    for model, page in admin.site._registry.items():
        opts = model._meta
        address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        assert (address in links) == page.has_view_permission(request), address
    daily = [item["title"] for item in groups["Metering · engineering"]]
    parts = [item["title"] for item in groups["Metering · parts and logs"]]
    assert len(daily) <= 16
    assert daily[:4] == ["Customers", "Workspaces", "Customer aliases", "Meter events"]
    assert "Quarantined events" in parts


def test_tables_are_listed_on_the_page_of_their_app_alone(auditor: User, client: Client) -> None:
    client.force_login(auditor)

    of_an_app = client.get(reverse("admin:app_list", args=["metering"]))
    home = client.get(reverse("admin:index"))

    [app] = of_an_app.context["app_list"]
    assert "MeterEvent" in [table["object_name"] for table in app["models"]]
    assert home.context["available_apps"] == []


def test_every_row_of_a_list_leads_to_its_own_page(auditor: User) -> None:
    request = RequestFactory().get("/admin/")
    request.user = auditor
    first_is_a_link = []
    for page in admin.site._registry.values():
        columns = page.get_list_display(request)
        (column,) = page.get_list_display_links(request, columns) or (None,)
        assert column is not None, page
        assert not hasattr(column, "leads_elsewhere"), page  # A link in a link cannot be clicked.
        first_is_a_link += [page] * hasattr(columns[0], "leads_elsewhere")
    assert first_is_a_link
