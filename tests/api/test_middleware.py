"""Every answer carries its request's id, every request leaves one log line without payload."""

import json
import logging

import pytest
from django.test import Client

from billing_project.api.logs import logging_config


def test_the_sender_s_request_id_comes_back() -> None:
    response = Client().get("/healthz", headers={"X-Request-ID": "req-7f3a"})

    assert response["X-Request-ID"] == "req-7f3a"


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", '"}{"'])
def test_another_id_is_made_where_none_fits(sent: str) -> None:
    response = Client().get("/healthz", headers={"X-Request-ID": sent})

    assert len(response["X-Request-ID"]) == 32


def test_a_request_leaves_one_line_without_its_address_or_body(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "billing_project.api.middleware"):
        Client().post("/v1/trace?secret=1", b'{"secret": 2}', content_type="application/json")

    (record,) = [r for r in caplog.records if r.name == "billing_project.api.middleware"]
    assert record.getMessage() == "http_request"
    assert (record.__dict__["route"], record.__dict__["status"]) == ("v1/trace", 401)
    assert "secret" not in str(record.__dict__)


def test_log_lines_are_json_with_their_facts() -> None:
    formatter = logging_config("INFO")["formatters"]["json"]["()"]()
    record = logging.LogRecord("credits", logging.INFO, __file__, 1, "rated", None, None)
    record.customer = 7

    line = json.loads(formatter.format(record))

    assert (line["event"], line["customer"], line["level"]) == ("rated", 7, "info")
    assert line["timestamp"].endswith("Z")
