"""Customers, workspaces and aliases: one id names one customer, for ever."""

from datetime import datetime

import pytest

from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import User
from metering.models import Customer, Workspace
from metering.services.customers import (
    add_alias,
    create_customer,
    create_workspace,
    update_customer,
)
from tests.metering.builders import a_customer, an_event, send

pytestmark = pytest.mark.django_db


def test_the_same_content_returns_the_same_customer(at: datetime) -> None:
    assert a_customer(at) == a_customer(at)


def test_other_content_under_the_same_id_is_refused(at: datetime, engineer: User) -> None:
    a_customer(at)

    with pytest.raises(Conflict):
        create_customer(external_id="acme", name="Acme", currency="EUR", by=engineer, at=at)


def test_a_change_needs_a_reason_and_keeps_the_old_values(at: datetime, engineer: User) -> None:
    customer = a_customer(at)

    update_customer(customer=customer, by=engineer, at=at, reason="renamed", name="Acme AG")
    update_customer(customer=customer, by=engineer, at=at, reason="again", name="Acme AG")

    names = list(Customer.history.order_by("history_id").values_list("name", flat=True))
    assert names == ["Acme", "Acme AG"]
    with pytest.raises(Invalid):
        update_customer(customer=customer, by=engineer, at=at, reason="", name="x")
    with pytest.raises(Invalid):
        update_customer(customer=customer, by=engineer, at=at, reason="x", currency="EUR")


def test_a_workspace_is_made_once_and_may_be_named_later(at: datetime, engineer: User) -> None:
    customer = a_customer(at)
    first = create_workspace(customer=customer, external_id="w", name="w", by=engineer, at=at)
    named = create_workspace(customer=customer, external_id="w", name="Web", by=engineer, at=at)

    assert first == named
    assert Workspace.objects.get().name == "Web"
    with pytest.raises(Conflict):
        create_workspace(customer=customer, external_id="w", name="Other", by=engineer, at=at)


def test_an_alias_belongs_to_one_customer(at: datetime, engineer: User) -> None:
    acme, bolt = a_customer(at), a_customer(at, "bolt")
    first = add_alias(external_id="a", customer=acme, reason="x", by=engineer, at=at)

    assert add_alias(external_id="a", customer=acme, reason="x", by=engineer, at=at) == first
    for external_id, customer in (("a", bolt), ("acme", bolt), ("acme", acme)):
        with pytest.raises(Conflict):
            add_alias(external_id=external_id, customer=customer, reason="x", by=engineer, at=at)
    with pytest.raises(Conflict):
        a_customer(at, "a")


def test_usage_of_two_workspaces_is_kept_apart(at: datetime) -> None:
    a_customer(at)
    a_customer(at, "bolt")
    from metering.services.aggregate import aggregate_batches
    from tests.metering.builders import a_meter

    a_meter(at)
    send(at, an_event("a", workspace="w"), an_event("b", workspace="w", customer="bolt"))
    aggregate_batches(at=at)

    assert Workspace.objects.count() == 2
