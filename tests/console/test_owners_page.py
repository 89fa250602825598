"""The page of owners: a name or nobody in each place, and the form that names somebody."""

from datetime import datetime
from typing import Any

import pytest
from django.urls import reverse

from billing_project.kernel.models import StepOwner, User
from billing_project.kernel.ownership import name_owner
from tests.console.backoffice import client_of, send, told

pytestmark = pytest.mark.django_db
NAME = "console:name_owner"


@pytest.fixture(autouse=True)
def clock(settings: Any, at: datetime) -> None:
    settings.BILLING_CLOCK = at.isoformat()


def test_every_place_has_a_name_or_says_that_nobody_is_named(
    product: User, auditor: User, at: datetime
) -> None:
    name_owner(
        step="rate", function="product", person=product, since_at=at, reason="x", by=product, at=at
    )

    page = client_of(auditor).get(reverse("console:owners"))

    html = page.content.decode()
    assert [line.step for line in page.context["lines"]] == [
        "Capture", "Aggregate", "Rate", "Draw down", "Invoice", "Recognise",
    ]  # fmt: skip
    assert html.count("nobody is named") == 17  # 6 steps x 3 functions - 1.
    assert "pat.product" in html
    assert reverse(NAME) not in html  # An auditor names nobody.


def test_product_names_an_owner_by_the_form(product: User, engineer: User, at: datetime) -> None:
    client = client_of(product)
    url = f"{reverse(NAME)}?step=draw_down&function=engineering"

    answer = send(client, url, person=engineer.pk, reason="she wrote it")

    assert (answer.status_code, told(answer)) == (
        302,
        "success: Named: Draw down, engineering: eli.engineer.",
    )
    row = StepOwner.objects.get()
    assert (row.step, row.function, row.person, row.named_by) == (
        "draw_down", "engineering", engineer, product,
    )  # fmt: skip
    assert (row.since_at, row.named_at, row.reason) == (at, at, "she wrote it")


def test_a_refusal_stands_at_its_field(product: User) -> None:
    client = client_of(product)
    gone = User.objects.create_user("gone", is_active=False)

    answer = send(client, reverse(NAME), person=gone.pk, reason="")

    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"person", "reason"}
    assert not StepOwner.objects.exists()


def test_who_is_named_already_is_said_on_the_form(product: User) -> None:
    client = client_of(product)
    send(client, reverse(NAME), person=product.pk, reason="first")

    answer = send(client, reverse(NAME), person=product.pk, reason="again")

    assert answer.status_code == 422
    assert "answers for this step already" in answer.content.decode()


@pytest.mark.parametrize("who", ["support", "auditor", "maker"])
def test_others_name_nobody(who: str, request: pytest.FixtureRequest) -> None:
    client = client_of(request.getfixturevalue(who))

    assert client.get(reverse(NAME)).status_code == 403
    assert client.post(reverse(NAME), {}).status_code == 403
