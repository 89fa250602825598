"""Times are shown where the person who looks is; UTC stands beside them; what is typed is UTC."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import DateTimeField
from django.urls import reverse

from billing_project.kernel import audit
from billing_project.kernel.admin.access import AuditEntryAdmin
from billing_project.kernel.backoffice.moments import (
    kept_moment_html,
    moment_html,
    sentence_html,
    viewed_from,
)
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import AuditEntry, User
from billing_project.kernel.users import set_time_zone
from invoicing.models import Invoice
from metering.models import Customer
from metering.services.customers import close_customer, create_customer
from tests.console.backoffice import client_of, page_of

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
BERLIN = 'title="2026-11-19 23:30:00 UTC">2026-11-20 00:30:00</time>'


def test_lists_and_pages_show_the_times_of_whoever_looks(auditor: User, maker: User) -> None:
    entry = audit.record(by=maker, at=AT, action="tried", subject=maker)
    set_time_zone(user=auditor, zone="Europe/Berlin", by=auditor, at=AT)
    addresses = [reverse("admin:kernel_auditentry_changelist"), page_of(entry)]

    for address in addresses:
        assert BERLIN in client_of(auditor).get(address).content.decode()
        assert BERLIN not in client_of(maker).get(address).content.decode()
    assert "times in Europe/Berlin" in client_of(auditor).get(addresses[0]).content.decode()


def test_people_choose_their_zone_themselves_and_it_is_kept(auditor: User) -> None:
    client, url = client_of(auditor), reverse("console:own_time_zone")

    client.post(url, {"time_zone": "Asia/Tokyo"})
    client.post(url, {"time_zone": "Mars/Olympus"})

    auditor.refresh_from_db()
    assert auditor.time_zone == "Asia/Tokyo"
    assert AuditEntry.objects.get(action="set_time_zone").facts == {"time_zone": "Asia/Tokyo"}
    with pytest.raises(Invalid):
        set_time_zone(user=auditor, zone="Mars/Olympus", by=auditor, at=AT)
    assert client.get(url).status_code == 405


def test_who_chose_none_reads_the_seller_s_times(auditor: User, settings: Any) -> None:
    settings.SELLER_TIME_ZONE = "Europe/Berlin"
    audit.record(by=auditor, at=AT, action="tried", subject=auditor)

    page = client_of(auditor).get(reverse("admin:kernel_auditentry_changelist"))

    assert BERLIN in page.content.decode()


def test_no_admin_page_shows_an_instant_by_its_bare_name() -> None:
    assert AuditEntryAdmin in {type(one) for one in admin.site._registry.values()}
    bare = [
        (model.__name__, field.name)
        for model, one in admin.site._registry.items()
        for field in model._meta.fields
        if isinstance(field, DateTimeField)
        and field.name in (*one.list_display, *one.readonly_fields)
    ]

    assert bare == []


def test_versions_of_the_history_tell_their_times_so_too(auditor: User, maker: User) -> None:
    customer = create_customer(external_id="acme", name="Acme", currency="USD", by=maker, at=AT)
    close_customer(customer=customer, reason="gone", by=maker, at=AT)
    set_time_zone(user=auditor, zone="Europe/Berlin", by=auditor, at=AT)

    page = client_of(auditor).get(reverse("admin:metering_customer_history", args=[customer.pk]))

    content = page.content.decode()
    with viewed_from("Europe/Berlin"):
        written = [moment_html(one.history_date) for one in customer.history.all()]
    assert len(written) == 2
    assert all(one in content for one in written)
    assert "Closed at: - → 2026-11-20 00:30:00 CET" in content


def test_sentences_tell_the_times_that_they_state() -> None:
    with viewed_from("Europe/Berlin"):
        assert sentence_html("used at 2026-11-19 23:30:00 UTC <b>") == (
            f'used at <time class="bo-figure" datetime="{AT.isoformat()}" {BERLIN} &lt;b&gt;'
        )
        assert "00:30:00</time>, then" in sentence_html("since 2026-11-19 23:30 UTC, then")
        assert sentence_html("2026-13-19 23:30 UTC") == "2026-13-19 23:30 UTC"
        assert BERLIN in kept_moment_html("2026-11-19T23:30:00+00:00")


def test_an_invoice_s_service_begins_on_the_customer_s_day() -> None:
    page: Any = admin.site.get_model_admin(Invoice)
    customer = Customer(time_zone="Europe/Berlin")

    assert ">2026-11-20<" in page.service_from(Invoice(customer=customer, service_start_at=AT))
