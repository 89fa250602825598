"""Rate cards over HTTP: prices leave as text, and who decided is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from billing_project.kernel.keys import create_api_key
from credits.services.overrides import propose_rate_override
from tests.credits.builders import NOVEMBER, Shop, rate, tiered, words

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(settings: Any) -> None:
    settings.BILLING_CLOCK = NOW.isoformat()


@pytest.fixture
def api() -> Client:
    """Return a client whose key reads."""
    _, token = create_api_key(name="test", scopes=["usage:read"], at=NOW)
    return Client(headers={"Authorization": f"Bearer {token}"})


def test_cards_and_overrides_are_listed_with_the_version_that_governs(
    api: Client, shop: Shop
) -> None:
    shop.version([rate("input", "9")], NOW + timedelta(days=1))
    propose_rate_override(
        customer=shop.customer, base=shop.card, rates=[], proposal=words(NOW),
        by=shop.maker, at=shop.at,
    )  # fmt: skip

    cards = api.get("/v1/rate_cards").json()["data"]

    assert cards == [
        {
            "code": f"rate_override:{shop.card.pk}:{shop.customer.pk}",
            "name": "Standard for Acme", "unit": "credit", "currency": "",
            "customer": "acme", "base": "standard", "governing_version": None,
        },
        {
            "code": "standard", "name": "Standard", "unit": "credit", "currency": "",
            "customer": None, "base": None, "governing_version": 1,
        },
    ]  # fmt: skip
    own = api.get("/v1/rate_cards?customer=acme").json()["data"]
    assert [card["base"] for card in own] == ["standard"]


def test_a_version_tells_its_rates_in_full(api: Client, shop: Shop) -> None:
    version = shop.version([tiered("input", "volume", ("10.0", "0.50"), (None, "0.2"))])

    answer = api.get("/v1/rate_cards/standard/versions/2")

    assert answer.json() == {
        "number": 2,
        "status": "approved",
        "title": "A version",
        "effective_at": NOVEMBER.start.isoformat().replace("+00:00", "Z"),
        "expires_at": None,
        "content_sha256": version.policy_change.content_sha256,
        "rates": [
            {
                "meter": "input", "dimensions": {}, "model": "volume", "unit_price": "0",
                "terms": {"tiers": [
                    {"up_to": "10", "unit_price": "0.5"}, {"up_to": None, "unit_price": "0.2"},
                ]},
                "included": None, "minimum": None, "maximum": None, "pools": "workspace",
            }
        ],
    }  # fmt: skip


def test_versions_are_listed_newest_first(api: Client, shop: Shop) -> None:
    shop.proposed([rate("input", "0.000001")], NOW)

    versions = api.get("/v1/rate_cards/standard/versions").json()["data"]

    assert [(one["number"], one["rates"][0]["unit_price"]) for one in versions] == [
        (2, "0.000001"),
        (1, "0.5"),
    ]


@pytest.mark.parametrize("path", ["nothing/versions", "nothing/versions/1", "standard/versions/7"])
def test_what_does_not_exist_is_not_found(api: Client, shop: Shop, path: str) -> None:
    assert api.get(f"/v1/rate_cards/{path}").status_code == 404
