"""The processes that serve: what the server lets through to Django."""

from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]

from billing_project.console.processes import server_command


def _settings() -> Config:
    config = Config()
    _, _, module, *arguments = server_command(8000)
    assert module == "gunicorn"
    given = vars(config.parser().parse_args(arguments))
    for name, value in given.items():
        if name in config.settings and value is not None:
            config.set(name, value)
    return config


def test_a_long_address_reaches_django_which_answers_a_problem() -> None:
    target = f"/v1/usage?customer={'x' * 5000}"
    sent = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    (request,) = RequestParser(_settings(), [sent], ("127.0.0.1", 1))

    assert request.uri == target


def test_the_server_listens_on_this_machine_only() -> None:
    assert _settings().address == [("127.0.0.1", 8000)]
