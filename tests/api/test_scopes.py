"""Which scope opens which endpoint: the whole matrix, written down, so that a change is seen."""

from pathlib import Path

import pytest
from django.test import Client

from billing_project.kernel import clock
from billing_project.kernel.keys import create_api_key
from billing_project.kernel.models import SCOPES
from tests.api.endpoints import Endpoint, endpoints

GOLDEN = Path(__file__).with_name("scope_matrix.txt")


def is_open(client: Client, endpoint: Endpoint, token: str) -> bool:
    response = client.generic(
        endpoint.method,
        endpoint.url,
        b"{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert response.status_code != 401
    return response.status_code != 403


@pytest.mark.django_db
def test_every_endpoint_opens_for_exactly_the_scopes_written_down() -> None:
    client = Client(raise_request_exception=False)
    tokens = {
        scope: create_api_key(name=scope, scopes=[scope], at=clock.now())[1] for scope in SCOPES
    }

    lines = [
        f"{endpoint}: "
        + ", ".join(scope for scope, token in tokens.items() if is_open(client, endpoint, token))
        for endpoint in endpoints()
    ]

    # A row that differs or lacks is a decision: write it into the file by hand.
    assert "\n".join(lines) == GOLDEN.read_text().strip()


def test_every_method_names_its_scope() -> None:
    for endpoint in endpoints():
        assert endpoint.view.scopes.get(endpoint.method) in SCOPES, str(endpoint)
